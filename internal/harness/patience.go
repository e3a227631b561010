package harness

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
)

const (
	// maxTextCalls attempts are made where the model itself is at fault: each is a
	// paid one, and a model that does it twice does it again.
	maxTextCalls = 3
	// maxAttempts are made for failures that are not the server's outage, and of each
	// candidate before the next one is asked.
	maxAttempts = 5
	// maxAdaptions bound the requests of one trial that are sent in another form. One
	// more that is refused counts as a failure.
	maxAdaptions = 10
	// paidPatience is for how long failures are tried again, at least, of which the
	// server may have billed each; then maxAttempts bound them.
	paidPatience = time.Minute
	// activePart is the part of the run's remaining time that one call may be
	// waited for.
	activePart = 0.5
	// slowFailure is how long the failed attempts of one candidate take before the
	// next one is asked, and the least that an attempt is given.
	slowFailure = time.Minute
)

// trial is all that is done to get one reply: attempts with one model after the
// other, in rounds, with pauses that grow, for as long as there is patience.
type trial struct {
	policy Retry
	clock  Clock
	// patience is how long the trial goes on after its first failure.
	patience time.Duration
	// failedAt is when that was.
	failedAt time.Time
	// candidates are those that may still answer, rounds how often all were asked.
	candidates []broker.Model
	rounds     int
	// attempts counts the failures by model, spent is how long they took.
	attempts map[string]int
	spent    map[string]time.Duration
	// failed is how each model failed last, in the order in which they did first.
	failed []failure
	// adaptions counts the requests that were refused and changed.
	adaptions int
	// lastCandidate says that no other candidate would be asked if this one is given up.
	lastCandidate bool
	// follows says that another one is asked in this round if this one fails.
	follows bool
}

func (c *caller) newTrial(candidates []broker.Model) *trial {
	t := &trial{
		policy: c.retry, clock: c.clock, candidates: candidates, patience: c.retry.Patience,
		attempts: map[string]int{}, spent: map[string]time.Duration{},
	}
	if half, limited := c.budget.halfOfTime(); limited {
		t.patience = min(t.patience, half)
	}
	return t
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
func (c *caller) attemptLimit(m broker.Model, t *trial) time.Duration {
	limit := c.timeout
	if m.CallTimeout > 0 {
		limit = m.CallTimeout
	}
	if half, limited := c.budget.halfOfTime(); limited && t.follows {
		limit = min(limit, max(half, slowFailure))
	}
	return limit
}

// record notes how a model failed.
func (t *trial) record(id string, le *llm.Error) failure {
	f := failure{id, le}
	if i := slices.IndexFunc(t.failed, func(old failure) bool { return old.model == id }); i >= 0 {
		t.failed[i] = f
	} else {
		t.failed = append(t.failed, f)
	}
	return f
}

// left is what is left of the patience.
func (t *trial) left() time.Duration {
	if t.failedAt.IsZero() {
		return t.patience
	}
	return max(t.patience-t.clock.Now().Sub(t.failedAt), 0)
}

// backoff counts a failed attempt and the time that it took, and says how long to
// wait before the next one with the same model, and whether to make it.
func (t *trial) backoff(id string, le *llm.Error, took time.Duration) (time.Duration, bool) {
	t.spent[id] += took
	if le.Adapted != "" && t.adaptions < maxAdaptions {
		t.adaptions++
		return 0, true // another request
	}
	if t.failedAt.IsZero() {
		t.failedAt = t.clock.Now()
	}
	t.attempts[id]++
	n := t.attempts[id]
	if !le.Retryable || n >= t.mostAttempts(le) {
		return 0, false
	}
	wait := max(t.pause(n), le.RetryAfter)
	if !t.lastCandidate && t.moveOn(id, le) {
		return 0, false // the next one is sooner there
	}
	return t.within(wait, le)
}

// moveOn says that the next candidate is to be asked. One that hangs has taken
// minutes with its first attempt, and would take as many again.
func (t *trial) moveOn(id string, le *llm.Error) bool {
	return t.rounds > 0 || le.Category == llm.Timeout || le.RetryAfter > t.policy.AfterCap ||
		t.attempts[id] >= maxAttempts || t.spent[id] >= slowFailure
}

// within says whether there is patience for a wait.
func (t *trial) within(wait time.Duration, le *llm.Error) (time.Duration, bool) {
	if wait > t.left() && le.RetryAfter > t.policy.AfterCap && le.Category != llm.RateLimited {
		// A server in trouble does not know how long that takes; a limit does.
		wait = t.policy.AfterCap
	}
	if wait > t.left() {
		return 0, false
	}
	return wait, true
}

// mostAttempts is how often one model may fail in that way.
func (t *trial) mostAttempts(le *llm.Error) int {
	most := 1 << 30
	switch le.Category {
	case llm.TextToolCall, llm.ModelQuality:
		most = maxTextCalls
	case llm.RateLimited, llm.Network:
	case llm.Overloaded, llm.Timeout, llm.TruncatedStream:
		// Not an outage but a bug, or an answer that was paid for.
		costs := le.Status == http.StatusInternalServerError ||
			le.Category != llm.Overloaded && (le.Usage.InputTokens > 0 || le.Usage.OutputTokens > 0)
		if costs && t.clock.Now().Sub(t.failedAt) >= paidPatience {
			most = maxAttempts
		}
	default:
		most = maxAttempts
	}
	if t.policy.Attempts > 0 {
		most = min(most, t.policy.Attempts)
	}
	return most
}

// pause is the wait after the nth failure.
func (t *trial) pause(n int) time.Duration {
	d := min(t.policy.Base<<min(n-1, 16), t.policy.Cap)
	// Half of it at random, so that many pods do not come back as one.
	return d/2 + rand.N(d/2+1)
}

// nextRound says whether all candidates whose trouble may pass are to be asked once
// more, and when.
func (t *trial) nextRound(failures []failure) (time.Duration, bool) {
	if t.policy.Attempts > 0 || len(t.candidates) == 1 && t.rounds == 0 || !passing(failures) {
		return 0, false
	}
	t.rounds++
	var kept []broker.Model
	var soonest *llm.Error
	for i, f := range failures {
		if !f.err.Retryable || t.attempts[f.model] >= t.mostAttempts(f.err) {
			continue
		}
		kept = append(kept, t.candidates[i])
		if soonest == nil || f.err.RetryAfter < soonest.RetryAfter {
			soonest = f.err
		}
	}
	if t.candidates = kept; len(kept) == 0 {
		return 0, false
	}
	return t.within(max(t.pause(maxAttempts+t.rounds-1), soonest.RetryAfter), soonest)
}

// passing says that some candidate may answer when it is asked later.
func passing(failures []failure) bool {
	return slices.ContainsFunc(failures, func(f failure) bool { return f.err.Retryable })
}
