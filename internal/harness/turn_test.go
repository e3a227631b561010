package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// lastMessage is what the n-th request ended with.
func lastMessage(p *fakeProvider, n int) llm.Message {
	m := p.sent()[n].Messages
	return m[len(m)-1]
}

func TestVerificationIsFedBack(t *testing.T) {
	f := newFixture(script(says("done"), calls(call("1", "write", "{}")), says("now it is")))
	f.Task.Verify = []Verification{{Name: "build", Command: "make"}, {Name: "tests", Command: "make test"}}
	var ran []string
	f.exec.exec = func(_ context.Context, req tool.ExecRequest) (*tool.ExecResult, error) {
		if !req.Isolated {
			t.Errorf("%s was not isolated", req.Shell)
		}
		ran = append(ran, req.Shell)
		if len(ran) == 1 {
			return exits(2, "make: no rule"), nil
		}
		return exits(0, "ok"), nil
	}
	res := f.run(t, t.Context())
	if res.Reason != Completed || res.Message != "now it is" {
		t.Errorf("ended %s: %s", res.Reason, res.Message)
	}
	// The second command is not run while the first one fails.
	if diff := cmp.Diff([]string{"make", "make", "make test"}, ran); diff != "" {
		t.Error(diff)
	}
	got := lastMessage(f.provider, 1)
	for _, want := range []string{"build", "exit code 2", "make: no rule"} {
		if got.Role != llm.RoleUser || !strings.Contains(got.Content, want) {
			t.Errorf("the model was told %q, want %q in it", got.Content, want)
		}
	}
	zero := 0
	want := []VerificationResult{
		{Name: "build", Passed: true, ExitCode: &zero, Message: "ok"}, {Name: "tests", Passed: true, ExitCode: &zero, Message: "ok"},
	}
	if diff := cmp.Diff(want, res.Verifications); diff != "" {
		t.Error(diff)
	}
}

// TestNothingBesideAVerification: where what might tamper with it cannot be ended,
// the run ends, and is no success.
func TestNothingBesideAVerification(t *testing.T) {
	f := newFixture(script(says("done")))
	f.Task.Verify = []Verification{{Name: "v", Command: "x"}}
	f.exec.exec = func(context.Context, tool.ExecRequest) (*tool.ExecResult, error) {
		return nil, fmt.Errorf("%w: some processes could not be killed", tool.ErrNotIsolated)
	}
	res := f.run(t, t.Context())
	if res.Reason != SandboxLost || !strings.Contains(res.Message, "could not be killed") {
		t.Errorf("ended %s: %s", res.Reason, res.Message)
	}
	if v := res.Verifications[0]; v.Passed || v.ExitCode != nil {
		t.Errorf("the verification is told as %+v", v)
	}
}

// TestFilesAreForTheVerification: no tool of the run, and no model, gets them.
func TestFilesAreForTheVerification(t *testing.T) {
	f := newFixture(script(says("done")))
	want := map[string][]byte{"test.sh": []byte("secret")}
	f.Task.Verify = []Verification{{Name: "v", Command: "x", Files: want}, {Name: "w", Command: "y"}}
	got := map[string]map[string][]byte{}
	f.exec.exec = func(_ context.Context, req tool.ExecRequest) (*tool.ExecResult, error) {
		if req.Files != nil && !req.Isolated {
			t.Error("a command that is not isolated has files")
		}
		got[req.Shell] = req.Files
		return exits(0, ""), nil
	}
	if res := f.run(t, t.Context()); res.Reason != Completed {
		t.Errorf("ended %s: %s", res.Reason, res.Message)
	}
	if diff := cmp.Diff(map[string]map[string][]byte{"x": want, "y": nil}, got); diff != "" {
		t.Error(diff)
	}
}

