package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// relay is a run that several processes work on, each on a machine of its own.
type relay struct {
	path string
	kept []checkpoint
	// proved are the machines on which the Separate verification was run: what the agent had
	// left there.
	proved [][]string
	// hangs: no command comes to its end.
	hangs bool
}

func newRelay(t *testing.T, log []byte) *relay {
	t.Helper()
	r := &relay{path: filepath.Join(t.TempDir(), "t.jsonl")}
	if err := os.WriteFile(r.path, log, 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// careful makes calls again of which it is told that nothing is left.
func careful(ctx context.Context, req llm.Request) (*llm.Response, error) {
	lost := func(m llm.Message) bool { return m.Role == llm.RoleTool && m.Content == unknownText }
	for i := len(req.Messages) - 1; i > 0 && req.Messages[i].Role != llm.RoleAssistant; i-- {
		if lost(req.Messages[i]) {
			before := slices.IndexFunc(req.Messages, func(m llm.Message) bool {
				return slices.ContainsFunc(m.ToolCalls, func(c llm.ToolCall) bool { return c.ID == req.Messages[i].ToolCallID })
			})
			made := req.Messages[before].ToolCalls
			again := made[len(made)-1] // the one that writes
			again.ID += "-again"
			return calls(again)(ctx, req)
		}
	}
	for i := 0; i < len(req.Messages); i++ {
		if lost(req.Messages[i]) { // what it was told of, and the repeated call, are no step of their own
			req.Messages = slices.Delete(slices.Clone(req.Messages), i, i+1)
			next := slices.IndexFunc(req.Messages[i:], func(m llm.Message) bool { return m.Role == llm.RoleAssistant })
			req.Messages = slices.Delete(req.Messages, i+next, i+next+1)
		}
	}
	return conversationReplies(ctx, req)
}

// next is one process. It gives what it says of the run, and the model's requests.
func (r *relay) next(t *testing.T, verifying bool) (Result, *fixture) {
	t.Helper()
	f := newFixture(script(careful))
	f.Task.Verify = []Verification{{Name: "separate", Command: "separate", Separate: true}, {Name: "shared", Command: "shared"}}
	var events []transcript.Event
	w, err := transcript.Open(r.path, transcript.Options{}, func(e transcript.Event) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // what was written is read again
	f.Transcript, f.Resume, f.Verifying = w, PastOf(events), verifying
	var files, home []string
	c := &checkpoints{files: &files, kept: r.kept}
	f.Unkept = len(r.kept) == 0
	switch n := len(r.kept); {
	case len(events) == 0:
	case n == 0:
		f.Restored = &Restored{Events: 1}
	default:
		files, f.Restored = slices.Clone(r.kept[n-1].files), &r.kept[n-1].Restored
	}
	if standing, err := f.Resume.Standing(); err != nil || standing.Pending != "" && standing.Pending != digestOf(files) {
		t.Fatalf("the last checkpoint has %v, and %q is to be verified: %v", files, standing.Pending, err)
	}
	if !verifying {
		f.Checkpoints = c
	}
	f.tools.run = func(_ context.Context, call llm.ToolCall) (ToolResult, error) {
		if call.Name == "write" {
			files, home = append(files, call.Arguments), append(home, call.Arguments)
		}
		return ToolResult{Content: "ok"}, nil
	}
	f.Task.Limits.Active = time.Minute
	f.exec.exec = func(ctx context.Context, req tool.ExecRequest) (*tool.ExecResult, error) {
		if r.hangs {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if !req.Isolated {
			t.Error("a verification is not run alone")
		}
		if needs := map[string]string{"shared": "3", "separate": "4"}[req.Shell]; !slices.Contains(files, needs) {
			return exits(1, "not yet"), nil
		}
		if req.Shell == "separate" {
			r.proved = append(r.proved, slices.Concat(home, f.tools.ran))
		}
		return exits(0, ""), nil
	}
	res := Run(t.Context(), f.Config)
	r.kept = c.kept
	return res, f
}

// toEnd has processes take over from each other as the results say.
func (r *relay) toEnd(t *testing.T, verifying bool) (Result, []End) {
	t.Helper()
	var ends []End
	for range 10 {
		res, f := r.next(t, verifying)
		if asked := len(f.provider.sent()); verifying && asked > 0 {
			t.Errorf("who verifies has asked the model %d times", asked)
		}
		switch ends = append(ends, res.Reason); res.Reason {
		case VerificationPending:
			verifying = true
		case VerificationRejected:
			verifying = false
		default:
			return res, ends
		}
	}
	t.Fatalf("the run does not come to its end: %v", ends)
	return Result{}, nil
}

// TestSeparateVerification kills the processes of a run at every event. Whatever they knew
// of each other, it ends as proved, and by a command on a machine without the agent.
func TestSeparateVerification(t *testing.T) {
	whole := newRelay(t, nil)
	res, ends := whole.toEnd(t, false)
	want := []End{VerificationPending, VerificationRejected, VerificationPending, Completed}
	if diff := cmp.Diff(want, ends); diff != "" {
		t.Fatalf("ends (-want +got):\n%s\n%s", diff, res.Message)
	}
	checkProved(t, whole, res)
	log, err := os.ReadFile(whole.path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(log, []byte("\n"))
	verifying := false
	for n := 1; n < len(lines)-1; n++ {
		kinds := []bool{verifying}
		switch line := string(lines[n-1]); {
		case strings.Contains(line, `"run_ended"`): // whoever starts the next may have heard of it, or not
			kinds = []bool{false, true}
			verifying = !verifying
		case strings.Contains(line, `"verificationFailed"`):
			kinds = []bool{true}
		}
		for _, kind := range kinds {
			t.Run(fmt.Sprintf("after event %d, verifying: %t", n, kind), func(t *testing.T) {
				r := newRelay(t, bytes.Join(lines[:n], nil))
				for _, k := range whole.kept {
					if k.Events <= int64(n) {
						r.kept = append(r.kept, k)
					}
				}
				res, ends := r.toEnd(t, kind)
				if res.Reason != Completed {
					t.Fatalf("ended %v: %s", ends, res.Message)
				}
				checkProved(t, r, res)
			})
		}
	}
}

func checkProved(t *testing.T, r *relay, res Result) {
	t.Helper()
	one := 0
	want := []VerificationResult{{Name: "shared", Passed: true}, {Name: "separate", Passed: true}}
	for i := range want {
		want[i].ExitCode = &one
	}
	if diff := cmp.Diff(want, res.Verifications); diff != "" {
		t.Errorf("verifications (-want +got):\n%s", diff)
	}
	if res.Message != "done" || len(r.proved) == 0 || len(r.proved[len(r.proved)-1]) > 0 {
		t.Errorf("it says %q, and was proved on machines with %v", res.Message, r.proved)
	}
}

// Who comes for what another kind of process is to do only brings the news, and leaves no trace.
func TestNewsOfAHandOver(t *testing.T) {
	r := newRelay(t, nil)
	r.next(t, false)
	for _, step := range []struct {
		verifying bool
		want      End
	}{{false, VerificationPending}, {true, VerificationRejected}} {
		if step.verifying {
			r.next(t, true)
		}
		before, err := os.ReadFile(r.path)
		if err != nil {
			t.Fatal(err)
		}
		res, f := r.next(t, step.verifying)
		after, err := os.ReadFile(r.path)
		if err != nil || res.Reason != step.want || res.Message == "" || !bytes.Equal(before, after) || len(f.provider.sent()) > 0 {
			t.Errorf("ended %s (%s), and wrote %q: %v", res.Reason, res.Message, bytes.TrimPrefix(after, before), err)
		}
	}
}

// The time of the task is that of all its processes.
func TestSeparateVerificationEndsInTime(t *testing.T) {
	r := newRelay(t, nil)
	r.next(t, false)
	synctest.Test(t, func(t *testing.T) {
		r.hangs = true
		res, _ := r.next(t, true)
		want := []VerificationResult{{Name: "shared", Passed: true, ExitCode: new(int)}, {Name: "separate", Message: "Stopped before it came to an end."}}
		if diff := cmp.Diff(want, res.Verifications); res.Reason != DeadlineExceeded || diff != "" {
			t.Errorf("ended %s (%s); verifications (-want +got):\n%s", res.Reason, res.Message, diff)
		}
	})
}

// The agent is told what the other machine has, before and after.
func TestAgentIsToldOfSeparateVerifications(t *testing.T) {
	r := newRelay(t, nil)
	_, f := r.next(t, false)
	if system := f.provider.sent()[0].Messages[0].Content; !strings.Contains(system, "- separate: separate (in a new sandbox") {
		t.Errorf("the system prompt is %s", system)
	}
	r.next(t, true)
	_, f = r.next(t, false)
	var told string
	for _, m := range f.provider.sent()[0].Messages {
		told += m.Content + "\n"
	}
	if !strings.Contains(told, `verification "separate" failed (exit code 1)`) || !strings.Contains(told, "It ran in a new sandbox") ||
		!strings.Contains(told, "The run goes on in a new container. The workspace is as it was after turn 3") {
		t.Errorf("the agent is told %s", told)
	}
}

func TestWhatCannotBeHandedOver(t *testing.T) {
	for name, c := range map[string]struct {
		setup   func(f *fixture, c *checkpoints)
		reason  End
		message string
	}{
		"no checkpoints":      {func(f *fixture, _ *checkpoints) { f.Checkpoints = nil }, VerificationFailed, `Verification "v" needs a checkpoint of the workspace: no checkpoint is taken of it.`},
		"too large":           {func(_ *fixture, c *checkpoints) { c.why = "it has a million files" }, VerificationFailed, `Verification "v" needs a checkpoint of the workspace: it has a million files.`},
		"a record that fails": {func(_ *fixture, c *checkpoints) { c.err = errors.New("no such bucket") }, Internal, "The workspace could not be kept: no such bucket"},
		"nothing to verify":   {func(f *fixture, _ *checkpoints) { f.Verifying = true }, Internal, "There is no run to verify."},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(script(says("done")))
			f.Task.Verify = []Verification{{Name: "v", Command: "check", Separate: true}}
			f.exec.exec = func(_ context.Context, req tool.ExecRequest) (*tool.ExecResult, error) {
				if req.Shell == "check" {
					t.Error("the verification was run beside the agent")
				}
				return exits(0, ""), nil
			}
			kept := &checkpoints{files: &[]string{}}
			f.Checkpoints = kept
			c.setup(f, kept)
			if res := f.run(t, t.Context()); res.Reason != c.reason || res.Message != c.message {
				t.Errorf("ended %s: %s", res.Reason, res.Message)
			}
		})
	}
}

// sealing tells when the workspace begins to be kept.
type sealing struct {
	*checkpoints
	begins func()
}

func (s sealing) Seal(ctx context.Context, turn int, log TranscriptSummary) (digest, why string, err error) {
	s.begins()
	return s.checkpoints.Seal(ctx, turn, log)
}

// TestNothingRunsWhileTheWorkspaceIsHandedOver: what the agent has left running writes to the
// workspace, and is ended before that is kept, or the run is tried again.
func TestNothingRunsWhileTheWorkspaceIsHandedOver(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		reason End
	}{
		"ended":                     {nil, VerificationPending},
		"what cannot be ended":      {fmt.Errorf("%w: it forks", tool.ErrNotIsolated), SandboxLost},
		"a sandbox that goes away":  {tool.ErrExecutorGone, SandboxLost},
		"a server that is too busy": {errors.New("no descriptors are left"), SandboxLost},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(script(says("done")))
			f.Task.Verify = []Verification{{Name: "v", Command: "check", Separate: true}}
			running := true
			f.exec.exec = func(_ context.Context, req tool.ExecRequest) (*tool.ExecResult, error) {
				if c.err != nil {
					return nil, c.err
				}
				running = running && !req.Isolated
				return exits(0, ""), nil
			}
			f.Checkpoints = sealing{&checkpoints{files: &[]string{}}, func() {
				if running {
					t.Error("the workspace is kept while something may write to it")
				}
			}}
			if res := f.run(t, t.Context()); res.Reason != c.reason {
				t.Errorf("ended %s: %s", res.Reason, res.Message)
			}
		})
	}
}
