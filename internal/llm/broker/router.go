package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/models"
)

// RegistryRouter routes by a model registry. It is made for one run and makes
// each model's provider once, when it is first a candidate.
type RegistryRouter struct {
	// Registry and Selector say what to route to.
	Registry *models.Registry
	Selector models.Selector
	// Need holds scopes and tool-call level; the run adds the rest.
	Need models.Need
	// Connect makes the provider of a candidate.
	Connect func(models.Candidate) (llm.Provider, error)

	mu        sync.Mutex
	connected map[string]connection
}

type connection struct {
	provider llm.Provider
	err      error
}

// Candidates implements Router. A candidate that cannot be connected stays in
// the list and fails when it is called, with the reason: a broken setup must
// show, not change which model is used.
func (r *RegistryRouter) Candidates(_ context.Context, need Need) ([]Model, error) {
	n := r.Need
	n.Priced = need.Priced
	routed, err := r.Registry.Route(r.Selector, n)
	if err != nil {
		return nil, err
	}
	out := make([]Model, len(routed))
	for i, c := range routed {
		out[i] = ModelOf(c, r.connect(c))
	}
	return out, nil
}

// ModelOf is a candidate of a registry as a run calls it, by its provider.
func ModelOf(c models.Candidate, p llm.Provider) Model {
	return Model{
		ID: c.Model.ID, Upstream: c.Model.Upstream, Provider: p, Pricing: c.Model.Pricing,
		ContextWindow: c.Model.ContextWindow, MaxOutputTokens: c.Model.MaxOutputTokens,
		RequestsPerMinute: c.Model.Limits.RequestsPerMinute,
		// The provider's own deadline comes first, and says more.
		CallTimeout: time.Duration(c.Model.Timeouts.TotalSeconds)*time.Second + time.Minute,
	}
}

func (r *RegistryRouter) connect(c models.Candidate) llm.Provider {
	r.mu.Lock()
	defer r.mu.Unlock()
	got, ok := r.connected[c.Model.ID]
	if !ok {
		got.provider, got.err = r.Connect(c)
		if got.err == nil && got.provider == nil {
			got.err = errors.New("there is none")
		}
		if r.connected == nil {
			r.connected = map[string]connection{}
		}
		r.connected[c.Model.ID] = got
	}
	if got.err != nil {
		return unconnected{fmt.Errorf("connecting to provider %s: %w", c.Provider.Name, got.err)}
	}
	return got.provider
}

// unconnected is a provider that could not be made.
type unconnected struct{ err error }

// Complete implements llm.Provider.
func (u unconnected) Complete(context.Context, llm.Request) (*llm.Response, error) {
	return nil, &llm.Error{Category: llm.CredentialConfig, Message: u.err.Error(), Err: u.err}
}

// FixedRouter offers always the same models.
type FixedRouter []Model

// Candidates implements Router.
func (f FixedRouter) Candidates(context.Context, Need) ([]Model, error) { return f, nil }
