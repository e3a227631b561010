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
	"github.com/sampan-dev/sampan/internal/transcript"
)

// errCallTimeout is the cause when one attempt takes too long.
var errCallTimeout = errors.New("the model call timed out")

// caller gets replies from the models of a run: from the one that the router
// prefers, and from others while that one does not answer.
type caller struct {
	log    *journal
	budget *budget
	clock  Clock
	broker *broker.Broker
	// specs are the tools that are offered.
	specs   []llm.ToolSpec
	retry   broker.Retry
	timeout time.Duration
	// hold is what is reserved for the call under way.
	hold *broker.Hold
}

// route asks for the candidates and gives their ids.
func (c *caller) route(ctx context.Context, tokens int64) ([]string, error) {
	candidates, err := c.broker.Candidates(ctx, tokens)
	if err != nil {
		s := stopf(ModelUnavailable, "No model can be used: %v", err)
		s.category = llm.ProviderUnsupported
		return nil, s
	}
	ids := make([]string, len(candidates))
	for i, m := range candidates {
		ids[i] = m.ID
	}
	return ids, nil
}

// call gets one reply from the first candidate that gives one, and books
// and records it. It is not synced: what follows from it is recorded with it.
func (c *caller) call(ctx context.Context) (*llm.Response, error) {
	candidates, err := c.broker.Candidates(ctx, c.log.state.conv.tokens())
	if err != nil {
		s := stopf(ModelUnavailable, "No model can be used: %v", err)
		s.category = llm.ProviderUnsupported
		return nil, s
	}
	t := c.newTrial(candidates)
	for {
		resp, failures, err := c.tryEach(ctx, t)
		if resp != nil || err != nil {
			return resp, err
		}
		wait, retry := t.NextRound(failures)
		if !retry {
			return nil, unavailable(t.Failed)
		}
		if err := c.pause(ctx, wait, "no model answered"); err != nil {
			return nil, err
		}
	}
}

// tryEach asks the candidates of a trial one after the other, and says how each
// failed if none answered.
func (c *caller) tryEach(ctx context.Context, t *broker.Trial) (*llm.Response, []broker.Failure, error) {
	var failures []broker.Failure
	for i, m := range t.Candidates {
		follows := t.Ask(i, failures)
		m = c.broker.Learned(m)
		if err := c.switchTo(m, failures); err != nil {
			return nil, nil, err
		}
		resp, err := c.callCandidate(ctx, m, t, follows)
		if err == nil {
			c.broker.Answered(m.ID)
			return resp, nil, nil
		}
		var le *llm.Error
		if s := asStop(err); s.reason == ContextExhausted && len(failures) > 0 {
			// Too long for a stand-in says nothing of the model it stands in for.
			failures = append(failures, t.Record(m.ID, &llm.Error{Category: llm.ContextLength, Message: s.message}))
			continue
		}
		if !errors.As(err, &le) {
			return nil, nil, err
		}
		failures = append(failures, t.Record(m.ID, le))
		if le.Category == llm.EmptyResponse {
			return nil, nil, stopf(EmptyResponse, "%s answered with nothing: %s", m.ID, le.Message)
		}
		if !broker.FallsBack(le.Category) {
			return nil, nil, unavailable(t.Failed)
		}
		c.broker.Failed(m.ID, t.Spent[m.ID])
	}
	return nil, failures, nil
}

// pause waits, and says for what.
func (c *caller) pause(ctx context.Context, wait time.Duration, why string) error {
	if err := c.log.sync(PhaseWaiting, fmt.Sprintf("waiting %.1fs: %s", wait.Seconds(), why)); err != nil {
		return err
	}
	if err := broker.Sleep(ctx, c.clock, wait); err != nil {
		return stopFromContext(ctx)
	}
	return nil
}

// unavailable is the end when no candidate answered. The category is that of
// the preferred one, since it is the one to fix.
func unavailable(failures []broker.Failure) *stop {
	parts := make([]string, len(failures))
	for i, f := range failures {
		parts[i] = fmt.Sprintf("%s: %s", f.Model, f.Err.Error())
	}
	s := stopf(ModelUnavailable, "No model answered. %s", strings.Join(parts, "; "))
	s.category = failures[0].Err.Category
	return s
}

// switchTo notes that another model than before is used.
func (c *caller) switchTo(m broker.Model, failures []broker.Failure) error {
	from := c.log.state.model
	if from == "" || from == m.ID {
		return nil
	}
	e := &transcript.Fallback{From: from, To: m.ID}
	if n := len(failures); n > 0 {
		e.Category, e.Message = failures[n-1].Err.Category, failures[n-1].Err.Message
	}
	return c.log.record(e)
}