// TestNoSuccessWithoutProof: nothing but exit code 0 counts as passed.
func TestNoSuccessWithoutProof(t *testing.T) {
	zero := 0
	tests := map[string]struct {
		result *tool.ExecResult
		err    error
	}{
		"no exit code":       {result: &tool.ExecResult{}},
		"timed out":          {result: &tool.ExecResult{TimedOut: true, ExitCode: &zero}},
		"killed":             {result: &tool.ExecResult{Signal: "SIGKILL", OOMKilled: true}},
		"other exit code":    {result: exits(1, "")},
		"no result":          {},
		"refused":            {err: tool.ErrInvalid},
		"executor went away": {err: errGone},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(script(says("done")))
			f.Task.Verify = []Verification{{Name: "v", Command: "true"}}
			f.exec.exec = func(context.Context, tool.ExecRequest) (*tool.ExecResult, error) { return tc.result, tc.err }
			if res := f.run(t, t.Context()); res.Reason != VerificationFailed && res.Reason != SandboxLost {
				t.Errorf("ended %s", res.Reason)
			}
		})
	}
}

func TestToolCalls(t *testing.T) {
	t.Run("read-only ones run in parallel, results keep their order", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(script(calls(
				call("a", "read", "{}"), call("b", "read", "{}"), call("c", "write", "{}"), call("d", "read", "{}"),
			), says("ok")))
			var now, most atomic.Int32
			delays := map[string]time.Duration{"a": 3 * time.Second, "b": time.Second, "c": time.Second, "d": time.Second}
			f.tools.run = func(_ context.Context, c llm.ToolCall) (ToolResult, error) {
				most.Store(max(most.Load(), now.Add(1)))
				defer now.Add(-1)
				pass(delays[c.ID])
				return ToolResult{Content: "r" + c.ID}, nil
			}
			began := time.Now()
			if res := f.run(t, t.Context()); res.Reason != Completed || res.Progress.ToolCalls != 4 {
				t.Errorf("result %+v", res)
			}
			if took := time.Since(began); took != 5*time.Second || most.Load() != 2 {
				t.Errorf("took %s with up to %d at once, want 5s with 2", took, most.Load())
			}
			var got []string
			for _, m := range f.provider.sent()[1].Messages[3:] {
				got = append(got, m.ToolCallID+"="+m.Content)
			}
			if diff := cmp.Diff([]string{"a=ra", "b=rb", "c=rc", "d=rd"}, got); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("unknown name, panic, and same ids", func(t *testing.T) {
		f := newFixture(script(calls(call("x", "raed", "{}"), call("x", "write", "{}"), call("", "read", "{}")), says("ok")))
		f.tools.run = func(_ context.Context, c llm.ToolCall) (ToolResult, error) {
			if c.Name == "write" {
				panic("boom")
			}
			return ToolResult{Content: "fine"}, nil
		}
		res := f.run(t, t.Context())
		if res.Reason != Completed || res.Progress.FailedToolCalls != 2 {
			t.Errorf("result %+v", res)
		}
		m := f.provider.sent()[1].Messages[3:]
		if !strings.Contains(m[0].Content, `no tool "raed"`) || !strings.Contains(m[0].Content, "read, write") ||
			!strings.Contains(m[1].Content, "boom") || m[2].Content != "fine" {
			t.Errorf("results %+v", m)
		}
		if m[0].ToolCallID == m[1].ToolCallID || m[2].ToolCallID == "" {
			t.Errorf("ids are not unique: %+v", m)
		}
	})
	t.Run("a tool that never returns times out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(script(calls(call("1", "write", "{}")), says("ok")))
			f.Task.Limits.Tool = time.Minute
			f.tools.run = func(context.Context, llm.ToolCall) (ToolResult, error) {
				pass(time.Hour)
				return ToolResult{}, nil
			}
			if res := f.run(t, t.Context()); res.Reason != Completed {
				t.Errorf("ended %s: %s", res.Reason, res.Message)
			}
			if got := lastMessage(f.provider, 1).Content; !strings.Contains(got, "timed out after 1m0s") {
				t.Errorf("the model was told %q", got)
			}
			pass(time.Hour)
		})
	})
	t.Run("a call cut off by the output limit is not run", func(t *testing.T) {
		cut := respond(llm.Response{FinishReason: llm.FinishLength, Message: llm.Message{
			ToolCalls: []llm.ToolCall{call("1", "write", `{"a":"b"}`), call("2", "write", `{"content":"half`)},
		}})
		f := newFixture(script(cut, says("ok")))
		f.run(t, t.Context())
		if diff := cmp.Diff([]string{"1"}, f.tools.ran); diff != "" {
			t.Error(diff)
		}
		if got := lastMessage(f.provider, 1).Content; got != cutCallText {
			t.Errorf("the model was told %q", got)
		}
	})
}

