package broker

import (
	"slices"
	"sync"
	"time"
)

// Memory is what a process knows of its models: which of them failed, when each was
// called, and what their servers said of them. The runs of a process share one, so that
// all of them together keep to a model's rate.
type Memory struct {
	mu     sync.Mutex
	health map[string]*health
	// starts are the times of the last minute's requests, and of those that wait for
	// their turn, by model and in order.
	starts map[string][]time.Time
	// windows are those that servers named when they refused a conversation.
	windows map[string]int
}

// health of a model.
type health struct {
	failures int
	// until is when it may be used again.
	until time.Time
}

// NewMemory makes one that knows of nothing.
func NewMemory() *Memory {
	return &Memory{health: map[string]*health{}, starts: map[string][]time.Time{}, windows: map[string]int{}}
}

// cooling says that a model is to be passed over.
func (m *Memory) cooling(id string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.health[id]
	return h != nil && now.Before(h.until)
}

// failed makes a model cool down, longer each time, and for as long as it took to fail.
func (m *Memory) failed(id string, now time.Time, coolDown, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.health[id]
	if h == nil {
		h = &health{}
		m.health[id] = h
	}
	h.failures++
	d := min(coolDown<<min(h.failures-1, 4), 10*coolDown)
	h.until = now.Add(max(d, took))
}

func (m *Memory) answered(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.health, id)
}

func (m *Memory) learn(id string, window int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.windows[id] = window
}

func (m *Memory) window(id string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.windows[id]
}

// turn gives the time at which one more request to a model may start, and takes it.
func (m *Memory) turn(id string, perMinute int, now time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	starts := m.starts[id]
	for len(starts) > 0 && now.Sub(starts[0]) >= time.Minute {
		starts = starts[1:]
	}
	at := now
	if n := len(starts); n >= perMinute {
		at = starts[n-perMinute].Add(time.Minute)
	}
	m.starts[id] = append(starts, at)
	return at
}

// giveUp gives a turn back that nobody waits for any more.
func (m *Memory) giveUp(id string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.starts[id], at); i >= 0 {
		m.starts[id] = slices.Delete(slices.Clone(m.starts[id]), i, i+1)
	}
}
