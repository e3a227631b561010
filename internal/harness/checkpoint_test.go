package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// checkpoint is a workspace that was kept: what was written to it.
type checkpoint struct {
	Restored
	files []string
}

// checkpoints keeps what the fake tools have written: at once, or when it is waited for.
type checkpoints struct {
	files *[]string
	late  bool
	begun *checkpoint
	kept  []checkpoint
	err   error
	// why no workspace can be sealed.
	why string
}

func (c *checkpoints) Begin(turn int, log TranscriptSummary) {
	c.begun = &checkpoint{Restored{Turn: turn, Events: log.Events}, slices.Clone(*c.files)}
	if !c.late {
		c.commit()
	}
}

func (c *checkpoints) Wait(context.Context) error {
	c.commit()
	return c.err
}

func (c *checkpoints) Seal(ctx context.Context, turn int, log TranscriptSummary) (digest, why string, err error) {
	c.Begin(turn, log)
	if err := c.Wait(ctx); err != nil || c.why != "" {
		return "", c.why, err
	}
	return digestOf(*c.files), "", nil
}

func digestOf(files []string) string { return fmt.Sprint("digest of ", files) }

func (c *checkpoints) commit() {
	if c.begun != nil {
		c.kept, c.begun = append(c.kept, *c.begun), nil
	}
}

// written makes the fake tools write each call's arguments to a workspace.
func (f *fixture) written(files *[]string) {
	f.tools.run = func(_ context.Context, c llm.ToolCall) (ToolResult, error) {
		if c.Name == "write" {
			*files = append(*files, c.Arguments)
		}
		return ToolResult{Content: "ok"}, nil
	}
	f.exec.exec = func(context.Context, tool.ExecRequest) (*tool.ExecResult, error) {
		if slices.Contains(*files, "4") {
			return exits(0, ""), nil
		}
		return exits(1, "not yet"), nil
	}
}

func keptFixture(late bool, files *[]string) (*fixture, *checkpoints) {
	f := newFixture(script(conversationReplies))
	f.Task.Verify = []Verification{{Name: "v", Command: "check"}}
	f.written(files)
	c := &checkpoints{files: files, late: late}
	f.Checkpoints = c
	return f, c
}

func TestCheckpoints(t *testing.T) {
	var files []string
	f, c := keptFixture(true, &files)
	if res := f.run(t, t.Context()); res.Reason != Completed {
		t.Fatalf("ended %s: %s", res.Reason, res.Message)
	}
	var got []string
	for _, k := range c.kept {
		got = append(got, fmt.Sprint(k.Turn, k.files))
	}
	want := []string{"0 []", "1 [2]", "2 [2 3]", "3 [2 3]", "4 [2 3 4]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("checkpoints (-want +got):\n%s", diff)
	}
}

func TestNothingRunsBeforeTheCheckpointIsKept(t *testing.T) {
	for name, replies := range map[string][]reply{
		"a tool":         {calls(call("a", "write", "1"))},
		"a verification": {says("done")},
	} {
		t.Run(name, func(t *testing.T) {
			var files []string
			f, c := keptFixture(true, &files)
			f.provider.replies = replies
			f.exec.exec = func(context.Context, tool.ExecRequest) (*tool.ExecResult, error) {
				t.Error("a verification was run")
				return exits(0, ""), nil
			}
			c.err = errors.New("no such bucket")
			res := f.run(t, t.Context())
			if res.Reason != Internal || !strings.Contains(res.Message, "no such bucket") || len(f.tools.ran) > 0 {
				t.Errorf("ended %s (%s), and ran %v", res.Reason, res.Message, f.tools.ran)
			}
		})
	}
}

// A run without a checkpoint whose first reply is still to be acted on has one taken before.
func TestResumedRunIsKeptBeforeItActs(t *testing.T) {
	var files []string
	first, _ := keptFixture(false, &files)
	first.run(t, t.Context())
	events := recordedEvents(t, first)
	reply := slices.IndexFunc(events, func(e transcript.Event) bool { return e.Type == transcript.TypeResponse })
	for name, restored := range map[string]*Restored{"another machine": {Events: 1}, "the same machine": nil} {
		t.Run(name, func(t *testing.T) {
			files = nil
			f, c := keptFixture(true, &files)
			f.Resume, f.Restored, f.Unkept = PastOf(events[:reply+1]), restored, true
			if res := Run(t.Context(), f.Config); res.Reason != Completed {
				t.Fatalf("ended %s: %s", res.Reason, res.Message)
			}
			var got []string
			for _, k := range c.kept {
				got = append(got, fmt.Sprint(k.Turn, k.files))
			}
			want := []string{"0 []", "1 [2]", "2 [2 3]", "3 [2 3]", "4 [2 3 4]"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("checkpoints (-want +got):\n%s", diff)
			}
		})
	}
}

// TestResumeOnAnotherMachine loses the machine after every event, with the last
// checkpoint kept and with it lost: nothing that was done is done again, whatever is
// lost is named, and the run does not end before it is made up for.
func TestResumeOnAnotherMachine(t *testing.T) {
	var whole []string
	first, _ := keptFixture(false, &whole)
	if res := first.run(t, t.Context()); res.Reason != Completed {
		t.Fatalf("the run without a loss ended %s", res.Reason)
	}
	lines := bytes.SplitAfter(bytes.TrimSuffix(first.out.Bytes(), []byte("\n")), []byte("\n"))
	for n := 1; n < len(lines); n++ {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("after event %d, late %v", n, late), func(t *testing.T) {
				loseMachine(t, bytes.Join(lines[:n], nil), late)
			})
		}
	}
}