func TestNotices(t *testing.T) {
	read := func(args string) reply { return calls(call("", "read", args)) }
	tests := map[string]struct {
		replies []reply
		setup   func(f *fixture)
		want    []transcript.NoticeKind
		end     End
	}{
		"reply cut off": {
			replies: []reply{respond(llm.Response{Message: llm.Message{Content: "I am"}, FinishReason: llm.FinishLength}), says("done")},
			want:    []transcript.NoticeKind{transcript.NoticeOutputLimit}, end: Completed,
		},
		"two empty replies": {
			replies: []reply{says(""), says(""), says("done")},
			want:    []transcript.NoticeKind{transcript.NoticeEmptyReply, transcript.NoticeEmptyReply}, end: Completed,
		},
		"empties are counted in a row": {
			replies: []reply{says(""), says(""), read("1"), says(""), says(""), says("done")},
			want: []transcript.NoticeKind{
				transcript.NoticeEmptyReply, transcript.NoticeEmptyReply, transcript.NoticeEmptyReply, transcript.NoticeEmptyReply,
			}, end: Completed,
		},
		"turns run low, told once": {
			replies: []reply{read("1"), read("2"), read("3"), read("4"), read("5"), read("6"), read("7"), read("8"), read("9"), says("done")},
			setup:   func(f *fixture) { f.Task.Limits.Turns = 10 },
			want:    []transcript.NoticeKind{transcript.NoticeSoftLimit}, end: Completed,
		},
		"last of three turns": {
			replies: []reply{read("1"), read("2"), says("done")},
			setup:   func(f *fixture) { f.Task.Limits.Turns = 3 },
			want:    []transcript.NoticeKind{transcript.NoticeSoftLimit}, end: Completed,
		},
		"loop left after the notice": {
			replies: []reply{read("1"), read("1"), read("1"), read("1"), says("done")},
			want:    []transcript.NoticeKind{transcript.NoticeLoop}, end: Completed,
		},
		"circle of two": {
			replies: []reply{
				read("1"), read("2"), read("1"), read("2"), read("1"), read("2"), read("1"), read("2"), read("1"), read("2"), read("1"), read("2"), says("late"),
			},
			want: []transcript.NoticeKind{transcript.NoticeLoop}, end: LoopDetected,
		},
		"polling what changes is no loop": {
			replies: append(repeat(20, read("poll")), says("done")),
			setup: func(f *fixture) {
				n := 0
				f.tools.run = func(context.Context, llm.ToolCall) (ToolResult, error) {
					n++
					return ToolResult{Content: strings.Repeat("x", n)}, nil
				}
			},
			end: Completed,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(script(tc.replies...))
			if tc.setup != nil {
				tc.setup(f)
			}
			if res := f.run(t, t.Context()); res.Reason != tc.end {
				t.Errorf("ended %s, want %s: %s", res.Reason, tc.end, res.Message)
			}
			if diff := cmp.Diff(tc.want, notices(t, f)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func repeat(n int, r reply) []reply {
	out := make([]reply, n)
	for i := range out {
		out[i] = r
	}
	return out
}

func TestRetry(t *testing.T) {
	overloaded := fails(&llm.Error{Category: llm.Overloaded, Message: "503", Retryable: true})
	t.Run("grows and ends well", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(script(overloaded, overloaded, overloaded, says("done")))
			res := f.run(t, t.Context())
			if res.Reason != Completed || res.Progress.Turns != 1 {
				t.Errorf("result %+v", res)
			}
			for i, r := range find[transcript.Retry](t, f) {
				most := int64(500 << i)
				if r.Attempt != i+1 || r.WaitMillis < most/2 || r.WaitMillis > most {
					t.Errorf("retry %+v, want attempt %d with %d to %d ms", r, i+1, most/2, most)
				}
			}
		})
	})
	t.Run("Retry-After is kept to", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(script(fails(&llm.Error{Category: llm.RateLimited, Retryable: true, RetryAfter: 42 * time.Second}), says("done")))
			began := time.Now()
			f.run(t, t.Context())
			if took := time.Since(began); took != 42*time.Second {
				t.Errorf("took %s", took)
			}
		})
	})
	t.Run("Retry-After beyond the cap is a failure", func(t *testing.T) {
		f := newFixture(script(fails(&llm.Error{Category: llm.RateLimited, Retryable: true, RetryAfter: time.Hour}), says("never")))
		if res := f.run(t, t.Context()); res.Reason != ModelUnavailable || res.Category != llm.RateLimited {
			t.Errorf("result %+v", res)
		}
	})
	t.Run("requests per minute", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(script(calls(call("", "read", "1")), calls(call("", "read", "2")), calls(call("", "read", "3")), says("done")))
			m := model("m", f.provider)
			m.RequestsPerMinute = 2
			f.Models = broker.FixedRouter{m}
			began := time.Now()
			f.run(t, t.Context())
			if took := time.Since(began); took != time.Minute {
				t.Errorf("took %s", took)
			}
		})
	})
	t.Run("requests per minute of several runs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rate, began := broker.NewRate(), time.Now()
			for range 3 {
				f := newFixture(script(calls(call("", "read", "1")), says("done")))
				m := model("m", f.provider)
				m.RequestsPerMinute = 2
				f.Models, f.Rate = broker.FixedRouter{m}, rate
				f.run(t, t.Context())
			}
			if took := time.Since(began); took != 2*time.Minute {
				t.Errorf("three runs with two calls each took %s", took)
			}
		})
	})
}

func TestFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context, c llm.ToolCall) (ToolResult, error) {
			pass(45 * time.Second)
			return ToolResult{Content: c.Arguments}, nil
		}
		first := script(fails(&llm.Error{Category: llm.QuotaExceeded, Message: "no credit"}), says("done"))
		second := script(calls(call("", "write", "1")), calls(call("", "write", "2")))
		f := newFixture(first)
		f.tools.run = slow
		f.Models = broker.FixedRouter{model("one", first), model("two", second)}
		res := f.run(t, t.Context())
		if res.Reason != Completed || res.Progress.Model != "one" {
			t.Errorf("result %+v", res)
		}
		// Passed over while it cools down (one minute), then preferred again.
		if a, b := len(first.sent()), len(second.sent()); a != 2 || b != 2 {
			t.Errorf("%d and %d requests, want 2 and 2", a, b)
		}
		want := []transcript.Fallback{
			{From: "one", To: "two", Category: llm.QuotaExceeded, Message: "no credit"}, {From: "two", To: "one"},
		}
		if diff := cmp.Diff(want, find[transcript.Fallback](t, f)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNoFallbackHidesTheTasksOwnErrors(t *testing.T) {
	for _, c := range []llm.Category{llm.CredentialConfig, llm.ContentFilter, llm.ToolCallShapeMismatch, llm.ModelQuality, llm.TextToolCall} {
		first, second := script(fails(&llm.Error{Category: c})), script(says("done"))
		f := newFixture(first)
		f.Models = broker.FixedRouter{model("one", first), model("two", second)}
		if res := f.run(t, t.Context()); res.Reason != ModelUnavailable || res.Category != c || len(second.sent()) > 0 {
			t.Errorf("%s: result %+v", c, res)
		}
	}
}

func TestPrompt(t *testing.T) {
	f := newFixture(script(says("done")))
	f.exec.docs = "Use tabs.\n" + strings.Repeat("x", 2*maxDocs)
	f.Task.SystemPrompt, f.Task.Verify = "Be kind.", []Verification{{Name: "tests", Command: "go test ./..."}}
	f.run(t, t.Context())
	m := f.provider.sent()[0].Messages
	system := m[0].Content
	for _, want := range []string{"Be kind.", "Use tabs.", "tests: go test ./...", "more bytes are in AGENTS.md"} {
		if !strings.Contains(system, want) {
			t.Errorf("%q is not in the system prompt", want)
		}
	}
	if len(system) > maxDocs+4000 || m[1].Content != "do it" || len(m) != 2 {
		t.Errorf("%d bytes of system prompt, %d messages", len(system), len(m))
	}
}

// counter counts what is written to it.
type counter struct{ atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.Add(int64(len(p)))
	return len(p), nil
}

func TestProgress(t *testing.T) {
	t.Run("is told of each step, after it was written", func(t *testing.T) {
		f := newFixture(script(calls(call("1", "write", `{"command":"go  test\n./..."}`)), says("done")))
		var activities []string
		var written counter // the run may write on while it is told of
		f.Transcript = transcript.New(transcript.Options{Tee: io.MultiWriter(&f.out, &written)})
		f.Reporter = NewReporter(func(p Progress) {
			activities = append(activities, p.Activity)
			if n := written.Load(); p.Transcript.Bytes > n {
				t.Errorf("%q reported %d bytes, %d were written", p.Activity, p.Transcript.Bytes, n)
			}
		}, nil)
		res := f.run(t, t.Context())
		if diff := cmp.Diff([]string{"starting", "write: go test ./...", "thinking", ""}, activities); diff != "" {
			t.Error(diff)
		}
		if res.Progress.Turns != 2 || res.Progress.Model != "m" {
			t.Errorf("progress %+v", res.Progress)
		}
	})
	t.Run("a callback that hangs or panics stops nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(script(calls(call("1", "write", "{}")), says("done")))
			first := true
			f.Reporter = NewReporter(func(Progress) {
				if first {
					first = false
					panic("boom")
				}
				pass(time.Hour)
			}, nil)
			began := time.Now()
			if res := f.run(t, t.Context()); res.Reason != Completed || time.Since(began) > time.Second {
				t.Errorf("ended %s after %s", res.Reason, time.Since(began))
			}
			pass(2 * time.Hour)
		})
	})
}

