package broker

import (
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
)

// handClock stands still until it is moved.
type handClock struct{ now time.Time }

func (c *handClock) Now() time.Time                            { return c.now }
func (*handClock) AfterFunc(time.Duration, func()) func() bool { panic("nothing waits") }

// What is said of how long a call is still tried is what is done.
func TestLeftForCostlyFailures(t *testing.T) {
	clock := &handClock{now: time.Unix(1e9, 0)}
	trial := NewTrial(Retry{Base: time.Second, Cap: time.Second, AfterCap: time.Minute}, clock, 15*time.Minute, []Model{{ID: "m"}})
	trial.Ask(0, nil)
	outage := &llm.Error{Category: llm.Overloaded, Retryable: true, Status: 503}
	paid := &llm.Error{Category: llm.TruncatedStream, Retryable: true, Usage: llm.Usage{OutputTokens: 1}}
	bug := &llm.Error{Category: llm.Overloaded, Retryable: true, Status: 500}
	if _, again := trial.Backoff("m", outage, 0); !again {
		t.Fatal("an outage was not tried again")
	}
	clock.now = clock.now.Add(20 * time.Second)
	for le, want := range map[*llm.Error]time.Duration{outage: 15*time.Minute - 20*time.Second, paid: 40 * time.Second, bug: 40 * time.Second} {
		if got := trial.LeftFor(le); got != want {
			t.Errorf("%s: %s left, want %s", le.Category, got, want)
		}
	}
	clock.now = clock.now.Add(time.Minute)
	if got := trial.LeftFor(paid); got != 0 {
		t.Errorf("%s left after the minute", got)
	}
}
