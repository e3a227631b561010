package harness

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// oneDollarEach costs one dollar per million tokens in and two out.
func oneDollarEach() *models.Pricing {
	return &models.Pricing{
		InputPerMTok: decimal.NewFromInt(1), CachedInputPerMTok: decimal.NewFromInt(1), OutputPerMTok: decimal.NewFromInt(2),
	}
}

// sums adds up what the events say that a run cost.
func sums(t *testing.T, f *fixture) (u llm.Usage, cost decimal.Decimal) {
	t.Helper()
	for _, d := range f.events(t) {
		switch d := d.(type) {
		case *transcript.Response:
			u.Add(d.Usage)
			cost = cost.Add(d.CostUSD)
		case *transcript.Retry:
			if d.Usage != nil {
				u.Add(*d.Usage)
				cost = cost.Add(*d.CostUSD)
			}
		}
	}
	return u, cost
}

// TestFailedCallsAreCharged: a call that failed and cost something is in the
// sums, and the events add up to what the result says.
func TestFailedCallsAreCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wasted := llm.Usage{InputTokens: 1000, OutputTokens: 500}
		f := newFixture(script(
			fails(&llm.Error{Category: llm.EmptyResponse, Retryable: true, Message: "nothing", Usage: wasted}),
			fails(&llm.Error{Category: llm.Network, Retryable: true, Message: "reset"}),
			says("done"),
		))
		m := model("m", f.provider)
		m.Pricing = oneDollarEach()
		f.Models = broker.FixedRouter{m}
		res := f.run(t, t.Context())
		if res.Reason != Completed {
			t.Fatalf("ended %s: %s", res.Reason, res.Message)
		}
		want := llm.Usage{InputTokens: 1100, OutputTokens: 510}
		if diff := cmp.Diff(want, res.Progress.Usage); diff != "" {
			t.Errorf("usage (-want +got):\n%s", diff)
		}
		if got := res.Progress.CostUSD.String(); got != "0.00212" {
			t.Errorf("cost = %s, want 0.00212", got)
		}
		u, cost := sums(t, f)
		if u != res.Progress.Usage || !cost.Equal(res.Progress.CostUSD) {
			t.Errorf("the events add up to %+v and %s", u, cost)
		}
		retries := find[transcript.Retry](t, f)
		if len(retries) != 2 || retries[0].Usage == nil || retries[1].Usage != nil || retries[0].GaveUp {
			t.Errorf("retries = %+v", retries)
		}
	})
}

// TestCutCallsAreCharged: a call that is cut off costs what its provider says, and
// at least its input where that says nothing; never silently nothing.
func TestCutCallsAreCharged(t *testing.T) {
	cut := func(u llm.Usage) reply {
		return func(ctx context.Context, _ llm.Request) (*llm.Response, error) {
			<-ctx.Done()
			return nil, &llm.Error{Category: llm.Timeout, Message: "stopped", Usage: u, Err: ctx.Err()}
		}
	}
	estimate := llm.Usage{InputTokens: 7, OutputTokens: 5000, Estimated: true}
	for name, tc := range map[string]struct {
		reply reply
		// timeout ends the call and not the run.
		timeout  time.Duration
		want     llm.Category
		usage    llm.Usage
		ofOurs   bool
		attempts int
	}{
		"the server said it":           {reply: cut(llm.Usage{InputTokens: 1000, OutputTokens: 500}), want: llm.Stopped, usage: llm.Usage{InputTokens: 1000, OutputTokens: 500}, attempts: 1},
		"the provider estimates":       {reply: cut(estimate), want: llm.Stopped, usage: llm.Usage{OutputTokens: 200, Estimated: true}, ofOurs: true, attempts: 1},
		"it was never sent":            {reply: cut(llm.Usage{}), want: llm.Stopped, attempts: 1},
		"the provider does not return": {reply: func(context.Context, llm.Request) (*llm.Response, error) { pass(time.Hour); return nil, nil }, want: llm.Stopped, usage: llm.Usage{Estimated: true}, ofOurs: true, attempts: 1},
		"the call took too long":       {reply: cut(estimate), timeout: 2 * time.Second, want: llm.Timeout, usage: llm.Usage{OutputTokens: 200, Estimated: true}, ofOurs: true, attempts: 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(script(tc.reply))
				m := model("m", f.provider)
				m.Pricing, m.MaxOutputTokens = oneDollarEach(), 200
				f.Models, f.CallTimeout = broker.FixedRouter{m}, tc.timeout
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(10*time.Second, func() { cancel(ErrCancelled) })
				res := f.run(t, ctx)
				retries := find[transcript.Retry](t, f)
				if res.Reason != Cancelled || len(retries) < tc.attempts || retries[0].Category != tc.want {
					t.Fatalf("ended %s, retries %+v", res.Reason, retries)
				}
				want := tc.usage
				if tc.ofOurs {
					want.InputTokens = find[transcript.Request](t, f)[0].EstimatedInputTokens
				}
				switch got := retries[0].Usage; {
				case want == llm.Usage{} && got != nil:
					t.Errorf("charged %+v for nothing", got)
				case want != llm.Usage{} && (got == nil || *got != want):
					t.Errorf("charged %+v, want %+v", got, want)
				}
				u, cost := sums(t, f)
				if u != res.Progress.Usage || !cost.Equal(res.Progress.CostUSD) || cost.IsZero() != (want == llm.Usage{}) {
					t.Errorf("the events add up to %+v and %s, the result says %+v", u, cost, res.Progress)
				}
				pass(2 * time.Hour)
			})
		})
	}
}

