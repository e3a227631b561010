package broker

import (
	"sync"
	"time"
)

// memory is what a run knows of its models: which of them failed, and what their servers
// said of them.
type memory struct {
	mu     sync.Mutex
	health map[string]*health
	// windows are those that servers named when they refused a conversation.
	windows map[string]int
}

// health of a model.
type health struct {
	failures int
	// until is when it may be used again.
	until time.Time
}

func newMemory() *memory {
	return &memory{health: map[string]*health{}, windows: map[string]int{}}
}

// cooling says that a model is to be passed over.
func (m *memory) cooling(id string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.health[id]
	return h != nil && now.Before(h.until)
}

// failed makes a model cool down, longer each time, and for as long as it took to fail.
func (m *memory) failed(id string, now time.Time, coolDown, took time.Duration) {
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

func (m *memory) answered(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.health, id)
}

func (m *memory) learn(id string, window int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.windows[id] = window
}

func (m *memory) window(id string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.windows[id]
}
