package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
)

// TestExecutorErrorEndsNoRun: an executor that is there and cannot do a thing
// now is told to the model, and proves nothing.
func TestExecutorErrorEndsNoRun(t *testing.T) {
	for name, err := range map[string]error{
		"no process left":  fmt.Errorf("fork/exec /bin/bash: %w", syscall.EAGAIN),
		"no memory":        fmt.Errorf("fork/exec /bin/bash: %w", syscall.ENOMEM),
		"no file left":     fmt.Errorf("pipe2: %w", syscall.EMFILE),
		"a broken disk":    fmt.Errorf("read AGENTS.md: %w", syscall.EIO),
		"killed":           fmt.Errorf("the command: %w", tool.ErrKilled),
		"no space":         tool.ErrNoSpace,
		"one of its own":   errors.New("the server had a bad moment"),
		"a cut connection": io.ErrUnexpectedEOF,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(script(says("done"), calls(call("1", "write", "{}")), says("done")))
			f.Task.Verify = []Verification{{Name: "tests", Command: "make"}}
			f.exec.err = err // of the project's notes
			tries := 0
			f.exec.exec = func(context.Context, tool.ExecRequest) (*tool.ExecResult, error) {
				if tries++; tries == 1 {
					return nil, err
				}
				return exits(0, "ok"), nil
			}
			f.tools.run = func(context.Context, llm.ToolCall) (ToolResult, error) { return ToolResult{}, err }
			res := f.run(t, t.Context())
			if res.Reason != Completed || tries != 2 {
				t.Fatalf("ended %s after %d verifications: %s", res.Reason, tries, res.Message)
			}
			if got := lastMessage(f.provider, 1).Content; !strings.Contains(got, err.Error()) {
				t.Errorf("of the verification the model was told %q", got)
			}
			if got := lastMessage(f.provider, 2).Content; !strings.Contains(got, err.Error()) {
				t.Errorf("of the tool the model was told %q", got)
			}
		})
	}
}

// TestVerificationOutputIsClean: what a verification printed gets to the model
// as a tool's output does.
func TestVerificationOutputIsClean(t *testing.T) {
	lines := make([]string, 4000)
	for i := range lines {
		lines[i] = fmt.Sprint("line ", i)
	}
	whole := strings.Join(lines, "\n")
	head, tail := whole[:strings.Index(whole, "line 40\n")], whole[strings.Index(whole, "line 3990\n"):]
	cut := exits(1, head+tail)
	cut.StdoutCut, cut.OmittedStdoutBytes, cut.FullOutputPath = int64(len(head)), int64(len(whole)-len(head)-len(tail)), ".sampan/output/1"
	for name, tc := range map[string]struct {
		result *tool.ExecResult
		has    []string
		hasNot string
	}{
		"colours":         {exits(1, "\x1b[31mFAILED\x1b[0m first\n"), []string{"FAILED", " first\n"}, "\x1b"},
		"a NUL":           {exits(1, "a\x00b"), []string{"\na"}, "\x00"},
		"no character":    {exits(1, "a\xffb"), []string{"\na"}, "\xff"},
		"of both streams": {&tool.ExecResult{ExitCode: new(1), Stdout: []byte("out\n"), Stderr: []byte("err\x1b[1m\n")}, []string{"\nout\nerr"}, "\x1b"},
		"cut":             {cut, []string{"line 39\n", "bytes left out; the whole output is in .sampan/output/1", "line 3990\n"}, "line 40\n"},
		"too long":        {exits(1, whole), []string{"line 0\n", "bytes left out", "line 3999\n"}, "line 2000\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(script(says("done"), calls(call("1", "write", "{}")), says("done")))
			f.Task.Verify = []Verification{{Name: "tests", Command: "make"}}
			tries := 0
			f.exec.exec = func(_ context.Context, req tool.ExecRequest) (*tool.ExecResult, error) {
				if !req.MergeStderr || !req.Terminal || req.MaxOutputBytes <= 0 {
					t.Errorf("asked with %+v", req)
				}
				if tries++; tries > 1 {
					return exits(0, ""), nil
				}
				return tc.result, nil
			}
			if res := f.run(t, t.Context()); res.Reason != Completed {
				t.Fatalf("ended %s: %s", res.Reason, res.Message)
			}
			said := lastMessage(f.provider, 1).Content
			for _, want := range tc.has {
				if !strings.Contains(said, want) {
					t.Errorf("the model was told %q, want %q in it", said, want)
				}
			}
			if strings.Contains(said, tc.hasNot) || len(said) > 3*verifyOutput {
				t.Errorf("the model was told %d bytes, with %q: %q", len(said), tc.hasNot, said[:min(len(said), 500)])
			}
		})
	}
}

// TestPhases: what kind of step a run is in is told apart from the words.
func TestPhases(t *testing.T) {
	f := newFixture(script(fails(&llm.Error{Category: llm.Overloaded, Retryable: true, RetryAfter: 1}),
		calls(call("1", "write", `{"command": "x\u001b[2J\n\u202ey"}`)), says("done")))
	f.Task.Verify = []Verification{{Name: "tests", Command: "make"}}
	var phases []Phase
	var words []string
	f.Reporter = NewReporter(func(p Progress) {
		if n := len(phases); n == 0 || phases[n-1] != p.Phase {
			phases = append(phases, p.Phase)
		}
		words = append(words, p.Activity)
	}, nil)
	f.Retry.Base, f.Retry.Cap = 1, 1
	if res := f.run(t, t.Context()); res.Reason != Completed || res.Progress.Phase != "" {
		t.Errorf("ended %s in phase %s", res.Reason, res.Progress.Phase)
	}
	want := []Phase{PhaseStarting, PhaseWaiting, PhaseTool, PhaseThinking, PhaseVerifying, ""}
	if !slices.Equal(phases, want) {
		t.Errorf("phases %q, want %q", phases, want)
	}
	if !slices.Contains(words, `write: x\x1b[2J \u202ey`) {
		t.Errorf("activities %q", words)
	}
}
