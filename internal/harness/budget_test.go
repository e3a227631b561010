package harness

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// TestReserve: a request never allows a reply that would pass a limit.
func TestReserve(t *testing.T) {
	usd := decimal.RequireFromString
	tests := map[string]struct {
		limits Limits
		want   int
	}{
		"no limit":      {want: 1000},
		"output tokens": {limits: Limits{OutputTokens: 300}, want: 300},
		"cost":          {limits: Limits{CostUSD: usd("0.0045")}, want: 400},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := script(says("done"))
			f := newFixture(p)
			f.Task.Limits = tc.limits
			m := model("m", p)
			m.MaxOutputTokens = 1000
			m.Pricing = &models.Pricing{OutputPerMTok: decimal.NewFromInt(10)}
			f.Models = broker.FixedRouter{m}
			res := f.run(t, t.Context())
			got := p.sent()[0].MaxOutputTokens
			if name == "cost" {
				// 0.0045 USD at 10 USD a million is 450 tokens.
				tc.want = 450
			}
			if res.Reason != Completed || got != tc.want {
				t.Errorf("%d tokens allowed, want %d; ended %s", got, tc.want, res.Reason)
			}
			if want := usd("0.0001"); !res.Progress.CostUSD.Equal(want) {
				t.Errorf("cost %s, want %s", res.Progress.CostUSD, want)
			}
		})
	}
}

func TestUsageIsEstimatedWhenTheServerIsSilent(t *testing.T) {
	f := newFixture(script(func(context.Context, llm.Request) (*llm.Response, error) {
		return &llm.Response{Message: llm.Message{Content: "done"}}, nil
	}))
	if u := f.run(t, t.Context()).Progress.Usage; !u.Estimated || u.InputTokens < 100 || u.OutputTokens < 1 {
		t.Errorf("usage %+v", u)
	}
}

// greedy bills as servers do: for all that it was sent, by its own count of
// tokens, and for the longest reply that it was allowed. Some of its calls fail, and cost
// all the same.
func greedy(rng *rand.Rand, perEstimate float64) reply {
	return func(ctx context.Context, req llm.Request) (*llm.Response, error) {
		counted := newConversation(req.Tools)
		counted.add(req.Messages...)
		usage := llm.Usage{InputTokens: int64(float64(counted.raw) * perEstimate), OutputTokens: int64(req.MaxOutputTokens)}
		if rng.IntN(4) == 0 {
			return nil, &llm.Error{Category: llm.EmptyResponse, Retryable: true, Message: "nothing", Usage: usage}
		}
		resp, err := calls(call("", "write", string(rune('a'+rng.IntN(1000)))))(ctx, req)
		resp.Usage = usage
		return resp, err
	}
}

// TestNoBudgetIsPassed: whatever servers bill, no limit on cost or tokens is
// passed, by a single token or a millionth of a cent.
func TestNoBudgetIsPassed(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			f := newFixture(script(greedy(rng, 0.6+0.65*rng.Float64())))
			m := model("m", f.provider)
			m.Pricing, m.MaxOutputTokens, m.ContextWindow = oneDollarEach(), 100+rng.IntN(8000), 20_000+rng.IntN(100_000)
			f.Models = broker.FixedRouter{m}
			l := &f.Task.Limits
			switch rng.IntN(3) {
			case 0:
				l.CostUSD = decimal.New(1+rng.Int64N(3000), -4)
			case 1:
				l.InputTokens = 1 + rng.Int64N(200_000)
			case 2:
				l.OutputTokens = 1 + rng.Int64N(50_000)
			}
			f.tools.run = func(context.Context, llm.ToolCall) (ToolResult, error) {
				return ToolResult{Content: string(make([]byte, rng.IntN(3000)))}, nil
			}
			f.Budget = broker.NewLedger(broker.Limits{}, nil)
			res := f.run(t, t.Context())
			u := res.Progress.Usage
			if spent := f.Budget.Spent(); spent.Usage != u || !spent.CostUSD.Equal(res.Progress.CostUSD) {
				t.Errorf("seed %d: %+v was settled, the result says %+v and %s", seed, spent, u, res.Progress.CostUSD)
			}
			if l.CostUSD.IsPositive() && res.Progress.CostUSD.GreaterThan(l.CostUSD) ||
				l.InputTokens > 0 && u.InputTokens > l.InputTokens || l.OutputTokens > 0 && u.OutputTokens > l.OutputTokens {
				t.Errorf("seed %d: ended %s with %+v and %s USD; the limits are %+v", seed, res.Reason, u, res.Progress.CostUSD, *l)
			}
			sum, cost := sums(t, f)
			if sum != u || !cost.Equal(res.Progress.CostUSD) {
				t.Errorf("seed %d: the events add up to %+v and %s, the result says %+v and %s", seed, sum, cost, u, res.Progress.CostUSD)
			}
		})
	}
}

