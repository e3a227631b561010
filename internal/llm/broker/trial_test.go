package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
)

// What is said of how long a call is still tried is what is done.
func TestLeftForCostlyFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trial := NewTrial(Retry{Base: time.Second, Cap: time.Second, AfterCap: time.Minute}, wall{}, 15*time.Minute, []Model{{ID: "m"}})
		trial.Ask(0, nil)
		outage := &llm.Error{Category: llm.Overloaded, Retryable: true, Status: 503}
		paid := &llm.Error{Category: llm.TruncatedStream, Retryable: true, Usage: llm.Usage{OutputTokens: 1}}
		bug := &llm.Error{Category: llm.Overloaded, Retryable: true, Status: 500}
		if _, again := trial.Backoff("m", outage, 0); !again {
			t.Fatal("an outage was not tried again")
		}
		time.Sleep(20 * time.Second)
		for le, want := range map[*llm.Error]time.Duration{outage: 15*time.Minute - 20*time.Second, paid: 40 * time.Second, bug: 40 * time.Second} {
			if got := trial.LeftFor(le); got != want {
				t.Errorf("%s: %s left, want %s", le.Category, got, want)
			}
		}
		time.Sleep(time.Minute)
		if got := trial.LeftFor(paid); got != 0 {
			t.Errorf("%s left after the minute", got)
		}
	})
}
