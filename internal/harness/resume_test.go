package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// conversationReplies answers by what it is asked, so that a run gets the same
// replies whether or not it was interrupted.
func conversationReplies(ctx context.Context, req llm.Request) (*llm.Response, error) {
	answered := 0
	for _, m := range req.Messages {
		if m.Role == llm.RoleAssistant {
			answered++
		}
	}
	steps := []reply{
		calls(call("a", "read", "1"), call("b", "write", "2")),
		calls(call("c", "write", "3")),
		says("first try"),
		calls(call("d", "write", "4")),
		says("done"),
	}
	return steps[min(answered, len(steps)-1)](ctx, req)
}

// TestResume kills a run at every byte that ends a line, and in the middle of
// the next one: the run that goes on from there completes, every call has
// exactly one answer, and nothing that was on record is lost.
func TestResume(t *testing.T) {
	fixtureFor := func() *fixture {
		f := newFixture(script(conversationReplies))
		f.Task.Verify = []Verification{{Name: "v", Command: "check"}}
		f.exec.exec = func(context.Context, tool.ExecRequest) (*tool.ExecResult, error) {
			for _, id := range f.tools.ran {
				if id == "d" {
					return exits(0, ""), nil
				}
			}
			return exits(1, "not yet"), nil
		}
		return f
	}
	whole := fixtureFor()
	want := whole.run(t, t.Context())
	if want.Reason != Completed || want.Progress.Turns != 5 {
		t.Fatalf("the run without interruption: %+v", want)
	}
	lines := bytes.SplitAfter(whole.out.Bytes(), []byte("\n"))
	for n := 1; n < len(lines); n++ {
		for _, extra := range []int{0, 10} {
			t.Run(fmt.Sprintf("after event %d and %d bytes", n, extra), func(t *testing.T) {
				kept := bytes.Join(lines[:n], nil)
				cut := append(bytes.Clone(kept), lines[n][:min(extra, len(lines[n]))]...)
				path := filepath.Join(t.TempDir(), "t.jsonl")
				if err := os.WriteFile(path, cut, 0o600); err != nil {
					t.Fatal(err)
				}
				f := fixtureFor()
				var events []transcript.Event
				w, err := transcript.Open(path, transcript.Options{Tee: &f.out}, func(e transcript.Event) { events = append(events, e) })
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close() //nolint:errcheck // checked where it matters
				f.out.Write(kept)
				f.Transcript, f.Resume = w, PastOf(events)
				if n == len(lines)-1 {
					f.tools.closed = 1 // an ended run is not run again
				} else if n > 0 {
					f.tools.ran = ranBefore(events)
				}
				got := f.run(t, t.Context())
				usage := want.Progress.Usage
				usage.Add(costOfLostCall(events))
				if sum, _ := sums(t, f); sum != got.Progress.Usage {
					t.Errorf("the events add up to %+v, the result says %+v", sum, got.Progress.Usage)
				}
				if got.Reason != Completed || got.Message != "done" || got.Progress.Turns != want.Progress.Turns ||
					got.Progress.ToolCalls != want.Progress.ToolCalls || got.Progress.Usage != usage {
					t.Errorf("got %+v\nwant %+v", got, want)
				}
				if diff := cmp.Diff(want.Verifications, got.Verifications); diff != "" {
					t.Error(diff)
				}
				file, err := os.ReadFile(path)
				if err != nil || !bytes.Equal(file, f.out.Bytes()) || !bytes.HasPrefix(file, kept) {
					t.Errorf("the file is not what was kept and what the tee got (%v)", err)
				}
			})
		}
	}
}

// costOfLostCall is what the call is taken to have cost in which a process died.
func costOfLostCall(events []transcript.Event) llm.Usage {
	if last, err := events[len(events)-1].Decode(); err == nil {
		if r, ok := last.(*transcript.Request); ok {
			return llm.Usage{InputTokens: r.EstimatedInputTokens, Estimated: true}
		}
	}
	return llm.Usage{}
}

// ranBefore are the calls that took effect in the earlier process.
func ranBefore(events []transcript.Event) []string {
	var ids []string
	for _, e := range events {
		if d, err := e.Decode(); err == nil {
			if c, ok := d.(*transcript.ToolCall); ok {
				ids = append(ids, c.ID)
			}
		}
	}
	return ids
}

