package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// softFraction of a limit is where the model is told to wrap up.
const softFraction = 0.8

// budget is what a run may use, and what it has used of that.
type budget struct {
	log    *journal
	clock  Clock
	limits Limits
	// ledger has what calls took, and what is reserved for the one under way.
	ledger *broker.Ledger
	// allow is Config.Allow, or nil.
	allow func(context.Context, decimal.Decimal) error
	// began is when the run's active time starts to count; for a resumed run
	// that lies before this process.
	began time.Time
}

// check ends the run when a limit was reached.
func (b *budget) check(ctx context.Context) error {
	if ctx.Err() != nil {
		return stopFromContext(ctx)
	}
	l, p := b.limits, b.log.state.progress
	switch {
	case p.Turns >= l.Turns:
		return b.outOf(MaxTurns, fmt.Sprintf("The limit of %s was reached", text.Plural(l.Turns, "turn")))
	case l.Active > 0 && b.clock.Now().Sub(b.began) >= l.Active:
		return stopf(DeadlineExceeded, "The time limit of %s was reached.", l.Active)
	case l.InputTokens > 0 && p.Usage.InputTokens >= l.InputTokens:
		return b.outOf(BudgetExceeded, fmt.Sprintf("%d of %d input tokens were used", p.Usage.InputTokens, l.InputTokens))
	case l.OutputTokens > 0 && p.Usage.OutputTokens >= l.OutputTokens:
		return b.outOf(BudgetExceeded, fmt.Sprintf("%d of %d output tokens were used", p.Usage.OutputTokens, l.OutputTokens))
	case l.CostUSD.IsPositive() && p.CostUSD.GreaterThanOrEqual(l.CostUSD):
		return b.outOf(BudgetExceeded, fmt.Sprintf("%s of %s USD were spent", p.CostUSD, l.CostUSD))
	}
	return nil
}

// outOf is the end at a limit: with a verification failed and not fixed, that
// is what people need to know.
func (b *budget) outOf(reason End, what string) *stop {
	if !b.log.state.unproven {
		return stopf(reason, "%s before the model was done.", what)
	}
	failed := "a verification"
	for _, v := range b.log.state.verifications {
		if !v.Passed {
			failed = fmt.Sprintf("verification %q", v.Name)
			break
		}
	}
	return stopf(VerificationFailed, "%s and %s still failed.", what, failed)
}

// reserve holds the most that a call to m may take, so that even the longest reply
// stays within every limit, or ends the run when there is no room for a reply at all.
func (b *budget) reserve(ctx context.Context, m broker.Model) (*broker.Hold, error) {
	ask := broker.Ask{Pricing: m.Pricing, Input: b.log.state.conv.atMost(), Output: int64(m.MaxOutputTokens)}
	if m.ContextWindow > 0 {
		ask.Room = max(int64(m.ContextWindow)-b.log.state.conv.tokens(), broker.MinReply)
	}
	hold, err := b.ledger.Reserve(ctx, ask)
	var out *broker.Exhausted
	switch {
	case errors.As(err, &out):
		return nil, b.outOf(BudgetExceeded, out.Error())
	case err != nil:
		return nil, stopFromContext(ctx)
	}
	if err := b.ask(ctx, hold); err != nil {
		hold.Release()
		return nil, err
	}
	return hold, nil
}

// ask asks whether the run may come to cost what a call may take at most, and pauses the
// run where it may not: it can go on when it may.
func (b *budget) ask(ctx context.Context, hold *broker.Hold) error {
	if b.allow == nil {
		return nil
	}
	err := b.allow(ctx, b.log.state.progress.CostUSD.Add(hold.CostUSD()))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return stopFromContext(ctx)
	}
	return stopf(Cancelled, "%v", err)
}

// priceOf is what usage of a model costs.
func priceOf(m broker.Model, u llm.Usage) decimal.Decimal {
	return m.Pricing.Cost(models.Tokens{Input: u.InputTokens, CachedInput: u.CachedInputTokens, Output: u.OutputTokens})
}

// warnOnce tells the model, once, that a limit is near.
func (r *run) warnOnce() error {
	if r.log.state.warned {
		return nil
	}
	left := r.budget.nearLimits()
	if len(left) == 0 {
		return nil
	}
	return r.log.notice(transcript.NoticeSoftLimit, "[harness] You are close to a limit of this run: "+strings.Join(left, "; ")+
		". Wrap up now: finish what matters most, leave the work in a good state, and then answer without calling a tool.")
}

// wrapUpTurns are left to the model once the user wants the run to end.
const wrapUpTurns = 3

const wrapUpText = "[harness] The user asks you to come to an end now. Start nothing new: leave the work in a good state, " +
	"and then answer without calling a tool and say what is left."

// wrapUp tells the model, once, that the user wants the run to end, and ends
// the run when it does not follow.
func (r *run) wrapUp() error {
	select {
	case <-r.cfg.WrapUp:
	default:
		return nil // also when the channel is nil
	}
	if r.log.state.wrapUpAt == 0 {
		return r.log.notice(transcript.NoticeWrapUp, wrapUpText)
	}
	if r.log.turn-r.log.state.wrapUpAt < wrapUpTurns {
		return nil
	}
	return r.budget.outOf(Cancelled, fmt.Sprintf("The user asked the run to come to an end, and %d more turns passed", wrapUpTurns))
}

// nearLimits says what is left of limits that are nearly used up.
func (b *budget) nearLimits() []string {
	l, p := b.limits, b.log.state.progress
	var out []string
	// A run of a few turns reaches 80 % only with its last one.
	if near(float64(p.Turns), float64(l.Turns)) || l.Turns > 1 && p.Turns == l.Turns-1 {
		out = append(out, fmt.Sprintf("%d of %d turns are left", l.Turns-p.Turns, l.Turns))
	}
	if active := b.clock.Now().Sub(b.began); near(active.Seconds(), l.Active.Seconds()) {
		out = append(out, fmt.Sprintf("%s of %s are left", (l.Active-active).Round(time.Second), l.Active))
	}
	if near(float64(p.Usage.InputTokens), float64(l.InputTokens)) {
		out = append(out, fmt.Sprintf("%d of %d input tokens are left", l.InputTokens-p.Usage.InputTokens, l.InputTokens))
	}
	if near(float64(p.Usage.OutputTokens), float64(l.OutputTokens)) {
		out = append(out, fmt.Sprintf("%d of %d output tokens are left", l.OutputTokens-p.Usage.OutputTokens, l.OutputTokens))
	}
	if near(p.CostUSD.InexactFloat64(), l.CostUSD.InexactFloat64()) {
		out = append(out, fmt.Sprintf("%s of %s USD are left", l.CostUSD.Sub(p.CostUSD), l.CostUSD))
	}
	return out
}

func near(used, limit float64) bool { return limit > 0 && used >= softFraction*limit }