// TestSharedBudgetIsNotPassed: fifty runs at once share a budget, and servers bill all
// that they may. None of them ends for another reason, and together they spend no more.
func TestSharedBudgetIsNotPassed(t *testing.T) {
	limits := broker.Limits{CostUSD: decimal.RequireFromString("1.5"), OutputTokens: 900_000}
	budget := broker.NewLedger(limits, nil)
	results := make([]Result, 50)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			m := model("m", script(greedy(rand.New(rand.NewPCG(uint64(i), 0)), 1)))
			m.Pricing, m.MaxOutputTokens = oneDollarEach(), 2000
			results[i] = Run(t.Context(), Config{
				Task: Task{Prompt: "go on"}, Models: broker.FixedRouter{m}, Budget: budget, Tools: &fakeTools{},
				Retry: broker.Retry{Base: time.Nanosecond, Cap: time.Nanosecond},
			})
		})
	}
	wg.Wait()
	var sum broker.Spent
	for i, res := range results {
		sum.Usage.Add(res.Progress.Usage)
		sum.CostUSD = sum.CostUSD.Add(res.Progress.CostUSD)
		if res.Reason != BudgetExceeded && res.Reason != EmptyResponse && res.Reason != MaxTurns {
			t.Errorf("run %d ended %s: %s", i, res.Reason, res.Message)
		}
	}
	spent := budget.Spent()
	if spent.CostUSD.GreaterThan(limits.CostUSD) || spent.Usage.OutputTokens > limits.OutputTokens || spent.CostUSD.LessThan(limits.CostUSD.Div(decimal.NewFromInt(2))) {
		t.Errorf("%+v were spent of %+v", spent, limits)
	}
	if spent.Usage != sum.Usage || !spent.CostUSD.Equal(sum.CostUSD) {
		t.Errorf("%+v was settled, the results add up to %+v", spent, sum)
	}
}

// Before each call the run asks whether it may come to cost the most that the call may
// take; where it may not it makes none, and goes on from where it is in another process.
func TestAllow(t *testing.T) {
	usd := decimal.RequireFromString
	p := script(calls(call("1", "write", "a")), says("done"))
	m := model("m", p)
	m.Pricing, m.MaxOutputTokens = &models.Pricing{OutputPerMTok: decimal.NewFromInt(10)}, 1000
	unpriced := model("free", script(says("I cost nothing")))
	unpriced.Pricing = nil
	f := newFixture(p)
	f.Models = broker.FixedRouter{unpriced, m}
	var asked []string
	granted := usd("0.01") // the longest reply of one call
	f.Allow = func(_ context.Context, upTo decimal.Decimal) error {
		asked = append(asked, upTo.String())
		if upTo.GreaterThan(granted) {
			return errors.New("nothing is left of it")
		}
		return nil
	}
	res := f.run(t, t.Context())
	if res.Reason != Cancelled || res.Message != "nothing is left of it" {
		t.Errorf("the run ended %s: %s", res.Reason, res.Message)
	}
	if len(p.sent()) != 1 || len(unpriced.Provider.(*fakeProvider).sent()) != 0 {
		t.Errorf("%d calls were made, and %d of a model without a price", len(p.sent()), len(unpriced.Provider.(*fakeProvider).sent()))
	}
	// A reply of 10 tokens has cost 0.0001.
	if want := []string{"0.01", "0.0101"}; !slices.Equal(asked, want) {
		t.Errorf("it was asked for %v, want %v", asked, want)
	}

	granted = usd("1")
	next := newFixture(p)
	next.Models, next.Allow = f.Models, f.Allow
	past := &Past{}
	var err error
	if next.Transcript, err = transcript.Continue(bytes.NewReader(f.out.Bytes()), transcript.Options{Tee: &next.out}, past.Add); err != nil {
		t.Fatal(err)
	}
	next.out.Write(f.out.Bytes())
	next.Resume = past
	if res := next.run(t, t.Context()); res.Reason != Completed || len(p.sent()) != 2 || !res.Progress.CostUSD.Equal(usd("0.0002")) {
		t.Errorf("it went on to %s after %d calls, at %s USD: %s", res.Reason, len(p.sent()), res.Progress.CostUSD, res.Message)
	}
}

