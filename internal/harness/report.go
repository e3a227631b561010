package harness

import (
	"sync"
	"time"
)

// reportWait is how long a step waits for its report to be taken. A callback
// that only notes the value down sees every step; a slow one misses some.
const reportWait = 5 * time.Millisecond

// Reporter is the one way by which others hear where a run stands, from the
// checkout of its workspace to its end. It hands progress to a callback in a goroutine
// of its own, so that one that hangs cannot hang the run. Calls come one at a time;
// one that takes longer than a few milliseconds holds up nothing, and what happens in
// between is then reported as one. A nil Reporter reports nothing.
type Reporter struct {
	f     func(Progress)
	clock Clock

	mu sync.Mutex
	// latest waits to be reported; nil when all was.
	latest *Progress
	// idle is closed when the goroutine has nothing to do; nil before the first.
	idle chan struct{}
	busy bool
}

// NewReporter makes the Reporter of one run; a nil clock is the wall clock.
func NewReporter(f func(Progress), clock Clock) *Reporter {
	if clock == nil {
		clock = wallClock{}
	}
	return &Reporter{f: f, clock: clock}
}

// Tell reports p and waits a moment for the callback to return, unless it is
// busy with an earlier report: then p takes the place of what waits.
func (r *Reporter) Tell(p Progress) {
	if idle, started := r.enqueue(p); started {
		r.wait(idle, reportWait)
	}
}

// close reports p as the last one.
func (r *Reporter) close(p Progress) {
	if r == nil {
		return
	}
	if idle, _ := r.enqueue(p); idle != nil {
		r.wait(idle, grace)
	}
	r.mu.Lock()
	r.f = nil
	r.mu.Unlock()
}

func (r *Reporter) enqueue(p Progress) (idle chan struct{}, started bool) {
	if r == nil {
		return nil, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.f == nil {
		return nil, false
	}
	r.latest = &p
	if r.busy {
		return r.idle, false
	}
	r.busy, r.idle = true, make(chan struct{})
	go r.deliver(r.idle)
	return r.idle, true
}

// deliver calls back until nothing waits.
func (r *Reporter) deliver(idle chan struct{}) {
	defer close(idle)
	for {
		r.mu.Lock()
		p, f := r.latest, r.f
		r.latest = nil
		if p == nil || f == nil {
			r.busy = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		contained(f, *p)
	}
}

// contained keeps a panicking callback from ending the process: it is a bystander.
func contained(f func(Progress), p Progress) {
	defer func() { _ = recover() }()
	f(p)
}

func (r *Reporter) wait(idle chan struct{}, d time.Duration) {
	timeout := make(chan struct{})
	stop := r.clock.AfterFunc(d, func() { close(timeout) })
	defer stop()
	select {
	case <-idle:
	case <-timeout:
	}
}
