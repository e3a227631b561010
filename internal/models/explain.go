package models

import (
	"cmp"
	"fmt"
	"slices"
)

// Decision is what routing makes of one model.
type Decision string

// The decisions.
const (
	// Chosen: the model that is called first.
	Chosen Decision = "Chosen"
	// Fallback: called where those before it fail.
	Fallback Decision = "Fallback"
	// Excluded: it matches what was asked for, and cannot be used.
	Excluded Decision = "Excluded"
	// NotReached: it would do, but a model that was asked for by name cannot be used,
	// and is never replaced without a word.
	NotReached Decision = "NotReached"
	// NotMatched: it is not what was asked for.
	NotMatched Decision = "NotMatched"
)

// Explained is why a model is used or not.
type Explained struct {
	ID       string   `json:"id"`
	Decision Decision `json:"decision"`
	// Reason is set for Excluded.
	Reason DropReason `json:"reason,omitempty"`
	// Why is for people.
	Why string `json:"why"`
}

// Explanation says what a selector leads to.
type Explanation struct {
	// Selector is what was asked for, with the registry's default filled in.
	Selector Selector `json:"selector"`
	// Default says that nothing was asked for.
	Default bool `json:"default,omitempty"`
	// Models are all of the registry's: those that are used come first, in the order in
	// which they are called.
	Models []Explained `json:"models"`
	// Error is why no model can be used, empty where one can.
	Error string `json:"error,omitempty"`
}

// Explain says which models Route gives for a need, in the order in which a
// conversation of so many tokens calls them, and why not the others. The error is
// that of a selector that says two things.
func (r *Registry) Explain(sel Selector, need Need, conversation int) (*Explanation, error) {
	out := &Explanation{Selector: sel, Default: sel.IsZero()}
	if sel.IsZero() {
		out.Selector = r.Default
	}
	if err := out.Selector.check(); err != nil {
		return nil, err
	}
	routed, err := r.Route(sel, need)
	if err != nil {
		out.Error = err.Error()
	}
	first := ""
	if len(routed) > 0 {
		first = routed[0].Model.ID
	}
	routed = ByWindow(routed, int64(conversation), func(c Candidate) int { return c.Model.ContextWindow })
	for i, c := range routed {
		e := Explained{ID: c.Model.ID, Decision: Fallback, Why: out.Selector.position(c.Model)}
		if i == 0 {
			e.Decision = Chosen
		}
		w := c.Model.ContextWindow
		if Compacts(int64(conversation), w, c.Model.MaxOutputTokens) {
			e.Why += fmt.Sprintf("; compacts the conversation for its window of %d tokens", w)
		}
		if conversation > w && c.Model.ID != first {
			e.Why += ", so it goes behind those that hold it whole"
		}
		out.Models = append(out.Models, e)
	}
	out.Models = append(out.Models, r.unused(out.Selector, need, routed)...)
	return out, nil
}

// unused explains the models that are not among the routed ones: first those that
// match.
func (r *Registry) unused(sel Selector, need Need, routed []Candidate) []Explained {
	var matched, others []Explained
	matching := r.matching(sel)
	for _, m := range matching {
		if slices.ContainsFunc(routed, func(c Candidate) bool { return c.Model.ID == m.ID }) {
			continue
		}
		e := Explained{ID: m.ID, Decision: NotReached, Why: fmt.Sprintf("would do, but a task that names %s gets no other model while %s cannot be used", sel.Name, sel.Name)}
		if d := r.drop(m, need); d != nil {
			e.Decision, e.Reason, e.Why = Excluded, d.Reason, d.Detail
		}
		matched = append(matched, e)
	}
	for _, m := range r.Models {
		if !slices.ContainsFunc(matching, func(other Model) bool { return other.ID == m.ID }) {
			others = append(others, Explained{ID: m.ID, Decision: NotMatched, Why: r.mismatch(sel)})
		}
	}
	return append(matched, others...)
}

// position says why a model comes where it does.
func (s Selector) position(m Model) string {
	switch {
	case s.Name == m.ID:
		return "is the model that was named"
	case s.Name != "":
		return fmt.Sprintf("is in the group of %s, %s, priority %d", s.Name, m.FallbackGroup, m.Priority)
	case s.IsZero():
		return "is the only model of the registry"
	}
	return fmt.Sprintf("has the %s, priority %d", s, m.Priority)
}

// mismatch says why the models that do not match do not.
func (r *Registry) mismatch(sel Selector) string {
	switch {
	case sel.Name != "":
		named, ok := r.Model(sel.Name)
		if !ok || named.FallbackGroup == "" {
			return "is another model"
		}
		return fmt.Sprintf("is not in the group of %s, %s", sel.Name, named.FallbackGroup)
	case sel.IsZero():
		return "nothing was asked for, and the registry has no default"
	}
	return fmt.Sprintf("does not have the %s", sel)
}

// ByWindow orders candidates, or what was made of them, for a conversation of so many
// tokens: behind the first one, those whose window holds it go before those for which it
// is compacted. A window of 0 is not known, and taken to hold it.
func ByWindow[T any](candidates []T, tokens int64, window func(T) int) []T {
	if len(candidates) < 2 {
		return candidates
	}
	out := slices.Clone(candidates)
	small := func(c T) int {
		if w := window(c); w > 0 && tokens > int64(w) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out[1:], func(a, b T) int { return cmp.Compare(small(a), small(b)) })
	return out
}
