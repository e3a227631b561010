package broker

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
)

const (
	// MaxTextCalls attempts are made where the model itself is at fault: each is a
	// paid one, and a model that does it twice does it again.
	MaxTextCalls = 3
	// MaxAttempts are made for failures that are not the server's outage, and of each
	// candidate before the next one is asked.
	MaxAttempts = 5
	// MaxAdaptions bound the requests of one trial that are sent in another form. One
	// more that is refused counts as a failure.
	MaxAdaptions = 10
	// paidPatience is for how long failures are tried again, at least, of which the
	// server may have billed each; then MaxAttempts bound them.
	paidPatience = time.Minute
	// SlowFailure is how long the failed attempts of one candidate take before the
	// next one is asked, and the least that an attempt is given.
	SlowFailure = time.Minute
)

// Retry bounds how often a failed model call is sent again.
type Retry struct {
	// Attempts in all for one candidate; 0 leaves that to Patience where the server is
	// in trouble, and is 5 or fewer for what it may be paid for each time.
	Attempts int
	// Patience is for how long one call is tried again after it first failed, but
	// never longer than half of what is left of the run's active time; 0 is 15 min.
	Patience time.Duration
	// Base is the first wait, doubled each time; 0 is 500 ms.
	Base time.Duration
	// Cap bounds a wait of ours; 0 is 15 s.
	Cap time.Duration
	// AfterCap bounds a wait that the server asked for while another candidate can
	// be asked; one that is longer counts as a failure. Without another one Patience
	// bounds it. 0 is 60 s.
	AfterCap time.Duration
	// CoolDown is how long a failed candidate is passed over, doubled each
	// time up to ten times; 0 is 1 min.
	CoolDown time.Duration
}

// Trial is all that is done to get one reply: attempts with one model after the
// other, in rounds, with pauses that grow, for as long as there is patience.
type Trial struct {
	policy Retry
	clock  Clock
	// patience is how long the trial goes on after its first failure.
	patience time.Duration
	// failedAt is when that was.
	failedAt time.Time
	// Candidates are those that may still answer, rounds how often all were asked.
	Candidates []Model
	rounds     int
	// Attempts counts the failures by model, Spent is how long they took.
	Attempts map[string]int
	Spent    map[string]time.Duration
	// Failed is how each model failed last, in the order in which they did first.
	Failed []Failure
	// adaptions counts the requests that were refused and changed.
	adaptions int
	// lastCandidate says that no other candidate would be asked if this one is given up.
	lastCandidate bool
}

// Failure is why a candidate did not answer.
type Failure struct {
	Model string
	Err   *llm.Error
}

// NewTrial begins one with the candidates, whose failures are tried again for as long
// as patience says.
func NewTrial(policy Retry, clock Clock, patience time.Duration, candidates []Model) *Trial {
	return &Trial{
		policy: policy, clock: clock, Candidates: candidates, patience: patience,
		Attempts: map[string]int{}, Spent: map[string]time.Duration{},
	}
}

// Ask notes that the candidate of that number is asked next, after those that failed in
// this round. It says whether another one follows in it.
func (t *Trial) Ask(i int, failures []Failure) (follows bool) {
	follows = i < len(t.Candidates)-1
	t.lastCandidate = len(t.Candidates) == 1 || t.rounds == 0 && !follows && !Passing(failures)
	return follows
}

// Record notes how a model failed.
func (t *Trial) Record(id string, le *llm.Error) Failure {
	f := Failure{id, le}
	if i := slices.IndexFunc(t.Failed, func(old Failure) bool { return old.Model == id }); i >= 0 {
		t.Failed[i] = f
	} else {
		t.Failed = append(t.Failed, f)
	}
	return f
}

// Left is what is left of the patience.
func (t *Trial) Left() time.Duration {
	if t.failedAt.IsZero() {
		return t.patience
	}
	return max(t.patience-t.clock.Now().Sub(t.failedAt), 0)
}