func loseMachine(t *testing.T, log []byte, late bool) {
	t.Helper()
	events, _, err := transcript.ReadAll(bytes.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	had, last := effectsOf(t, events)
	if late { // the last checkpoint was under way
		last = before(t, events, last)
	}
	files := slices.Clone(last.files)
	f, _ := keptFixture(late, &files)
	f.out.Write(log)
	past := &Past{}
	w, err := transcript.Continue(bytes.NewReader(log), transcript.Options{Tee: &f.out}, past.Add)
	if err != nil {
		t.Fatal(err)
	}
	f.Transcript, f.Resume, f.Restored = w, past, &last.Restored
	res := f.run(t, t.Context())
	var lost []string
	for _, id := range had {
		if slices.Contains(f.tools.ran, id.call) {
			t.Errorf("call %s was made again", id.call)
		}
		if !slices.Contains(last.files, id.file) {
			lost = append(lost, id.call)
		}
	}
	var words string
	for _, notice := range find[transcript.Notice](t, f) {
		if notice.Kind == transcript.NoticeWorkspaceRestored {
			words += notice.Text
		}
	}
	for _, id := range lost {
		if !strings.Contains(words, "("+id+")") {
			t.Errorf("call %s is lost, and the model was told %q", id, words)
		}
	}
	if words == "" && len(f.provider.sent()) > 0 {
		t.Error("the model was not told that the container is a new one")
	}
	if done := slices.Contains(files, "4"); done != (res.Reason == Completed) {
		t.Errorf("ended %s with %v in the workspace", res.Reason, files)
	}
}

type effect struct{ call, file string }

// effectsOf gives the writes that had results, and the checkpoint after the last
// whole turn.
func effectsOf(t *testing.T, events []transcript.Event) (had []effect, last checkpoint) {
	t.Helper()
	last.Events = 1
	var files []string
	open := map[string]string{}
	answered := 0
	for _, e := range events {
		data, err := e.Decode()
		if err != nil {
			t.Fatal(err)
		}
		switch d := data.(type) {
		case *transcript.ToolCall:
			open[d.ID] = d.Arguments
		case *transcript.ToolResult:
			answered++
			if d.Name == "write" {
				files = append(files, open[d.ID])
				had = append(had, effect{d.ID, open[d.ID]})
			}
			if answered == len(open) {
				last = checkpoint{Restored{Turn: e.Turn, Events: e.Seq}, slices.Clone(files)}
			}
		}
	}
	return had, last
}

// before gives the checkpoint before one, as if it had not been kept.
func before(t *testing.T, events []transcript.Event, c checkpoint) checkpoint {
	t.Helper()
	var earlier []transcript.Event
	for _, e := range events {
		if e.Turn < c.Turn {
			earlier = append(earlier, e)
		}
	}
	_, last := effectsOf(t, earlier)
	return last
}

func TestResumeReadsAgain(t *testing.T) {
	f := newFixture(script(calls(call("a", "read", "1"), call("b", "write", "2")), says("done")))
	ctx, cancel := context.WithCancel(t.Context())
	f.tools.run = func(context.Context, llm.ToolCall) (ToolResult, error) {
		cancel()
		panic("the process dies")
	}
	log := diesIn(t, f, ctx, transcript.TypeToolResult)
	past := &Past{}
	w, err := transcript.Continue(bytes.NewReader(log), transcript.Options{}, past.Add)
	if err != nil {
		t.Fatal(err)
	}
	next := newFixture(script(says("done")))
	next.Transcript, next.Resume, next.Restored = w, past, &Restored{Events: 1}
	if res := Run(t.Context(), next.Config); res.Reason != Completed {
		t.Fatalf("ended %s: %s", res.Reason, res.Message)
	}
	if diff := cmp.Diff([]string{"a"}, next.tools.ran); diff != "" {
		t.Errorf("calls that were made (-want +got):\n%s", diff)
	}
	sent := next.provider.sent()[0].Messages
	if !slices.ContainsFunc(sent, func(m llm.Message) bool { return strings.HasPrefix(m.Content, "Unknown: ") && m.ToolCallID == "b" }) {
		t.Errorf("the model was not told that the write is unknown: %+v", sent)
	}
}

// diesIn gives the log of a run up to its first event of a type.
func diesIn(t *testing.T, f *fixture, ctx context.Context, before transcript.Type) []byte {
	t.Helper()
	Run(ctx, f.Config)
	var log []byte
	for _, line := range bytes.SplitAfter(f.out.Bytes(), []byte("\n")) {
		if bytes.Contains(line, []byte(`"type":"`+string(before)+`"`)) {
			break
		}
		log = append(log, line...)
	}
	return log
}

func TestACancelledRunGoesOn(t *testing.T) {
	f := newFixture(script(calls(call("a", "write", "1")), hangs()))
	ctx, cancel := context.WithCancelCause(t.Context())
	f.tools.run = func(context.Context, llm.ToolCall) (ToolResult, error) {
		cancel(ErrSuspended)
		return ToolResult{Content: "ok"}, nil
	}
	if res := f.run(t, ctx); res.Reason != Cancelled {
		t.Fatalf("ended %s", res.Reason)
	}
	next := newFixture(script(says("done")))
	past := &Past{}
	w, err := transcript.Continue(bytes.NewReader(f.out.Bytes()), transcript.Options{Tee: &next.out}, past.Add)
	if err != nil {
		t.Fatal(err)
	}
	next.out.Write(f.out.Bytes())
	next.Transcript, next.Resume = w, past
	res := next.run(t, t.Context())
	if res.Reason != Completed || res.Progress.Turns != 2 || res.Progress.ToolCalls != 1 {
		t.Errorf("ended %s after %d turns and %d calls", res.Reason, res.Progress.Turns, res.Progress.ToolCalls)
	}
}