// maxCuts bounds how often the conversation is cut down for one call.
const maxCuts = 4

// callCandidate calls one model, cutting the conversation down where it does
// not fit: by our estimate, or because the server says so.
func (c *caller) callCandidate(ctx context.Context, m broker.Model, t *broker.Trial, follows bool) (*llm.Response, error) {
	if err := c.makeRoom(m); err != nil {
		return nil, err
	}
	for cuts := 0; ; cuts++ {
		resp, err := c.attempts(ctx, m, t, follows)
		var le *llm.Error
		if !errors.As(err, &le) || le.Category != llm.ContextLength {
			return resp, err
		}
		if cuts == maxCuts {
			return nil, stopf(ContextExhausted, "%s refused the conversation as too long, also after it was cut down: %s", m.ID, le.Message)
		}
		// The window is smaller than we were told, or the text longer than we think.
		target := c.log.state.conv.tokens() / 2
		if c.broker.Learn(m, le.ContextWindow) {
			m = c.broker.Learned(m)
			target = min(target, int64(compactTo*float64(m.ContextWindow)))
		}
		if err := c.compact(m, target, fmt.Sprintf("%s refused the conversation as too long (%s)", m.ID, le.Message)); err != nil {
			return nil, err
		}
	}
}

// attempts sends the request, again after failures that may pass.
func (c *caller) attempts(ctx context.Context, m broker.Model, t *broker.Trial, follows bool) (*llm.Response, error) {
	req := llm.Request{Model: m.Upstream, Messages: c.log.state.conv.view(), Tools: c.specs}
	defer func() { c.hold.Release() }() // where no call was made, or its end cannot be recorded
	for {
		var err error
		// Again each time: a failed attempt may have cost something.
		if c.hold, err = c.budget.reserve(ctx, m); err != nil {
			return nil, err
		}
		req.MaxOutputTokens = c.hold.MaxOutput
		if err := c.broker.Pace(ctx, m); err != nil {
			return nil, stopFromContext(ctx)
		}
		err = c.log.record(&transcript.Request{
			Model: m.ID, Upstream: m.Upstream, Messages: len(req.Messages),
			EstimatedInputTokens: c.log.state.conv.tokens(), MaxOutputTokens: req.MaxOutputTokens,
		})
		if err != nil {
			return nil, err
		}
		// Handed over now: of a process that is killed during the call, the next
		// one knows that there was a call.
		if err := c.log.transcript.Flush(); err != nil {
			return nil, unwritten(err)
		}
		began := c.clock.Now()
		resp, err := c.complete(ctx, m, req, c.attemptLimit(m, follows))
		took := c.clock.Now().Sub(began)
		if err == nil {
			return resp, c.accept(m, resp, took)
		}
		var le *llm.Error
		if !errors.As(err, &le) {
			return nil, err
		}
		wait, retry := t.Backoff(m.ID, le, took)
		attempt := t.Attempts[m.ID]
		err = c.bookFailure(m, c.charged(le.Usage, req.MaxOutputTokens), &transcript.Retry{
			Model: m.ID, Attempt: attempt, Category: le.Category, Message: le.Message, Adapted: le.Adapted,
			WaitMillis: wait.Milliseconds(), GaveUp: !retry, LatencyMillis: took.Milliseconds(),
		})
		if err != nil {
			return nil, err
		}
		if le.Category == llm.Stopped {
			return nil, stopFromContext(ctx)
		}
		if !retry {
			return nil, le
		}
		if err := c.correct(le); err != nil {
			return nil, err
		}
		req.Messages = c.log.state.conv.view()
		why := fmt.Sprintf("%s failed (%s, attempt %d), trying for another %s", m.ID, le.Category, attempt, t.LeftFor(le).Round(time.Second))
		if err := c.pause(ctx, wait, why); err != nil {
			return nil, err
		}
	}
}

// bookFailure records a failed call with what it cost all the same.
func (c *caller) bookFailure(m broker.Model, u llm.Usage, e *transcript.Retry) error {
	if u.InputTokens > 0 || u.OutputTokens > 0 {
		cost := priceOf(m, u)
		e.Usage, e.CostUSD = &u, &cost
	}
	c.settle(u, priceOf(m, u))
	return c.log.record(e)
}

// settle books what a call took in place of what was held for it. Nothing is held for
// one of an earlier process.
func (c *caller) settle(u llm.Usage, cost decimal.Decimal) {
	spent := broker.Spent{Usage: u, CostUSD: cost}
	if c.hold == nil {
		c.budget.ledger.Book(spent)
		return
	}
	c.hold.Settle(spent)
	c.hold = nil
}