func TestResumeOfNonsense(t *testing.T) {
	tests := map[string][]transcript.Event{
		"wrong beginning": {{Seq: 1, Type: transcript.TypeNotice, Data: []byte(`{}`)}},
		"unknown only":    {{Seq: 1, Type: "other", Data: []byte(`{}`)}},
		"broken data":     {{Seq: 1, Type: transcript.TypeRunStarted, Data: []byte(`[]`)}},
	}
	for name, events := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(script(says("never")))
			f.Resume = PastOf(events)
			if res := Run(t.Context(), f.Config); res.Reason != Internal {
				t.Errorf("ended %s: %s", res.Reason, res.Message)
			}
		})
	}
}

// TestResumeKeepsState: what an earlier process used up stays used up.
func TestResumeKeepsState(t *testing.T) {
	began := transcript.RunStarted{SystemPrompt: "s", Prompt: "do it"}
	empty := transcript.Response{FinishReason: llm.FinishStop, Usage: someUsage}
	nudged := transcript.Notice{Kind: transcript.NoticeEmptyReply, Text: "again"}
	tests := map[string]struct {
		before []transcript.Data
		// every event of it took a minute; between the processes was an hour.
		limits  Limits
		replies []reply
		want    End
		notices []transcript.NoticeKind
	}{
		"active time": {
			before: []transcript.Data{began, nudged, nudged}, limits: Limits{Active: 2*time.Minute + 30*time.Second},
			replies: []reply{hangs()}, want: DeadlineExceeded, notices: []transcript.NoticeKind{transcript.NoticeSoftLimit},
		},
		"time between processes is not active": {
			before: []transcript.Data{began, nudged, transcript.RunResumed{}}, limits: Limits{Active: 10 * time.Minute},
			replies: []reply{says("done")}, want: Completed,
		},
		"the warning": {
			before: []transcript.Data{began, transcript.Notice{Kind: transcript.NoticeSoftLimit}}, limits: Limits{Turns: 2},
			replies: []reply{calls(call("", "read", "1"))}, want: MaxTurns,
		},
		"empty replies": {
			before:  []transcript.Data{began, empty, nudged, empty, nudged},
			replies: []reply{says("")}, want: EmptyResponse,
		},
		"turns": {
			before: []transcript.Data{began, empty, nudged}, limits: Limits{Turns: 1},
			replies: []reply{says("never")}, want: MaxTurns,
		},
		"tokens": {
			before: []transcript.Data{began, empty, nudged}, limits: Limits{OutputTokens: 12},
			replies: []reply{says("never")}, want: BudgetExceeded, notices: []transcript.NoticeKind{transcript.NoticeSoftLimit},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(script(tc.replies...))
				w := transcript.New(transcript.Options{Tee: &f.out, Now: time.Now})
				turn := 0
				for i, d := range tc.before {
					switch d.(type) {
					case transcript.Response:
						turn++
					case transcript.RunResumed:
						pass(time.Hour)
					}
					if i > 0 {
						pass(time.Minute)
					}
					if _, err := w.Append(turn, d); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.Sync(); err != nil {
					t.Fatal(err)
				}
				events, _, err := transcript.ReadAll(bytes.NewReader(f.out.Bytes()))
				if err != nil {
					t.Fatal(err)
				}
				pass(time.Hour)
				f.Transcript, f.Resume, f.Task.Limits = w, PastOf(events), tc.limits
				resumed := time.Now()
				res := f.run(t, t.Context())
				if res.Reason != tc.want {
					t.Errorf("ended %s, want %s: %s", res.Reason, tc.want, res.Message)
				}
				if left := 30 * time.Second; tc.want == DeadlineExceeded && time.Since(resumed) != left {
					t.Errorf("went on for %s, %s were left", time.Since(resumed), left)
				}
				fresh := notices(t, f)[countNotices(tc.before):]
				if diff := cmp.Diff(tc.notices, fresh, cmpopts.EquateEmpty()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func countNotices(events []transcript.Data) int {
	n := 0
	for _, d := range events {
		if _, ok := d.(transcript.Notice); ok {
			n++
		}
	}
	return n
}
