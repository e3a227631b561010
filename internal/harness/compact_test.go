package harness

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// chat is a conversation of some turns, each with one result of a size.
func chat(sizes ...int) conversation {
	c := newConversation(nil)
	c.add(llm.Message{Role: llm.RoleSystem, Content: "system"}, llm.Message{Role: llm.RoleUser, Content: "task"})
	for i, size := range sizes {
		id := fmt.Sprint(i)
		c.add(
			llm.Message{Role: llm.RoleAssistant, ToolCalls: []llm.ToolCall{call(id, "read", fmt.Sprintf(`{"path":"f%d"}`, i))}},
			llm.Message{Role: llm.RoleTool, ToolCallID: id, Content: strings.Repeat("x", size)},
		)
	}
	return c
}

// checkPairs: every call is directly followed by its result, and no result is alone.
func checkPairs(t *testing.T, messages []llm.Message) {
	t.Helper()
	for i := 0; i < len(messages); i++ {
		m := messages[i]
		if m.Role == llm.RoleTool {
			t.Errorf("message %d answers no call", i)
		}
		for _, c := range m.ToolCalls {
			i++
			if i >= len(messages) || messages[i].ToolCallID != c.ID {
				t.Errorf("call %s is parted from its result", c.ID)
			}
		}
	}
}

func TestCompaction(t *testing.T) {
	tests := map[string]struct {
		conv   conversation
		target int64
		// elided is how many messages are; met says that the target is.
		elided  int
		dropped bool
		met     bool
	}{
		"old outputs go first":         {conv: chat(3500, 3500, 3500, 700), target: 1600, elided: 2, met: true},
		"then old turns":               {conv: chat(repeatSize(100, 300)...), target: 4000, dropped: true, met: true},
		"then the middle of recent":    {conv: chat(300, 70000), target: 2000, elided: 1, dropped: true, met: true},
		"nothing to cut":               {conv: chat(100), target: 10},
		"no turn yet":                  {conv: chat(), target: 1},
		"below the target as it is":    {conv: chat(5000, 5000), target: 100000, met: true},
		"those that stay are elided":   {conv: chat(repeatSize(300, 2000)...), target: 3000, elided: 31, dropped: true, met: true},
		"one turn larger than all":     {conv: chat(90000), target: 1000, elided: 1, met: true},
		"an empty conversation at all": {conv: newConversation(nil), target: 0, met: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			before := append([]llm.Message(nil), tc.conv.messages...)
			plan := planCompaction(tc.conv, tc.target)
			e := plan.event
			if diff := cmp.Diff(plan, planCompaction(tc.conv, tc.target), cmp.AllowUnexported(compaction{})); diff != "" {
				t.Errorf("not the same twice: %s", diff)
			}
			got := compacted(tc.conv.messages, e)
			if diff := cmp.Diff(before, tc.conv.messages); diff != "" {
				t.Errorf("the conversation itself was changed: %s", diff)
			}
			if len(got) >= 2 && (got[0].Content != "system" || got[1].Content != "task") {
				t.Errorf("begins with %+v", got[:2])
			}
			checkPairs(t, got)
			raw := tc.conv.raw
			tc.conv.replace(got)
			if tc.conv.raw != raw-plan.freed {
				t.Errorf("%d tokens are left, the plan says %d", tc.conv.raw, raw-plan.freed)
			}
			if len(e.Elisions) != tc.elided || (e.DropTo > e.DropFrom) != tc.dropped {
				t.Errorf("%d elided, %d dropped, want %d and %t", len(e.Elisions), e.DropTo-e.DropFrom, tc.elided, tc.dropped)
			}
			if met := tc.conv.tokens() <= tc.target; met != tc.met {
				t.Errorf("%d tokens for a target of %d", tc.conv.tokens(), tc.target)
			}
		})
	}
}

func repeatSize(n, size int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = size
	}
	return out
}

// TestLongRun goes through many windows and stays inside of each.
func TestLongRun(t *testing.T) {
	const turns, window, output = 200, 8192, 1024
	n := 0
	p := script(func(ctx context.Context, req llm.Request) (*llm.Response, error) {
		size := int64(0)
		for _, m := range req.Messages {
			size += estimate(m)
		}
		if size > window-output {
			t.Errorf("request %d has %d tokens", n, size)
		}
		checkPairs(t, req.Messages)
		if req.Messages[0].Role != llm.RoleSystem || req.Messages[1].Content != "do it" {
			t.Errorf("request %d lost its beginning", n)
		}
		if n++; n > turns {
			return says("done")(ctx, req)
		}
		resp, _ := calls(call("", "write", fmt.Sprintf(`{"path":"f%d"}`, n)))(ctx, req)
		resp.Usage = llm.Usage{InputTokens: size, OutputTokens: 5}
		return resp, nil
	})
	f := newFixture(p)
	f.Task.Limits.Turns = turns + 10
	f.tools.run = func(_ context.Context, c llm.ToolCall) (ToolResult, error) {
		return ToolResult{Content: strings.Repeat("line of output\n", 200) + c.ID}, nil
	}
	m := model("m", p)
	m.ContextWindow, m.MaxOutputTokens = window, output
	f.Models = broker.FixedRouter{m}
	if res := f.run(t, t.Context()); res.Reason != Completed {
		t.Errorf("ended %s: %s", res.Reason, res.Message)
	}
	compactions := find[transcript.Compaction](t, f)
	if len(compactions) < 5 {
		t.Errorf("%d compactions", len(compactions))
	}
	for _, c := range compactions {
		if c.TokensAfter >= c.TokensBefore || c.MessagesAfter > c.MessagesBefore {
			t.Errorf("compaction %+v", c)
		}
	}
}

// TestServerKnowsTheWindowBetter: a refused length is cut down and sent again.
func TestServerKnowsTheWindowBetter(t *testing.T) {
	refused := 0
	p := script(func(ctx context.Context, req llm.Request) (*llm.Response, error) {
		if len(req.Messages) < 12 && refused == 0 {
			return calls(call("", "write", fmt.Sprint(len(req.Messages))))(ctx, req)
		}
		if refused++; refused == 1 {
			return nil, &llm.Error{Category: llm.ContextLength, Message: "too long"}
		}
		return says("done")(ctx, req)
	})
	f := newFixture(p)
	f.tools.run = func(_ context.Context, c llm.ToolCall) (ToolResult, error) {
		return ToolResult{Content: strings.Repeat("y", 4000) + c.Arguments}, nil
	}
	if res := f.run(t, t.Context()); res.Reason != Completed || refused != 2 {
		t.Errorf("ended %s after %d refusals: %s", res.Reason, refused, res.Message)
	}
	if n := len(find[transcript.Compaction](t, f)); n != 1 {
		t.Errorf("%d compactions", n)
	}
}

func TestTextTokens(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "abcdefg": 2, "日本語": 3, "né": 2} {
		if got := textTokens(text); got != want {
			t.Errorf("%q: %d tokens, want %d", text, got, want)
		}
	}
}
