package broker

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/models"
)

var usd = decimal.RequireFromString

// dollars are prices of one dollar a million tokens.
func dollars() *models.Pricing {
	one := decimal.NewFromInt(1)
	return &models.Pricing{InputPerMTok: one, CachedInputPerMTok: one, OutputPerMTok: one}
}

func took(p *models.Pricing, in, out int64) Spent {
	return Spent{Usage: llm.Usage{InputTokens: in, OutputTokens: out}, CostUSD: p.Cost(models.Tokens{Input: in, Output: out})}
}

func TestReserve(t *testing.T) {
	for name, tc := range map[string]struct {
		limits Limits
		ask    Ask
		want   int
		err    string
	}{
		"no limit":                 {ask: Ask{Input: 1 << 40}},
		"the model's own":          {ask: Ask{Output: 500}, want: 500},
		"room in the window":       {ask: Ask{Output: 500, Room: 100}, want: 100},
		"room alone":               {ask: Ask{Room: 100}},
		"input":                    {limits: Limits{InputTokens: 1000}, ask: Ask{Input: 901}, err: "The next call may need 901 input tokens and 900 of 1000 were left"},
		"input that fits":          {limits: Limits{InputTokens: 1000}, ask: Ask{Input: 900, Output: 7000}, want: 7000},
		"output":                   {limits: Limits{OutputTokens: 300}, ask: Ask{Output: 7000}, want: 250},
		"output without a limit":   {limits: Limits{OutputTokens: 300}, want: 250},
		"too little output":        {limits: Limits{OutputTokens: 81}, err: "Only 31 of 81 output tokens were left"},
		"cost":                     {limits: Limits{CostUSD: usd("0.001")}, ask: Ask{Pricing: dollars(), Input: 400, Output: 7000}, want: 450},
		"too little for a reply":   {limits: Limits{CostUSD: usd("0.001")}, ask: Ask{Pricing: dollars(), Input: 840}, err: "0.00015 of 0.001 USD were spent"},
		"too little for the input": {limits: Limits{CostUSD: usd("0.001")}, ask: Ask{Pricing: &models.Pricing{InputPerMTok: usd("1")}, Input: 900}, err: "could pass that"},
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLedger(tc.limits, nil)
			l.Book(took(dollars(), 100, 50))
			h, err := l.Reserve(t.Context(), tc.ask)
			var out *Exhausted
			switch {
			case tc.err != "":
				if !errors.As(err, &out) || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %s", err, tc.err)
				}
			case err != nil || h.MaxOutput != tc.want:
				t.Errorf("got %+v, %v, want %d", h, err, tc.want)
			}
		})
	}
}

// TestReserveWaits: for what others hold, and not for what they cannot give back.
func TestReserveWaits(t *testing.T) {
	l := NewLedger(Limits{OutputTokens: 1000}, nil)
	first, err := l.Reserve(t.Context(), Ask{Output: 990})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Reserve(ended, Ask{Output: 990}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v while 10 tokens are left and 990 are held", err)
	}
	got := make(chan int)
	go func() {
		h, err := l.Reserve(t.Context(), Ask{Output: 990})
		if err != nil {
			t.Error(err)
		}
		got <- h.MaxOutput
	}()
	first.Settle(Spent{Usage: llm.Usage{OutputTokens: 400}})
	if n := <-got; n != 600 {
		t.Errorf("%d tokens after another call took 400 of 1000", n)
	}
	small := NewLedger(Limits{InputTokens: 100}, nil)
	if _, err := small.Reserve(t.Context(), Ask{Input: 50}); err != nil {
		t.Fatal(err)
	}
	var out *Exhausted
	if _, err := small.Reserve(t.Context(), Ask{Input: 101}); !errors.As(err, &out) {
		t.Errorf("waits for what can never be: %v", err)
	}
}

// TestSettleCountsOnce: a hold that is settled cannot be released as well.
func TestSettleCountsOnce(t *testing.T) {
	outer := NewLedger(Limits{OutputTokens: 100}, nil)
	l := NewLedger(Limits{}, outer)
	for range 3 {
		h, err := l.Reserve(t.Context(), Ask{Output: 90})
		if err != nil {
			t.Fatal(err)
		}
		h.Settle(Spent{Usage: llm.Usage{OutputTokens: 20}})
		h.Release()
		h.Settle(Spent{Usage: llm.Usage{OutputTokens: 20}})
	}
	if got := outer.Spent().Usage.OutputTokens; got != 60 || outer.held.output != 0 || outer.holds != 0 || l.Spent().Usage != outer.Spent().Usage {
		t.Errorf("%d settled, %+v held", got, outer.held)
	}
	if _, err := l.Reserve(t.Context(), Ask{Output: 90}); err != nil {
		t.Fatal(err)
	}
	inner := NewLedger(Limits{InputTokens: 1}, outer)
	if _, err := inner.Reserve(t.Context(), Ask{Input: 2}); err == nil || outer.holds != 1 {
		t.Errorf("%v, %d holds", err, outer.holds)
	}
}

// TestLedgerIsNeverPassed: fifty conversations at once, each of which takes up to what
// it was allowed, within one budget.
func TestLedgerIsNeverPassed(t *testing.T) {
	limits := Limits{InputTokens: 400_000, OutputTokens: 200_000, CostUSD: usd("0.4")}
	l := NewLedger(limits, nil)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			own := NewLedger(Limits{}, l)
			for {
				in := 1 + rng.Int64N(3000)
				h, err := own.Reserve(t.Context(), Ask{Pricing: dollars(), Input: in, Output: 1 + rng.Int64N(4000)})
				var out *Exhausted
				if errors.As(err, &out) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if rng.IntN(8) == 0 {
					h.Release()
					continue
				}
				runtime.Gosched() // the call
				output := int64(h.MaxOutput)
				if rng.IntN(4) == 0 {
					in, output = 1+rng.Int64N(in), rng.Int64N(output+1)
				}
				h.Settle(took(dollars(), in, output))
				if s := l.Spent(); s.Usage.InputTokens > limits.InputTokens || s.Usage.OutputTokens > limits.OutputTokens || s.CostUSD.GreaterThan(limits.CostUSD) {
					t.Errorf("%+v were spent of %+v", s, limits)
					return
				}
			}
		})
	}
	wg.Wait()
	if l.holds != 0 || !l.held.cost.IsZero() || l.held.input != 0 || l.held.output != 0 {
		t.Errorf("%d holds are left: %+v", l.holds, l.held)
	}
	if s := l.Spent(); s.CostUSD.LessThan(usd("0.2")) {
		t.Errorf("only %s were spent of %s", s.CostUSD, limits.CostUSD)
	}
}
