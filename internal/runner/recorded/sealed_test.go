package recorded

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/record"
)

// looks is an executor whose one command passes where it finds a file.
type looks string

func (l looks) Exec(context.Context, tool.ExecRequest) (*tool.ExecResult, error) {
	code := 0
	if _, err := os.Stat(string(l)); err != nil {
		code = 1
	}
	return &tool.ExecResult{ExitCode: &code}, nil
}

func (looks) ReadFile(context.Context, string, int64) (*tool.File, error) {
	return nil, tool.ErrNotFound
}

// separately runs what a process of the pod does of a task with one Separate verification.
func (p pod) separately(j *Journal, m *model, k *Keeper, restored *harness.Restored, verifying bool) harness.Result {
	return j.Run(p.t.Context(), k, harness.Config{
		Task:  harness.Task{Name: "x", Prompt: "Do it.", Limits: harness.Limits{Turns: 10}, Verify: []harness.Verification{{Name: "v", Command: "look", Separate: true}}},
		Tools: folder(p.dir), Models: m, Restored: restored, Verifying: verifying, Executor: looks(filepath.Join(p.dir, "right")),
		Retry: broker.Retry{Attempts: 1},
	}, func(harness.Result) bool { return false })
}

func (p pod) agent(j *Journal, m *model) harness.Result {
	p.t.Helper()
	k, restored, err := j.Restore(p.t.Context(), Folders{Workspace: p.dir, Home: p.home}, func() string { return theBase })
	if err != nil {
		p.t.Fatal(err)
	}
	return p.separately(j, m, k, restored, false)
}

func (p pod) verifier(j *Journal) harness.Result {
	p.t.Helper()
	restored, err := j.RestoreSealed(p.t.Context(), Folders{Workspace: p.dir, Home: p.home})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.separately(j, &model{}, nil, restored, true)
}

func TestSeparateVerificationHasTheWorkspaceAlone(t *testing.T) {
	store := memory(t)
	a := newPod(t, store, "pod-a")
	put(t, a.home, "planted")
	if res := a.agent(a.resume("x"), &model{replies: []llm.Message{writes("wrong"), {Content: "done"}}}); res.Reason != harness.VerificationPending {
		t.Fatalf("the agent's pod: %+v", res)
	}
	b := newPod(t, store, "pod-b")
	j := b.resume("x")
	if res := b.verifier(j); res.Reason != harness.VerificationRejected || b.files() != "wrong" || has(t, b.home, "planted") {
		t.Fatalf("the verifier: %+v, with %s and a home with what was planted: %t", res, b.files(), has(t, b.home, "planted"))
	}
	put(t, b.dir, "right") // by a command, say
	news := newPod(t, store, "pod-news")
	if restored, err := news.resume("x").RestoreSealed(t.Context(), Folders{Workspace: news.dir}); restored != nil || err != nil || news.files() != "" {
		t.Errorf("who has nothing to verify restores %+v, %v: %s", restored, err, news.files())
	}
	c := newPod(t, store, "pod-c")
	if res := c.agent(c.resume("x"), &model{replies: []llm.Message{{Content: "done"}}}); res.Reason != harness.VerificationPending || c.files() != "wrong" || !has(t, c.home, "planted") {
		t.Fatalf("the agent's next pod: %+v, with %s and a home with what was planted: %t", res, c.files(), has(t, c.home, "planted"))
	}
	d := newPod(t, store, "pod-d")
	if res := d.verifier(d.resume("x")); res.Reason != harness.VerificationRejected {
		t.Fatalf("the next verifier: %+v", res)
	}
	e := newPod(t, store, "pod-e")
	if res := e.agent(e.resume("x"), &model{replies: []llm.Message{writes("right"), {Content: "done now"}}}); res.Reason != harness.VerificationPending {
		t.Fatalf("the agent's last pod: %+v", res)
	}
	// One that was killed, and one that comes to the end.
	f := newPod(t, store, "pod-f")
	lost := f.resume("x")
	if _, err := lost.RestoreSealed(t.Context(), Folders{Workspace: f.dir}); err != nil || f.files() != "right wrong" {
		t.Fatalf("the last verifier: %s, %v", f.files(), err)
	}
	g := newPod(t, store, "pod-g")
	if res := g.verifier(g.resume("x")); res.Reason != harness.Completed || res.Message != "done now" || !res.Verifications[0].Passed {
		t.Errorf("the verifier of the end: %+v", res)
	}
	// The end is in the record: another has its outputs to take, from the same workspace.
	h := newPod(t, store, "pod-h")
	last := h.resume("x")
	if res := h.verifier(last); res.Reason != harness.Completed || h.files() != "right wrong" || last.EndedElsewhere(res, &harness.Restored{Turn: last.latest.Turn}) {
		t.Errorf("who only brings the news: %+v, with %s", res, h.files())
	}
}

// What is verified is what was handed over, or nothing is.
func TestAnotherWorkspaceIsNotVerified(t *testing.T) {
	store := memory(t)
	a := newPod(t, store, "pod-a")
	j := a.resume("x")
	if res := a.agent(j, &model{replies: []llm.Message{writes("right"), {Content: "done"}}}); res.Reason != harness.VerificationPending {
		t.Fatalf("the agent's pod: %+v", res)
	}
	put(t, a.dir, "late")
	k := j.Keeper(Folders{Workspace: a.dir}, func() string { return theBase })
	if err := k.take(t.Context(), 9, harness.TranscriptSummary(j.Writer.Summary())); err != nil {
		t.Fatal(err)
	}
	b := newPod(t, store, "pod-b")
	if _, err := b.resume("x").RestoreSealed(t.Context(), Folders{Workspace: b.dir}); err == nil || !strings.Contains(err.Error(), "and the one to verify is sha256:") || b.files() != "" {
		t.Errorf("got %v, with %s", err, b.files())
	}
}

func TestWhatIsTooLargeIsNotSealed(t *testing.T) {
	store := memory(t)
	a := newPod(t, store, "pod-a")
	j := a.resume("x")
	k := j.Keeper(Folders{Workspace: a.dir}, func() string { return theBase })
	put(t, a.dir, "large")
	if err := os.Truncate(filepath.Join(a.dir, "large"), maxKeptBytes+1); err != nil {
		t.Fatal(err)
	}
	res := a.separately(j, &model{replies: []llm.Message{{Content: "done"}}}, k, nil, false)
	if res.Reason != harness.VerificationFailed || !strings.Contains(res.Message, `Verification "v" needs a checkpoint of the workspace: the files of the workspace have`) {
		t.Errorf("ended %+v", res)
	}
}

// refusing keeps no checkpoint, and says nothing that the run could go on after.
type refusing struct{ record.Recorder }

func (refusing) Commit(context.Context, record.Checkpoint) error { return record.ErrFenced }

func TestSealOfAFencedPod(t *testing.T) {
	a := newPod(t, memory(t), "pod-a")
	j, _ := ownJournal(t, refusing{a.resume("x").rec})
	digest, why, err := j.Keeper(Folders{Workspace: a.dir}, func() string { return theBase }).Seal(t.Context(), 1, harness.TranscriptSummary{})
	if digest != "" || why != "" || !errors.Is(err, record.ErrFenced) {
		t.Errorf("got %q, %q, %v", digest, why, err)
	}
}

func memory(t *testing.T) *record.Store {
	t.Helper()
	store, err := record.Open(t.Context(), "mem://")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}
