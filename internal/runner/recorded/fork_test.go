package recorded

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// model answers with some replies, one after the other, and keeps what it was asked.
type model struct {
	replies []llm.Message
	asked   [][]llm.Message
}

func (m *model) Complete(_ context.Context, req llm.Request) (*llm.Response, error) {
	m.asked = append(m.asked, req.Messages)
	if len(m.replies) == 0 {
		return nil, &llm.Error{Category: llm.Network, Message: "the server is away"}
	}
	msg := m.replies[0]
	m.replies = m.replies[1:]
	msg.Role = llm.RoleAssistant
	finish := llm.FinishStop
	if len(msg.ToolCalls) > 0 {
		finish = llm.FinishToolCalls
	}
	return &llm.Response{Message: msg, FinishReason: finish, Usage: llm.Usage{InputTokens: 10, OutputTokens: 1}}, nil
}

func (m *model) Candidates(context.Context, broker.Need) ([]broker.Model, error) {
	return []broker.Model{{ID: "m", Upstream: "m", Provider: m}}, nil
}

// writes is a reply that writes a file of a name.
func writes(name string) llm.Message {
	return llm.Message{ToolCalls: []llm.ToolCall{{ID: name, Name: "write", Arguments: name}}}
}

// folder has one tool: it writes a file.
type folder string

func (f folder) Specs() []llm.ToolSpec {
	return []llm.ToolSpec{{Name: "write", Parameters: []byte(`{}`)}}
}
func (f folder) ReadOnly(string) bool        { return false }
func (f folder) Close(context.Context) error { return nil }
func (f folder) Run(_ context.Context, c llm.ToolCall) (harness.ToolResult, error) {
	return harness.ToolResult{Content: "written"}, os.WriteFile(filepath.Join(string(f), c.Arguments), nil, 0o600)
}

// pod is one that runs tasks of a store.
type pod struct {
	t     *testing.T
	store *record.Store
	// name is the pod's UID, dir its workspace, and home that of its tools.
	name, dir, home string
}

func newPod(t *testing.T, store *record.Store, name string) pod {
	return pod{t, store, name, t.TempDir(), t.TempDir()}
}

