package harness

import (
	"strings"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// The model is told what was wrong with a reply that could not be used: once for
// the same fault, and in the request that follows.
func TestModelIsToldOfUnusableReplies(t *testing.T) {
	wrong := func(hint string) reply {
		return fails(&llm.Error{Category: llm.TextToolCall, Retryable: true, Message: "wrote a call", Hint: hint})
	}
	p := &fakeProvider{replies: []reply{wrong("No text."), wrong("No text."), says("done")}}
	f := newFixture(p)
	f.Retry = broker.Retry{Base: time.Millisecond, Cap: time.Millisecond}
	if res := f.run(t, t.Context()); res.Reason != Completed {
		t.Fatalf("%+v", res)
	}
	told := 0
	for _, m := range p.requests[2].Messages {
		told += strings.Count(m.Content, "[harness] No text.")
	}
	if len(p.requests[0].Messages) != 2 || len(p.requests[1].Messages) != 3 || told != 1 {
		t.Errorf("told %d times: %+v", told, p.requests[2].Messages)
	}
	if n := find[transcript.Notice](t, f); len(n) != 1 || n[0].Kind != transcript.NoticeUnusableReply {
		t.Errorf("notices %+v", n)
	}
}

// A request that the server wants in another form is sent again at once, however
// few attempts there are, and that is on record.
func TestAdaptedRequestsAreSentAtOnce(t *testing.T) {
	refuses := fails(&llm.Error{Category: llm.ProviderUnsupported, Message: "no x", Adapted: "x is not sent"})
	p := &fakeProvider{replies: []reply{refuses, refuses, refuses, says("done")}}
	f := newFixture(p)
	f.Retry = broker.Retry{Attempts: 2, Base: time.Hour, Cap: time.Hour}
	if res := f.run(t, t.Context()); res.Reason != Completed {
		t.Fatalf("%+v", res)
	}
	for _, r := range find[transcript.Retry](t, f) {
		if r.Adapted != "x is not sent" || r.WaitMillis != 0 || r.GaveUp {
			t.Errorf("%+v", r)
		}
	}
}

// Only FinishStop is the end of the model's work.
func TestOnlyAKnownEndIsOne(t *testing.T) {
	for _, reason := range []llm.FinishReason{"", "insert_coin", llm.FinishPaused, llm.FinishLength} {
		half := respond(llm.Response{Message: llm.Message{Content: "First I will"}, FinishReason: reason})
		f := newFixture(&fakeProvider{replies: []reply{half, says("done")}})
		if res := f.run(t, t.Context()); res.Message != "done" || res.Progress.Turns != 2 {
			t.Errorf("%q: %+v", reason, res)
		}
	}
}
