package broker

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Rate is when a process called its models. Its runs share one, so that all of them
// together keep to a model's rate. What else they find out about a model is their own: a
// task is not given another model, or less of one, since an earlier task had trouble.
type Rate struct {
	mu sync.Mutex
	// starts are the times of the last minute's requests, and of those that wait for
	// their turn, by model and in order.
	starts map[string][]time.Time
}

// NewRate makes one of a process that has called nothing yet.
func NewRate() *Rate { return &Rate{starts: map[string][]time.Time{}} }

// turn gives the time at which one more request to a model may start, and takes it.
func (r *Rate) turn(id string, perMinute int, now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	starts := r.starts[id]
	for len(starts) > 0 && now.Sub(starts[0]) >= time.Minute {
		starts = starts[1:]
	}
	at := now
	if n := len(starts); n >= perMinute {
		at = starts[n-perMinute].Add(time.Minute)
	}
	r.starts[id] = append(starts, at)
	return at
}

// giveUp gives a turn back that nobody waits for any more.
func (r *Rate) giveUp(id string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.starts[id], at); i >= 0 {
		r.starts[id] = slices.Delete(slices.Clone(r.starts[id]), i, i+1)
	}
}

// Pace waits until one more request keeps to the model's rate.
func (r *Rate) Pace(ctx context.Context, clock Clock, m Model) error {
	if m.RequestsPerMinute <= 0 {
		return nil
	}
	now := clock.Now()
	at := r.turn(m.ID, m.RequestsPerMinute, now)
	if !at.After(now) {
		return nil
	}
	if err := Sleep(ctx, clock, at.Sub(now)); err != nil {
		r.giveUp(m.ID, at)
		return err
	}
	return nil
}
