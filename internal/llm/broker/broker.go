package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
)

// Broker chooses among the candidates and remembers which of them failed.
type Broker struct {
	router   Router
	clock    Clock
	coolDown time.Duration
	priced   bool
	health   map[string]*health
	// starts are the times of the last minute's requests, by model.
	starts map[string][]time.Time
	// windows are those that servers named when they refused a conversation.
	windows map[string]int
}

// health of a model in this run.
type health struct {
	failures int
	// until is when it may be used again.
	until time.Time
}

// New makes a broker for one run. Priced says that a cost limit has to be kept.
func New(router Router, clock Clock, coolDown time.Duration, priced bool) *Broker {
	return &Broker{
		router: router, clock: clock, coolDown: coolDown, priced: priced,
		health: map[string]*health{}, starts: map[string][]time.Time{}, windows: map[string]int{},
	}
}

// Candidates gives the models for a conversation of so many tokens, best first.
func (b *Broker) Candidates(ctx context.Context, tokens int64) ([]Model, error) {
	if b.router == nil {
		return nil, errors.New("the run was given none")
	}
	// A conversation that outgrew a window can be compacted, so its length
	// orders the candidates here and rules out none.
	all, err := b.router.Candidates(ctx, Need{Priced: b.priced})
	if err != nil {
		return nil, err
	}
	if b.priced {
		all = slices.DeleteFunc(slices.Clone(all), func(m Model) bool { return m.Pricing == nil })
	}
	if len(all) == 0 {
		return nil, errors.New("there is no candidate, or none whose cost is known, which a cost limit needs")
	}
	return b.order(all, tokens), nil
}

// order puts models that are cooling down last: with nothing else left they
// are still worth a try. Behind the preferred one, models whose window holds
// the conversation go before those for which it would have to be cut.
func (b *Broker) order(all []Model, tokens int64) []Model {
	var ready, small, cooling []Model
	now := b.clock.Now()
	for i, m := range all {
		h := b.health[m.ID]
		switch {
		case h != nil && now.Before(h.until):
			cooling = append(cooling, m)
		case i > 0 && m.ContextWindow > 0 && tokens > int64(m.ContextWindow):
			small = append(small, m)
		default:
			ready = append(ready, m)
		}
	}
	return append(append(ready, small...), cooling...)
}

// minWindow is the least that is believed to be a model's window, in tokens.
const minWindow = 1024

// Learn notes the window that a server named, if it is smaller than what was known.
func (b *Broker) Learn(m Model, window int) bool {
	if window < minWindow || m.ContextWindow > 0 && window >= m.ContextWindow {
		return false
	}
	b.windows[m.ID] = window
	return true
}

// Learned is the model with what its server has said of it.
func (b *Broker) Learned(m Model) Model {
	if w := b.windows[m.ID]; w > 0 && (m.ContextWindow == 0 || w < m.ContextWindow) {
		m.ContextWindow = w
		m.MaxOutputTokens = min(m.MaxOutputTokens, w/2)
	}
	return m
}

// Failed makes a model cool down, longer each time, and for as long as it took
// to fail: one that hangs must not take most of the run.
func (b *Broker) Failed(id string, took time.Duration) {
	h := b.health[id]
	if h == nil {
		h = &health{}
		b.health[id] = h
	}
	h.failures++
	d := b.coolDown << min(h.failures-1, 4)
	h.until = b.clock.Now().Add(max(min(d, 10*b.coolDown), took))
}

// Answered forgets a model's failures.
func (b *Broker) Answered(id string) { delete(b.health, id) }

// Pace waits until one more request keeps to the model's rate.
func (b *Broker) Pace(ctx context.Context, m Model) error {
	if m.RequestsPerMinute <= 0 {
		return nil
	}
	starts := b.starts[m.ID]
	for len(starts) > 0 && b.clock.Now().Sub(starts[0]) >= time.Minute {
		starts = starts[1:]
	}
	if len(starts) >= m.RequestsPerMinute {
		wait := time.Minute - b.clock.Now().Sub(starts[0])
		if err := Sleep(ctx, b.clock, wait); err != nil {
			return err
		}
		starts = starts[1:]
	}
	b.starts[m.ID] = append(starts, b.clock.Now())
	return nil
}

// FallsBack says that another model may manage what this one could not: the
// server is at fault, or its plan, not the request. A wrong key is not in it;
// hiding it behind a model that costs something else would help nobody.
func FallsBack(c llm.Category) bool {
	switch c {
	case llm.RateLimited, llm.Overloaded, llm.Timeout, llm.Network, llm.ProviderUnsupported, llm.QuotaExceeded, llm.TruncatedStream:
		return true
	default:
		return false
	}
}