func TestAllowEndsWithTheRun(t *testing.T) {
	f := newFixture(script(says("done")))
	m := model("m", f.provider)
	m.Pricing = oneDollarEach()
	f.Models = broker.FixedRouter{m}
	ctx, cancel := context.WithCancelCause(t.Context())
	f.Allow = func(ctx context.Context, _ decimal.Decimal) error {
		cancel(ErrSuspended)
		<-ctx.Done()
		return ctx.Err()
	}
	if res := f.run(t, ctx); res.Reason != Cancelled || res.Message != "The run was stopped on request and can go on." {
		t.Errorf("the run ended %s: %s", res.Reason, res.Message)
	}
}

// A call that a process died in counts as the most that it can have cost where the run has
// to ask what it may spend.
func TestLostCallUnderAllow(t *testing.T) {
	for name, want := range map[string]string{"alone": "0.0001", "with others": "0.0101"} {
		first := newFixture(script(says("done")))
		m := model("m", first.provider)
		m.Pricing, m.MaxOutputTokens = &models.Pricing{OutputPerMTok: decimal.NewFromInt(10)}, 1000
		first.Models = broker.FixedRouter{m}
		first.run(t, t.Context())
		next := newFixture(script(says("done")))
		m.Provider = next.provider
		next.Models, next.Transcript = broker.FixedRouter{m}, nil
		next.Resume = PastOf(recordedEvents(t, first)[:2]) // run_started, request
		if name == "with others" {
			next.Allow = func(context.Context, decimal.Decimal) error { return nil }
		}
		if res := Run(t.Context(), next.Config); res.Reason != Completed || res.Progress.CostUSD.String() != want {
			t.Errorf("%s: %s at %s USD, want %s", name, res.Reason, res.Progress.CostUSD, want)
		}
	}
}

// A call that was cut off, by its user or by its time, has cost nobody knows what; where
// others have a share it counts as the most that it can have cost, as one of a lost process.
func TestCutCallUnderAllow(t *testing.T) {
	for _, shared := range []bool{false, true} {
		ctx, cancel := context.WithCancelCause(t.Context())
		p := script(func(ctx context.Context, _ llm.Request) (*llm.Response, error) {
			cancel(ErrSuspended)
			<-ctx.Done()
			return nil, &llm.Error{Category: llm.Network, Message: "stopped", Err: ctx.Err(), Usage: llm.Usage{InputTokens: 9, OutputTokens: 1, Estimated: true}}
		})
		f := newFixture(p)
		m := model("m", p)
		m.Pricing, m.MaxOutputTokens = &models.Pricing{InputPerMTok: decimal.NewFromInt(10), OutputPerMTok: decimal.NewFromInt(10)}, 1000
		f.Models = broker.FixedRouter{m}
		var asked decimal.Decimal
		if shared {
			f.Allow = func(_ context.Context, upTo decimal.Decimal) error { asked = upTo; return nil }
		}
		cost := f.run(t, ctx).Progress.CostUSD
		if all := decimal.RequireFromString("0.01"); cost.GreaterThan(all) != shared || shared && !cost.Equal(asked) { // its longest reply
			t.Errorf("shared %t: it has cost %s USD, and asked for %s", shared, cost, asked)
		}
	}
}
