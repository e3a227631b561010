package models

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExplain(t *testing.T) {
	for name, tc := range map[string]struct {
		doc          string
		sel          Selector
		need         Need
		conversation int
		want         string
		err          string
	}{
		"the default": {want: `
a: Chosen: has the group small, priority 10
b: Fallback: has the group small, priority 20
off: Excluded Disabled: is disabled
weak: Excluded ToolCallsBelowNeed: calls tools at level Limited, Good is needed
big: NotMatched: does not have the group small`},
		"a name": {sel: Selector{Name: "b"}, want: `
b: Chosen: is the model that was named
a: Fallback: is in the group of b, small, priority 10
off: Excluded Disabled: is disabled
weak: Excluded ToolCallsBelowNeed: calls tools at level Limited, Good is needed
big: NotMatched: is not in the group of b, small`},
		"a name that is off": {sel: Selector{Name: "off"}, err: "no model can be used for model off: off is disabled", want: `
off: Excluded Disabled: is disabled
weak: Excluded ToolCallsBelowNeed: calls tools at level Limited, Good is needed
a: NotReached: would do, but a task that names off gets no other model while off cannot be used
b: NotReached: would do, but a task that names off gets no other model while off cannot be used
big: NotMatched: is not in the group of off, small`},
		"a name that is not there": {sel: Selector{Name: "bigg"}, err: "no model matches model bigg; did you mean big?", want: `
b: NotMatched: is another model
a: NotMatched: is another model
off: NotMatched: is another model
weak: NotMatched: is another model
big: NotMatched: is another model`},
		"a long conversation": {sel: Selector{Role: "coder"}, need: Need{AllScopes: true}, conversation: 9000, want: `
a: Chosen: has the role coder, priority 10; compacts the conversation for its window of 4000 tokens
big: Fallback: has the role coder, priority 15
b: Fallback: has the role coder, priority 20; compacts the conversation for its window of 8000 tokens, so it goes behind those that hold it whole
off: NotMatched: does not have the role coder
weak: NotMatched: does not have the role coder`},
		"no default": {
			doc: "version: 1\nproviders: {p: {type: openai, baseURL: 'http://h/v1'}}\nmodels: [{id: a, provider: p}, {id: b, provider: p}]",
			err: "no model matches the default model", want: `
a: NotMatched: nothing was asked for, and the registry has no default
b: NotMatched: nothing was asked for, and the registry has no default`},
		"one model": {
			doc:  "version: 1\nproviders: {p: {type: openai, baseURL: 'http://h/v1'}}\nmodels: [{id: a, provider: p}]",
			want: "\na: Chosen: is the only model of the registry"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := mustParse(t, or(tc.doc, fleet)).Explain(tc.sel, tc.need, tc.conversation)
			if err != nil {
				t.Fatal(err)
			}
			if got.Error != tc.err {
				t.Errorf("error %q, want %q", got.Error, tc.err)
			}
			var lines []string
			for _, m := range got.Models {
				lines = append(lines, strings.TrimRight(fmt.Sprintf("%s: %s %s", m.ID, m.Decision, m.Reason), " ")+": "+m.Why)
			}
			if diff := cmp.Diff(strings.TrimPrefix(tc.want, "\n"), strings.Join(lines, "\n")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestExplainAgreesWithRoute: of the models that are used, none is missing or too many.
func TestExplainAgreesWithRoute(t *testing.T) {
	reg := mustParse(t, fleet)
	for _, sel := range []Selector{{}, {Name: "a"}, {Name: "off"}, {Group: "small"}, {Role: "coder"}, {Role: "x"}} {
		for _, need := range []Need{{}, {AllScopes: true}, {Priced: true}, {ToolCalls: None, Scopes: []string{"gold"}}} {
			routed, _ := reg.Route(sel, need)
			got, err := reg.Explain(sel, need, 0)
			if err != nil || len(got.Models) != len(reg.Models) {
				t.Fatalf("%v %+v: %d models, %v", sel, need, len(got.Models), err)
			}
			for i, m := range got.Models {
				used := m.Decision == Chosen || m.Decision == Fallback
				if used != (i < len(routed)) || used && m.ID != routed[i].Model.ID {
					t.Errorf("%v %+v: %d is %+v, routed %v", sel, need, i, m, routed)
				}
			}
		}
	}
	if _, err := reg.Explain(Selector{Name: "a", Role: "b"}, Need{}, 0); err == nil {
		t.Error("a selector that says two things is taken")
	}
}
