package harness

import (
	"time"

	"github.com/sampan-dev/sampan/internal/llm/broker"
)

// activePart is the part of the run's remaining time that one call may be waited for.
const activePart = 0.5

// newTrial begins a trial; it ends before the run does.
func (c *caller) newTrial(candidates []broker.Model) *broker.Trial {
	patience := c.retry.Patience
	if half, limited := c.budget.halfOfTime(); limited {
		patience = min(patience, half)
	}
	return broker.NewTrial(c.retry, c.clock, patience, candidates)
}

// halfOfTime is the part of the run's remaining time that may be waited, if that
// is limited.
func (b *budget) halfOfTime() (time.Duration, bool) {
	active := b.limits.Active
	left := active - b.clock.Now().Sub(b.began)
	return time.Duration(activePart * float64(left)), active > 0
}

// attemptLimit is how long one attempt may take. Where another model can be asked
// it leaves time for that one; the end of the run bounds all attempts anyhow.
func (c *caller) attemptLimit(m broker.Model, follows bool) time.Duration {
	limit := c.timeout
	if m.CallTimeout > 0 {
		limit = m.CallTimeout
	}
	if half, limited := c.budget.halfOfTime(); limited && follows {
		limit = min(limit, max(half, broker.SlowFailure))
	}
	return limit
}