// failingWriter takes so many writes and no more.
type failingWriter struct{ left int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

// TestUnwrittenTranscript: what is not on record did not happen, so a run that
// cannot write ends, and never well.
func TestUnwrittenTranscript(t *testing.T) {
	for left := range 4 {
		f := newFixture(script(calls(call("1", "write", "{}")), says("done")))
		f.Transcript = transcript.New(transcript.Options{Tee: &failingWriter{left: left}})
		res := Run(t.Context(), f.Config)
		if res.Reason != Internal || !strings.Contains(res.Message, "disk full") {
			t.Errorf("after %d writes: ended %s: %s", left, res.Reason, res.Message)
		}
		if ran := len(f.tools.ran); left < 2 && ran > 0 {
			t.Errorf("after %d writes: a tool ran without a record", left)
		}
	}
}

// TestSmallStandIn: a stand-in that is too small for the task changes nothing
// about why the run ended, and is not asked.
func TestSmallStandIn(t *testing.T) {
	first := script(fails(&llm.Error{Category: llm.Network, Message: "down"}))
	second := script(says("never"))
	f := newFixture(first)
	f.Task.Prompt = strings.Repeat("word ", 4000)
	small := model("small", second)
	small.ContextWindow, small.MaxOutputTokens = 2048, 256
	f.Models = broker.FixedRouter{model("large", first), small}
	res := f.run(t, t.Context())
	if res.Reason != ModelUnavailable || res.Category != llm.Network || len(second.sent()) > 0 {
		t.Errorf("result %+v", res)
	}
	if !strings.Contains(res.Message, "small: ContextLength") {
		t.Errorf("message %q", res.Message)
	}
}

// brokenTools fail where no tool may.
type brokenTools struct{ *fakeTools }

func (brokenTools) ReadOnly(string) bool { panic("boom") }

func TestCallsAreAnsweredAlsoWhenTheLoopFails(t *testing.T) {
	f := newFixture(script(calls(call("1", "write", "{}"), call("2", "write", "{}"))))
	f.Tools = brokenTools{f.tools}
	if res := f.run(t, t.Context()); res.Reason != Internal { // run checks the answers
		t.Errorf("ended %s", res.Reason)
	}
}
