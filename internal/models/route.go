package models

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Need is what a task asks of a model. The length of its conversation is not in it: one
// that outgrew a window is compacted, see ByWindow.
type Need struct {
	// Scopes are those that the caller holds. A model with scopes is offered
	// only to a caller that holds one of them.
	Scopes []string
	// AllScopes skips that check: a local run belongs to nobody's namespace.
	AllScopes bool
	// ToolCalls is the lowest level that will do; empty is DefaultToolCalls.
	ToolCalls Level
	// Priced drops models without pricing: a cost limit cannot hold for them.
	Priced bool
	// Probed is what probes have measured of entries, by their digest (Candidate.Digest).
	// It counts where the registry says routing.unfit: Exclude.
	Probed map[string]Measured
}

// Candidate is a model that may be used, with its provider.
type Candidate struct {
	Model    Model
	Provider Provider
}

// DropReason says why a model was not a candidate.
type DropReason string

// The drop reasons.
const (
	DropDisabled  DropReason = "Disabled"
	DropScope     DropReason = "ScopeNotAllowed"
	DropToolCalls DropReason = "ToolCallsBelowNeed"
	DropUnpriced  DropReason = "PricingUnknown"
	DropUnfit     DropReason = "ProbedBelowNeed"
)

// Dropped is a model that matched and cannot be used.
type Dropped struct {
	ID     string
	Reason DropReason
	// Detail is for people.
	Detail string
}

// RouteError says that no model can be used, and why not each.
type RouteError struct {
	Selector Selector
	// Dropped are the models that matched; empty when none did.
	Dropped []Dropped
	// Suggestions are names close to the one that was not found.
	Suggestions []string
}

// Error implements error.
func (e *RouteError) Error() string {
	if len(e.Dropped) == 0 {
		return fmt.Sprintf("no model matches %s%s", e.Selector, suggest(e.Suggestions))
	}
	var parts []string
	for i, d := range e.Dropped {
		if i == maxDroppedShown {
			parts = append(parts, fmt.Sprintf("and %d more", len(e.Dropped)-i))
			break
		}
		parts = append(parts, d.ID+" "+d.Detail)
	}
	return fmt.Sprintf("no model can be used for %s: %s", e.Selector, strings.Join(parts, "; "))
}

// maxDroppedShown keeps the error readable.
const maxDroppedShown = 8

// Route gives the models for a task, best first. A name gives that model and
// then the rest of its fallback group; a group or role gives its members by
// priority. The error is a *RouteError, except for a selector that says two things.
func (r *Registry) Route(sel Selector, need Need) ([]Candidate, error) {
	if sel.IsZero() {
		sel = r.Default
	}
	if err := sel.check(); err != nil {
		return nil, err
	}
	matching := r.matching(sel)
	if len(matching) == 0 {
		return nil, &RouteError{Selector: sel, Suggestions: closest(sel.value(), r.values(sel))}
	}
	var out []Candidate
	failed := &RouteError{Selector: sel}
	for i, m := range matching {
		d := r.drop(m, need)
		if d == nil {
			out = append(out, Candidate{Model: m, Provider: r.Providers[m.Provider]})
			continue
		}
		failed.Dropped = append(failed.Dropped, *d)
		if sel.Name != "" && i == 0 {
			// Who asks for one model by name must not get another because this
			// one is off or not for them.
			return nil, failed
		}
	}
	if len(out) == 0 {
		return nil, failed
	}
	return out, nil
}

// Usable gives every model that may be used, in the order of the registry.
func (r *Registry) Usable(need Need) []Candidate {
	var out []Candidate
	for _, m := range r.Models {
		if r.drop(m, need) == nil {
			out = append(out, Candidate{Model: m, Provider: r.Providers[m.Provider]})
		}
	}
	return out
}

// matching gives the models that a selector means, in order.
func (r *Registry) matching(sel Selector) []Model {
	var first, rest []Model
	group := sel.Group
	if sel.Name != "" {
		m, ok := r.Model(sel.Name)
		if !ok {
			return nil
		}
		first, group = []Model{m}, m.FallbackGroup
	}
	if sel.IsZero() && len(r.Models) == 1 {
		return r.Models
	}
	for _, m := range r.Models {
		inGroup := group != "" && m.FallbackGroup == group
		hasRole := sel.Role != "" && slices.Contains(m.Roles, sel.Role)
		if (inGroup || hasRole) && m.ID != sel.Name {
			rest = append(rest, m)
		}
	}
	sort.SliceStable(rest, func(i, j int) bool { return rest[i].Priority < rest[j].Priority })
	return append(first, rest...)
}

// drop says why a model cannot be used, nil when it can.
func (r *Registry) drop(m Model, need Need) *Dropped {
	if d := need.drop(m); d != nil {
		return d
	}
	return r.Unfit(m, need)
}

// drop says why a model cannot be used by what its entry says, nil when it can.
func (n Need) drop(m Model) *Dropped {
	level := n.ToolCalls
	if level == "" {
		level = DefaultToolCalls
	}
	switch {
	case m.Disabled:
		return &Dropped{m.ID, DropDisabled, "is disabled"}
	case !n.AllScopes && len(m.Scopes) > 0 && !overlap(m.Scopes, n.Scopes):
		return &Dropped{m.ID, DropScope, fmt.Sprintf("is for scope %s only", strings.Join(m.Scopes, ", "))}
	case !m.ToolCalls.AtLeast(level):
		return &Dropped{m.ID, DropToolCalls, fmt.Sprintf("calls tools at level %s, %s is needed", m.ToolCalls, level)}
	case n.Priced && m.Pricing == nil:
		return &Dropped{m.ID, DropUnpriced, "has no pricing, so a cost limit cannot be kept"}
	}
	return nil
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// check refuses a selector that says two things.
func (s Selector) check() error {
	set := 0
	for _, v := range []string{s.Name, s.Group, s.Role} {
		if v != "" {
			set++
		}
	}
	if set > 1 {
		return errors.New("only one of name, group and role may be given")
	}
	return nil
}

// value is the name, group or role.
func (s Selector) value() string { return s.Name + s.Group + s.Role }

// values are all names of the kind that a selector asks for.
func (r *Registry) values(sel Selector) []string {
	set := map[string]bool{}
	for _, m := range r.Models {
		switch {
		case sel.Group != "":
			set[m.FallbackGroup] = true
		case sel.Role != "":
			for _, role := range m.Roles {
				set[role] = true
			}
		default:
			set[m.ID] = true
		}
	}
	delete(set, "")
	out := make([]string, 0, len(set))
	for v := range set {
		out = append(out, v)
	}
	sort.Strings(out)
	return out
}