// charged is what a failed call is taken to have cost. Where its provider had to
// estimate, we know better: our estimate of the input has learned from what was
// counted before, and the output was bounded. Where others have a share in what the run
// may spend, it is the most that it can have cost: cutting calls off must gain nobody
// anything.
func (c *caller) charged(u llm.Usage, maxOutput int) llm.Usage {
	switch {
	case !u.Estimated:
		return u
	case c.budget.allow != nil:
		return llm.Usage{InputTokens: c.log.state.conv.atMost(), OutputTokens: int64(maxOutput), Estimated: true}
	}
	u.InputTokens = c.log.state.conv.tokens()
	if maxOutput > 0 {
		u.OutputTokens = min(u.OutputTokens, int64(maxOutput))
	}
	return u
}

// complete makes one attempt within a limit. It returns soon after ctx ends even
// when the provider does not; a panic of the provider is an error.
func (c *caller) complete(ctx context.Context, m broker.Model, req llm.Request, limit time.Duration) (*llm.Response, error) {
	callCtx, cancel := withTimeout(ctx, c.clock, limit, errCallTimeout)
	defer cancel()
	resp, err := await(callCtx, c.clock, func() (*llm.Response, error) { return m.Provider.Complete(callCtx, req) })
	var p *panicked
	switch {
	case errors.As(err, &p):
		s := stopf(Internal, "The provider of %s failed: %v", m.ID, p.value)
		s.detail, err = p.stack, s
	case errors.Is(err, errNoAnswer):
		err = &llm.Error{
			Category: llm.Timeout, Message: "the call did not return after it was told to stop", Usage: c.guess(),
		}
	}
	switch {
	case err == nil && resp == nil:
		return nil, &llm.Error{Category: llm.EmptyResponse, Message: "the provider gave no reply", Retryable: true}
	case err == nil:
		return resp, nil
	case ctx.Err() != nil:
		return nil, &llm.Error{
			Category: llm.Stopped, Message: "the run was stopped in the middle of the call to " + m.ID, Usage: c.costOf(err), Err: err,
		}
	case errors.Is(context.Cause(callCtx), errCallTimeout):
		return nil, &llm.Error{
			Category: llm.Timeout, Message: fmt.Sprintf("no reply within %s", limit), Retryable: true,
			Usage: c.costOf(err), Err: err,
		}
	}
	return nil, err
}

// costOf is what a call cost that was cut off: as its provider says, or a guess.
func (c *caller) costOf(err error) llm.Usage {
	var le *llm.Error
	if errors.As(err, &le) {
		return le.Usage
	}
	return c.guess()
}

// guess is the least that a call costs of which nothing is known: its input.
func (c *caller) guess() llm.Usage {
	return llm.Usage{InputTokens: c.log.state.conv.tokens(), Estimated: true}
}

// accept books and records a reply.
func (c *caller) accept(m broker.Model, resp *llm.Response, latency time.Duration) error {
	c.fixCallIDs(resp)
	if resp.Message.Role == "" {
		resp.Message.Role = llm.RoleAssistant
	}
	if u := resp.Usage; u.InputTokens == 0 && u.OutputTokens == 0 {
		resp.Usage = llm.Usage{
			InputTokens: c.log.state.conv.tokens(), OutputTokens: estimate(resp.Message), Estimated: true,
		}
	}
	c.settle(resp.Usage, priceOf(m, resp.Usage))
	kept := classify(resp) != replyEmpty || strings.TrimSpace(resp.Message.Content) != ""
	return c.log.record(&transcript.Response{
		Model: m.ID, ServedBy: resp.Model, Message: resp.Message, FinishReason: resp.FinishReason, Usage: resp.Usage,
		CostUSD: priceOf(m, resp.Usage), LatencyMillis: latency.Milliseconds(), Kept: kept, Notes: resp.Notes,
	})
}

// fixCallIDs makes the ids of calls unique in the run, in case that a
// provider did not: an answer must lead to one call only.
func (c *caller) fixCallIDs(resp *llm.Response) {
	used := map[string]bool{}
	for i := range resp.Message.ToolCalls {
		call := &resp.Message.ToolCalls[i]
		for n := 0; call.ID == "" || used[call.ID] || c.log.state.callIDs[call.ID]; n++ {
			call.ID = fmt.Sprintf("call_%d_%d_%d", c.log.turn, i, n)
		}
		used[call.ID] = true
	}
}