// LeftFor is what is left of the patience with such a failure.
func (t *Trial) LeftFor(le *llm.Error) time.Duration {
	left := t.Left()
	if costs(le) && !t.failedAt.IsZero() {
		left = min(left, max(paidPatience-t.clock.Now().Sub(t.failedAt), 0))
	}
	return left
}

// Backoff counts a failed attempt and the time that it took, and says how long to
// wait before the next one with the same model, and whether to make it.
func (t *Trial) Backoff(id string, le *llm.Error, took time.Duration) (time.Duration, bool) {
	t.Spent[id] += took
	if le.Adapted != "" && t.adaptions < MaxAdaptions {
		t.adaptions++
		return 0, true // another request
	}
	if t.failedAt.IsZero() {
		t.failedAt = t.clock.Now()
	}
	t.Attempts[id]++
	n := t.Attempts[id]
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
func (t *Trial) moveOn(id string, le *llm.Error) bool {
	return t.rounds > 0 || le.Category == llm.Timeout || le.RetryAfter > t.policy.AfterCap ||
		t.Attempts[id] >= MaxAttempts || t.Spent[id] >= SlowFailure
}

// within says whether there is patience for a wait.
func (t *Trial) within(wait time.Duration, le *llm.Error) (time.Duration, bool) {
	if wait > t.Left() && le.RetryAfter > t.policy.AfterCap && le.Category != llm.RateLimited {
		// A server in trouble does not know how long that takes; a limit does.
		wait = t.policy.AfterCap
	}
	if wait > t.Left() {
		return 0, false
	}
	return wait, true
}

// mostAttempts is how often one model may fail in that way.
func (t *Trial) mostAttempts(le *llm.Error) int {
	most := 1 << 30
	switch le.Category {
	case llm.TextToolCall, llm.ModelQuality:
		most = MaxTextCalls
	case llm.RateLimited, llm.Network:
	case llm.Overloaded, llm.Timeout, llm.TruncatedStream:
		if costs(le) && t.clock.Now().Sub(t.failedAt) >= paidPatience {
			most = MaxAttempts
		}
	default:
		most = MaxAttempts
	}
	if t.policy.Attempts > 0 {
		most = min(most, t.policy.Attempts)
	}
	return most
}

// costs says that a failure is not an outage but a bug, or an answer that was paid for.
func costs(le *llm.Error) bool {
	switch le.Category {
	case llm.Overloaded, llm.Timeout, llm.TruncatedStream:
		return le.Status == http.StatusInternalServerError ||
			le.Category != llm.Overloaded && (le.Usage.InputTokens > 0 || le.Usage.OutputTokens > 0)
	default:
		return false
	}
}

// pause is the wait after the nth failure.
func (t *Trial) pause(n int) time.Duration {
	d := min(t.policy.Base<<min(n-1, 16), t.policy.Cap)
	// Half of it at random, so that many pods do not come back as one.
	return d/2 + rand.N(d/2+1)
}

// NextRound says whether all candidates whose trouble may pass are to be asked once
// more, and when.
func (t *Trial) NextRound(failures []Failure) (time.Duration, bool) {
	if t.policy.Attempts > 0 || len(t.Candidates) == 1 && t.rounds == 0 || !Passing(failures) {
		return 0, false
	}
	t.rounds++
	var kept []Model
	var soonest *llm.Error
	for i, f := range failures {
		if !f.Err.Retryable || t.Attempts[f.Model] >= t.mostAttempts(f.Err) {
			continue
		}
		kept = append(kept, t.Candidates[i])
		if soonest == nil || f.Err.RetryAfter < soonest.RetryAfter {
			soonest = f.Err
		}
	}
	if t.Candidates = kept; len(kept) == 0 {
		return 0, false
	}
	return t.within(max(t.pause(MaxAttempts+t.rounds-1), soonest.RetryAfter), soonest)
}

// Passing says that some candidate may answer when it is asked later.
func Passing(failures []Failure) bool {
	return slices.ContainsFunc(failures, func(f Failure) bool { return f.Err.Retryable })
}
