package broker

import (
	"context"
	"fmt"
	"sync"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/models"
)

// MinReply is the least room for a reply that is worth a model call, in tokens.
const MinReply = 32

// worthWaiting is the part of the reply that was asked for, 1/worthWaiting, below which
// a call waits for what others hold rather than begin with so little.
const worthWaiting = 4

// Limits of a budget; 0 (or a zero decimal) is no limit.
type Limits struct {
	InputTokens, OutputTokens int64
	CostUSD                   decimal.Decimal
}

// Spent is what calls took.
type Spent struct {
	Usage   llm.Usage
	CostUSD decimal.Decimal
}

// Ledger keeps a budget for any number of conversations at once. The most that a call
// may take is reserved before it is sent, and what it took is settled after that, so the
// budget is never passed. A ledger within another one keeps to both.
type Ledger struct {
	limits Limits
	within *Ledger

	mu    sync.Mutex
	spent Spent
	// held is the sum of all holds, holds their number.
	held  amount
	holds int
	// freed is closed, and made anew, when a hold ends.
	freed chan struct{}
}

// amount is what one call may take at most.
type amount struct {
	input, output int64
	cost          decimal.Decimal
}

// NewLedger makes a ledger; within is nil, or the ledger of a budget that it shares.
func NewLedger(limits Limits, within *Ledger) *Ledger {
	return &Ledger{limits: limits, within: within, freed: make(chan struct{})}
}

// Priced says that cost is limited, which a model without a price cannot keep to.
func (l *Ledger) Priced() bool {
	return l != nil && (l.limits.CostUSD.IsPositive() || l.within.Priced())
}

// Spent is what was settled so far.
func (l *Ledger) Spent() Spent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spent
}

// Book adds what an earlier process took, of which the ledger that it is within knows.
func (l *Ledger) Book(s Spent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book(s)
}

func (l *Ledger) book(s Spent) {
	l.spent.Usage.Add(s.Usage)
	l.spent.CostUSD = l.spent.CostUSD.Add(s.CostUSD)
}

// Ask is a call that is to be made.
type Ask struct {
	Pricing *models.Pricing
	// Input is the most that the request may count, in tokens.
	Input int64
	// Output is the longest reply that is wanted; 0 leaves it to the server.
	Output int64
	// Room is the longest reply for which the model has room; 0 is not known.
	Room int64
}

// Exhausted says that a call could pass a limit.
type Exhausted struct {
	// words are for people: "Only 3 of 500 output tokens were left".
	words string
}

// Error implements error.
func (e *Exhausted) Error() string { return e.words }

func exhausted(format string, args ...any) *Exhausted {
	return &Exhausted{fmt.Sprintf(format, args...)}
}

// Hold is what is reserved for one call.
type Hold struct {
	// MaxOutput is how many tokens the reply may have; 0 leaves it to the server.
	MaxOutput int

	ledger *Ledger
	amount amount
	// outer is the hold of the ledger that this one is within.
	outer *Hold
	once  sync.Once
}

// CostUSD is the most that the call may cost, in US dollars.
func (h *Hold) CostUSD() decimal.Decimal { return h.amount.cost }

// Reserve holds the most that a call may take. Where that does not fit beside what
// others hold and may do so once they have settled, it waits. The error is an
// *Exhausted, or that of ctx.
func (l *Ledger) Reserve(ctx context.Context, ask Ask) (*Hold, error) {
	for {
		h, freed, err := l.try(ask)
		switch {
		case err != nil:
			return nil, err
		case h != nil && l.within == nil:
			return h, nil
		case h != nil:
			return h.reserveOuter(ctx, ask)
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// reserveOuter holds the same of the ledger that this one is within.
func (h *Hold) reserveOuter(ctx context.Context, ask Ask) (*Hold, error) {
	ask.Output = int64(h.MaxOutput)
	outer, err := h.ledger.within.Reserve(ctx, ask)
	if err != nil {
		h.Release()
		return nil, err
	}
	h.outer, h.MaxOutput = outer, outer.MaxOutput
	return h, nil
}

// try holds what a call may take, or says what to wait for.
func (l *Ledger) try(ask Ask) (h *Hold, freed <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	output, short := l.fit(ask, l.held)
	if l.holds > 0 {
		alone, never := l.fit(ask, amount{})
		switch {
		case never != nil:
			return nil, nil, never
		case short != nil, output > 0 && output < alone/worthWaiting:
			return nil, l.freed, nil
		}
	} else if short != nil {
		return nil, nil, short
	}
	a := amount{input: ask.Input, output: output, cost: ask.Pricing.Cost(models.Tokens{Input: ask.Input, Output: output})}
	l.held = amount{l.held.input + a.input, l.held.output + a.output, l.held.cost.Add(a.cost)}
	l.holds++
	return &Hold{MaxOutput: int(output), ledger: l, amount: a}, nil, nil
}

// fit gives the longest reply with which a call stays within every limit, beside what
// is held already; 0 leaves it to the server.
func (l *Ledger) fit(ask Ask, held amount) (int64, error) {
	output := ask.Output
	bound := func(n int64) {
		if output == 0 || n < output {
			output = n
		}
	}
	used := l.spent.Usage
	if limit := l.limits.InputTokens; limit > 0 && used.InputTokens+held.input+ask.Input > limit {
		return 0, exhausted("The next call may need %d input tokens and %d of %d were left", ask.Input, limit-used.InputTokens, limit)
	}
	if limit := l.limits.OutputTokens; limit > 0 {
		left := limit - used.OutputTokens - held.output
		if left < MinReply {
			return 0, exhausted("Only %d of %d output tokens were left", left, limit)
		}
		bound(left)
	}
	if limit := l.limits.CostUSD; limit.IsPositive() {
		left := limit.Sub(l.spent.CostUSD).Sub(held.cost).Sub(ask.Pricing.Cost(models.Tokens{Input: ask.Input}))
		n, priced := ask.Pricing.AffordableOutput(left)
		if left.IsNegative() || priced && n < MinReply {
			return 0, exhausted("%s of %s USD were spent and the next call could pass that", l.spent.CostUSD, limit)
		}
		if priced {
			bound(n)
		}
	}
	if ask.Room > 0 && output > 0 {
		bound(ask.Room)
	}
	return output, nil
}

// Settle books what the call took, and gives the rest back. It counts once.
func (h *Hold) Settle(s Spent) {
	if h == nil {
		return
	}
	h.once.Do(func() {
		l := h.ledger
		l.mu.Lock()
		l.book(s)
		l.held = amount{l.held.input - h.amount.input, l.held.output - h.amount.output, l.held.cost.Sub(h.amount.cost)}
		l.holds--
		close(l.freed)
		l.freed = make(chan struct{})
		l.mu.Unlock()
		h.outer.Settle(s)
	})
}

// Release gives all of it back, for a call that was not made.
func (h *Hold) Release() { h.Settle(Spent{}) }
