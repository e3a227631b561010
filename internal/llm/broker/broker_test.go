package broker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
)

// wall is the clock of a synctest bubble.
type wall struct{}

func (wall) Now() time.Time                                  { return time.Now() }
func (wall) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }

func of(rate *Rate, models ...Model) *Broker {
	return New(Options{Router: FixedRouter(models), Clock: wall{}, CoolDown: time.Minute, Rate: rate})
}

func ids(t *testing.T, b *Broker, tokens int64) (out []string) {
	t.Helper()
	got, err := b.Candidates(t.Context(), tokens)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got {
		out = append(out, m.ID)
	}
	return out
}

// TestRateIsShared: fifty runs at once keep to one rate, and use it.
func TestRateIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perMinute = 10
		m := Model{ID: "m", RequestsPerMinute: perMinute}
		rate := NewRate()
		var mu sync.Mutex
		var starts []time.Time
		var wg sync.WaitGroup
		for range 50 {
			b := of(rate, m)
			wg.Go(func() {
				if err := b.Pace(t.Context(), m); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				starts = append(starts, time.Now())
			})
		}
		began := time.Now()
		wg.Wait()
		if took := time.Since(began); took != 4*time.Minute {
			t.Errorf("50 requests at %d a minute took %s", perMinute, took)
		}
		slices.SortFunc(starts, time.Time.Compare)
		for i := perMinute; i < len(starts); i++ {
			if d := starts[i].Sub(starts[i-perMinute]); d < time.Minute {
				t.Errorf("request %d comes %s after the one %d before it", i, d, perMinute)
			}
		}
	})
}

// TestTurnIsGivenBack: who stops waiting does not keep others waiting.
func TestTurnIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := Model{ID: "m", RequestsPerMinute: 1}
		b := of(nil, m)
		if err := b.Pace(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Pace(ctx, m); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		began := time.Now()
		if err := b.Pace(t.Context(), m); err != nil || time.Since(began) != time.Minute-time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// TestCoolDown: a model that failed is passed over until it has answered or cooled down,
// and only by the run in which it failed.
func TestCoolDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate := NewRate()
		one, two := of(rate, Model{ID: "a"}, Model{ID: "b"}), of(rate, Model{ID: "a"}, Model{ID: "b"})
		one.Failed("a", 0)
		if got := ids(t, one, 0); !slices.Equal(got, []string{"b", "a"}) {
			t.Errorf("after a failure: %v", got)
		}
		if got := ids(t, two, 0); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("after a failure, the next run has %v", got)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // time stands still in a bubble
		if got := ids(t, one, 0); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("after a minute: %v", got)
		}
		one.Failed("a", time.Hour)
		time.Sleep(30 * time.Minute) //nolint:forbidigo // time stands still in a bubble
		if got := ids(t, one, 0); !slices.Equal(got, []string{"b", "a"}) {
			t.Errorf("after a failure that took an hour: %v", got)
		}
		one.Answered("a")
		if got := ids(t, one, 0); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("after an answer: %v", got)
		}
	})
}

// TestLearnedWindowIsARunsOwn: what one run was told of a window does not cut down the
// conversations of the next.
func TestLearnedWindowIsARunsOwn(t *testing.T) {
	rate, m := NewRate(), Model{ID: "m", ContextWindow: 9000, MaxOutputTokens: 3000}
	one, two := of(rate, m), of(rate, m)
	if !one.Learn(m, 2048) || one.Learned(m).ContextWindow != 2048 {
		t.Error("the run does not learn the window")
	}
	if got := two.Learned(m); got.ContextWindow != 9000 {
		t.Errorf("the next run has a window of %d", got.ContextWindow)
	}
}

func TestWindows(t *testing.T) {
	small, large := Model{ID: "small", ContextWindow: 4000, MaxOutputTokens: 3000}, Model{ID: "large", ContextWindow: 9000}
	b := of(nil, Model{ID: "first", ContextWindow: 2000}, small, large)
	if got := ids(t, b, 5000); !slices.Equal(got, []string{"first", "large", "small"}) {
		t.Errorf("for 5000 tokens: %v", got)
	}
	if b.Learn(small, 100) || b.Learn(small, 4000) || !b.Learn(small, 2048) {
		t.Error("what servers say of windows is not held against what is known")
	}
	if got := b.Learned(small); got.ContextWindow != 2048 || got.MaxOutputTokens != 1024 {
		t.Errorf("learned %+v", got)
	}
}

func TestCandidatesNeedAPrice(t *testing.T) {
	b := New(Options{Router: FixedRouter{{ID: "free"}}, Clock: wall{}, Priced: true})
	if _, err := b.Candidates(t.Context(), 0); err == nil {
		t.Error("a model without a price is offered where there is a cost limit")
	}
}

func TestFallsBack(t *testing.T) {
	for _, c := range []llm.Category{llm.CredentialConfig, llm.ContentFilter, llm.ModelQuality, llm.TextToolCall, llm.Stopped} {
		if FallsBack(c) {
			t.Errorf("%s leads to another model", c)
		}
	}
	for _, c := range []llm.Category{llm.RateLimited, llm.Overloaded, llm.Timeout, llm.QuotaExceeded, llm.ProviderUnsupported} {
		if !FallsBack(c) {
			t.Errorf("%s does not lead to another model", c)
		}
	}
}