func (p pod) resume(uid string) *Journal {
	p.t.Helper()
	rec := Stored{p.store, record.Task{Namespace: "ns", UID: uid}}.Recorder(record.Writer{Attempt: 1, PodUID: p.name})
	j, err := Resume(p.t.Context(), rec, Listener{Resumed: func(harness.Progress) {}, Kept: func(record.Checkpoint, string) {}}, transcript.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	return j
}

func (p pod) run(j *Journal, prompt string, m *model) harness.Result {
	p.t.Helper()
	k, restored, err := j.Restore(p.t.Context(), Folders{Workspace: p.dir, Home: p.home}, func() string { return theBase })
	if err != nil {
		p.t.Fatal(err)
	}
	return j.Run(p.t.Context(), k, harness.Config{
		Task: harness.Task{Name: "x", Prompt: prompt, Limits: harness.Limits{Turns: 10}}, Tools: folder(p.dir), Models: m, Restored: restored,
		Retry: broker.Retry{Attempts: 1},
	}, func(harness.Result) bool { return true })
}

// files are those of the workspace.
func (p pod) files() string {
	p.t.Helper()
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// source is a store with the task "source", which has written a file in each of its three turns.
func source(t *testing.T) (*record.Store, Stored) {
	t.Helper()
	store := memory(t)
	p := newPod(t, store, "pod-a")
	put(t, p.home, "notes")
	if res := p.run(p.resume("source"), "Do it.", &model{replies: []llm.Message{writes("one"), writes("two"), writes("three"), {Content: "done"}}}); res.Reason != harness.Completed {
		t.Fatalf("the source: %+v", res)
	}
	return store, Stored{store, record.Task{Namespace: "ns", UID: "source"}}
}

func TestForkHasTheWorkspaceAndTheConversationOfATurn(t *testing.T) {
	store, origin := source(t)
	p := newPod(t, store, "pod-b")
	j := p.resume("fork")
	if err := j.From(t.Context(), origin, "source", "u", 2); err != nil {
		t.Fatal(err)
	}
	m := &model{replies: []llm.Message{writes("other"), {Content: "done"}}}
	res := p.run(j, "Do it otherwise.", m)
	if res.Reason != harness.Completed || res.Progress.Turns != 2 || res.Progress.Usage.InputTokens != 20 {
		t.Errorf("the fork: %+v", res)
	}
	if got := p.files(); got != "one other two" || !has(t, p.home, "notes") {
		t.Errorf("the fork's workspace has %s, and its home has the notes: %t", got, has(t, p.home, "notes"))
	}
	if j.Base() != theBase {
		t.Errorf("the fork is based on %q", j.Base())
	}
	first := m.asked[0]
	if n := len(first); n != 7 || first[1].Content != "Do it." || first[5].ToolCallID != "two" || !strings.HasSuffix(first[n-1].Content, "\n\nDo it otherwise.") {
		t.Errorf("the first request of the fork is %+v", first)
	}
	// From here on its own record has all of it, and a pod needs no other.
	q := newPod(t, store, "pod-c")
	again := q.resume("fork")
	if err := again.From(t.Context(), gone{}, "source", "u", 2); err != nil {
		t.Fatal(err)
	}
	if res := q.run(again, "Do it otherwise.", &model{}); res.Reason != harness.Completed || q.files() != "one other two" || !has(t, q.home, "notes") {
		t.Errorf("another pod of the fork: %+v, with %s, and the notes: %t", res, q.files(), has(t, q.home, "notes"))
	}
}

// gone is a record that was deleted.
type gone struct{ Origin }

func (gone) Checkpoint(context.Context, int) (record.Checkpoint, error) {
	return record.Checkpoint{}, record.ErrNotFound
}

// A pod that dies before the first checkpoint of the fork leaves a run that goes on from
// the same turn, though the other task has gone on meanwhile.
func TestForkThatHasBegunKeepsItsTurn(t *testing.T) {
	store, origin := source(t)
	p := newPod(t, store, "pod-b")
	j := p.resume("fork")
	if err := j.From(t.Context(), origin, "source", "u", 1); err != nil {
		t.Fatal(err)
	}
	config := harness.Config{Task: harness.Task{Name: "x", Prompt: "Do it otherwise.", Limits: harness.Limits{Turns: 10}}, Models: &model{}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that it ends right after it has begun, without a checkpoint
	j.Run(ctx, nil, config, nil)

	q := newPod(t, store, "pod-c")
	again := q.resume("fork")
	if again.latest != nil {
		t.Fatal("the fork has a checkpoint")
	}
	if err := again.From(t.Context(), gone{}, "source", "u", record.Last); !errors.Is(err, record.ErrNotFound) {
		t.Errorf("without its origin: %v", err)
	}
	if err := again.From(t.Context(), origin, "source", "u", record.Last); err != nil {
		t.Fatal(err)
	}
	m := &model{replies: []llm.Message{{Content: "done"}}}
	if res := q.run(again, "Do it otherwise.", m); res.Reason != harness.Completed || q.files() != "one" {
		t.Errorf("the second pod: %+v, with %s", res, q.files())
	}
	// It is kept before anything is done to it.
	if turns, err := store.Turns(t.Context(), record.Task{Namespace: "ns", UID: "fork"}); err != nil || !slices.Equal(turns, []int{0, 1}) {
		t.Errorf("the fork has checkpoints of the turns %v: %v", turns, err)
	}
	asked := m.asked[0]
	if n := len(asked); asked[3].ToolCallID != "one" || !strings.HasSuffix(asked[4].Content, "\n\nDo it otherwise.") || !strings.Contains(asked[n-1].Content, "as it was after turn 0; so is the home directory") {
		t.Errorf("the second pod asks with %d messages: %+v", n, asked)
	}
}

// changed is a transcript that is not what it was.
type changed struct{ Stored }

func (c changed) Checkpoint(ctx context.Context, turn int) (record.Checkpoint, error) {
	cp, err := c.Stored.Checkpoint(ctx, turn)
	cp.LogDigest = "sha256:" + strings.Repeat("0", 64)
	return cp, err
}

func TestForkOfAnotherTranscriptIsRefused(t *testing.T) {
	store, origin := source(t)
	p := newPod(t, store, "pod-b")
	if err := p.resume("fork").From(t.Context(), changed{origin}, "source", "u", 1); !errors.As(err, new(*UnusableError)) || !strings.Contains(err.Error(), "digest") {
		t.Errorf("got %v", err)
	}
	if err := p.resume("fork").From(t.Context(), origin, "source", "u", 9); !errors.Is(err, record.ErrNotFound) {
		t.Errorf("a turn that there is not: %v", err)
	}
}

// damaged is a record with a damaged checkpoint, or a damaged transcript.
type damaged struct {
	Stored
	log bool
}

func (d damaged) Checkpoint(ctx context.Context, turn int) (record.Checkpoint, error) {
	if d.log {
		return d.Stored.Checkpoint(ctx, turn)
	}
	return record.Checkpoint{}, &record.CorruptError{Object: "it", Reason: "a bit"}
}

func (damaged) Log(context.Context, int64) (io.ReadCloser, error) {
	return io.NopCloser(iotest.ErrReader(&record.CorruptError{Object: "it", Reason: "a bit"})), nil
}

// What is damaged stays so, whichever pod reads it.
func TestForkOfADamagedRecordIsRefused(t *testing.T) {
	store, origin := source(t)
	for _, log := range []bool{false, true} {
		if err := newPod(t, store, "pod-b").resume("fork").From(t.Context(), damaged{origin, log}, "source", "u", 1); !errors.As(err, new(*UnusableError)) {
			t.Errorf("the transcript: %v, %v", log, err)
		}
	}
}
