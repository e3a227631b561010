// Package broker chooses the model that is called: it routes, orders the candidates,
// passes over those that fail, and keeps to their rates.
package broker

import (
	"context"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/models"
)

// Model is a model that the run may call.
type Model struct {
	// ID is the registry's, Upstream the one that the server knows.
	ID, Upstream string
	Provider     llm.Provider
	// Pricing is nil when the cost is not known.
	Pricing *models.Pricing
	// ContextWindow in tokens; 0 is unknown and never compacted for.
	ContextWindow int
	// MaxOutputTokens of one reply; 0 leaves it to the server.
	MaxOutputTokens int
	// RequestsPerMinute is kept to by waiting; 0 is no limit.
	RequestsPerMinute int
	// CallTimeout bounds one attempt; 0 leaves it to the caller.
	CallTimeout time.Duration
}

// Need is what the run asks of every candidate. Its window is not in it: the
// run prefers candidates that hold the conversation, and compacts it for others.
type Need struct {
	// Priced says that a cost limit has to be kept.
	Priced bool
}

// Router gives the models for a run, best first. It is asked before every turn
// and has to be quick; an answer is an error or has a candidate.
type Router interface {
	Candidates(ctx context.Context, need Need) ([]Model, error)
}
