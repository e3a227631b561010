package broker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/models"
)

// Options say how a run chooses.
type Options struct {
	// Router gives the candidates.
	Router Router
	Clock  Clock
	// CoolDown is how long a failed model is passed over, doubled each time up to ten times.
	CoolDown time.Duration
	// Priced says that a cost limit has to be kept.
	Priced bool
	// Rate is shared with other runs; nil is one of its own.
	Rate *Rate
}

// Broker chooses among the candidates of a run.
type Broker struct {
	Options
	memory *memory
}

// New makes a broker for one run.
func New(opts Options) *Broker {
	if opts.Rate == nil {
		opts.Rate = NewRate()
	}
	return &Broker{Options: opts, memory: newMemory()}
}

// Candidates gives the models for a conversation of so many tokens, best first.
func (b *Broker) Candidates(ctx context.Context, tokens int64) ([]Model, error) {
	if b.Router == nil {
		return nil, errors.New("the run was given none")
	}
	// A conversation that outgrew a window can be compacted, so its length
	// orders the candidates here and rules out none.
	all, err := b.Router.Candidates(ctx, Need{Priced: b.Priced})
	if err != nil {
		return nil, err
	}
	if b.Priced {
		all = slices.DeleteFunc(slices.Clone(all), func(m Model) bool { return m.Pricing == nil })
	}
	if len(all) == 0 {
		return nil, errors.New("there is no candidate, or none whose cost is known, which a cost limit needs")
	}
	return b.order(all, tokens), nil
}

// order puts models that are cooling down last: with nothing else left they
// are still worth a try.
func (b *Broker) order(all []Model, tokens int64) []Model {
	var ready, cooling []Model
	now := b.Clock.Now()
	for _, m := range models.ByWindow(all, tokens, func(m Model) int { return m.ContextWindow }) {
		if b.memory.cooling(m.ID, now) {
			cooling = append(cooling, m)
		} else {
			ready = append(ready, m)
		}
	}
	return append(ready, cooling...)
}

// minWindow is the least that is believed to be a model's window, in tokens.
const minWindow = 1024

// Learn notes the window that a server named, if it is smaller than what was known.
func (b *Broker) Learn(m Model, window int) bool {
	if window < minWindow || m.ContextWindow > 0 && window >= m.ContextWindow {
		return false
	}
	b.memory.learn(m.ID, window)
	return true
}

// Learned is the model with what its server has said of it.
func (b *Broker) Learned(m Model) Model {
	if w := b.memory.window(m.ID); w > 0 && (m.ContextWindow == 0 || w < m.ContextWindow) {
		m.ContextWindow = w
		m.MaxOutputTokens = min(m.MaxOutputTokens, w/2)
	}
	return m
}

// Failed makes a model cool down, longer each time, and for as long as it took
// to fail: one that hangs must not take most of the run.
func (b *Broker) Failed(id string, took time.Duration) {
	b.memory.failed(id, b.Clock.Now(), b.CoolDown, took)
}

// Answered forgets a model's failures.
func (b *Broker) Answered(id string) { b.memory.answered(id) }

// Pace waits until one more request keeps to the model's rate, that of all runs that
// share it together.
func (b *Broker) Pace(ctx context.Context, m Model) error { return b.Rate.Pace(ctx, b.Clock, m) }

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
