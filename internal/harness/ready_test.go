package harness

import (
	"context"
	"errors"
	"testing"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
)

// A run needs its sandbox before it calls a tool, and before it may succeed.
func TestReady(t *testing.T) {
	calledTool := llm.ToolCall{ID: "1", Name: "write", Arguments: "{}"}
	for name, tc := range map[string]struct {
		provider *fakeProvider
		ready    error
		want     End
		ran      int
	}{
		"there, no tool":       {script(says("Done.")), nil, Completed, 0},
		"never there, no tool": {script(says("Done.")), errors.New("no server"), SandboxLost, 0},
		"there, a tool":        {script(calls(calledTool), says("Done.")), nil, Completed, 1},
		"never there, a tool":  {script(calls(calledTool), says("Done.")), errors.New("no server"), SandboxLost, 0},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			tools := &fakeTools{run: func(context.Context, llm.ToolCall) (ToolResult, error) { return ToolResult{Content: "ok"}, nil }}
			res := Run(t.Context(), Config{
				Task:   Task{Name: "t", Prompt: "p"},
				Models: broker.FixedRouter{{ID: "m", Provider: tc.provider}},
				Tools:  tools,
				Ready:  func(context.Context) error { asked++; return tc.ready },
			})
			if res.Reason != tc.want || len(tools.ran) != tc.ran || asked != 1 {
				t.Errorf("ended %s (%s) with %d tools run and asked %d times, want %s, %d and once", res.Reason, res.Message, len(tools.ran), asked, tc.want, tc.ran)
			}
		})
	}
}