// TestFailedCallsKeepToTheBudget: what failed calls cost counts against the
// budget before the next attempt.
func TestFailedCallsKeepToTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(script(fails(&llm.Error{
			Category: llm.EmptyResponse, Retryable: true, Message: "nothing", Usage: llm.Usage{InputTokens: 400_000},
		})))
		m := model("m", f.provider)
		m.Pricing = oneDollarEach()
		f.Models = broker.FixedRouter{m}
		f.Task.Limits.CostUSD = decimal.NewFromInt(1)
		res := f.run(t, t.Context())
		if res.Reason != BudgetExceeded || len(f.provider.sent()) != 3 {
			t.Errorf("ended %s (%s) after %d calls, want BudgetExceeded after 3", res.Reason, res.Message, len(f.provider.sent()))
		}
	})
}

func TestTextToolCallEndsWithItsCategory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(script(fails(&llm.Error{
			Category: llm.TextToolCall, Retryable: true, Message: "the model wrote a tool call as text", Usage: someUsage,
		})))
		res := f.run(t, t.Context())
		if res.Reason != ModelUnavailable || res.Category != llm.TextToolCall {
			t.Errorf("ended %s, %s", res.Reason, res.Category)
		}
		retries := find[transcript.Retry](t, f)
		if len(retries) != broker.MaxTextCalls || !retries[broker.MaxTextCalls-1].GaveUp || retries[0].GaveUp {
			t.Errorf("retries = %+v", retries)
		}
		if got := res.Progress.Usage.InputTokens; got != 300 {
			t.Errorf("input tokens = %d, want 300", got)
		}
	})
}

func TestNotesAreRecorded(t *testing.T) {
	f := newFixture(script(respond(llm.Response{
		Message: llm.Message{Content: "done"}, FinishReason: llm.FinishStop, Notes: []string{"arguments of x repaired"},
	})))
	f.run(t, t.Context())
	got := find[transcript.Response](t, f)
	if len(got) != 1 || !cmp.Equal(got[0].Notes, []string{"arguments of x repaired"}) {
		t.Errorf("responses = %+v", got)
	}
}

// onAndOn makes another call each time.
func onAndOn() reply {
	return func(ctx context.Context, req llm.Request) (*llm.Response, error) {
		return calls(call("", "write", fmt.Sprint(len(req.Messages))))(ctx, req)
	}
}

// TestWrapUp: the model is told once, and a run whose model goes on all the
// same ends as cancelled.
func TestWrapUp(t *testing.T) {
	for name, tc := range map[string]struct {
		after reply
		want  End
		turns int
	}{
		"the model follows": {says("stopped in a good state"), Completed, 2},
		"it does not":       {onAndOn(), Cancelled, 1 + wrapUpTurns},
	} {
		t.Run(name, func(t *testing.T) {
			wrapUp := make(chan struct{})
			first := func(ctx context.Context, req llm.Request) (*llm.Response, error) {
				close(wrapUp)
				return calls(call("a", "write", "1"))(ctx, req)
			}
			f := newFixture(script(first, tc.after))
			f.WrapUp = wrapUp
			res := f.run(t, t.Context())
			if res.Reason != tc.want || res.Progress.Turns != tc.turns {
				t.Errorf("ended %s (%s) after %d turns, want %s after %d", res.Reason, res.Message, res.Progress.Turns, tc.want, tc.turns)
			}
			if got := notices(t, f); !cmp.Equal(got, []transcript.NoticeKind{transcript.NoticeWrapUp}) {
				t.Errorf("notices = %v", got)
			}
		})
	}
}

// TestResumeCountsFailedCalls: what failed calls of an earlier process cost
// stays in the sums.
func TestResumeCountsFailedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := newFixture(script(
			fails(&llm.Error{Category: llm.EmptyResponse, Retryable: true, Message: "nothing", Usage: llm.Usage{InputTokens: 1000, OutputTokens: 300}}),
			says("done"),
		))
		m := model("m", first.provider)
		m.Pricing = oneDollarEach()
		first.Models = broker.FixedRouter{m}
		first.run(t, t.Context())
		events, _, err := transcript.ReadAll(&first.out)
		if err != nil {
			t.Fatal(err)
		}
		next := newFixture(script(says("done")))
		m.Provider = next.provider
		next.Models, next.Transcript = broker.FixedRouter{m}, nil
		next.Task.Limits.OutputTokens = 1000
		next.Resume = PastOf(events[:3]) // run_started, request, retry
		res := Run(t.Context(), next.Config)
		if res.Reason != Completed || res.Progress.Usage.InputTokens != 1100 || res.Progress.CostUSD.String() != "0.00172" {
			t.Errorf("%s: %+v", res.Reason, res.Progress)
		}
		if got := next.provider.sent()[0].MaxOutputTokens; got != 700 {
			t.Errorf("the next process allows %d output tokens of the 700 that are left", got)
		}
	})
}
