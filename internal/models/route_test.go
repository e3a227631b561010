package models

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
)

const fleet = `version: 1
default: {group: small}
providers: {p: {type: openai, baseURL: "http://h/v1"}}
models:
- {id: b, provider: p, fallbackGroup: small, priority: 20, roles: [coder], contextWindow: 8000}
- {id: a, provider: p, fallbackGroup: small, priority: 10, roles: [coder], contextWindow: 4000, pricing: {inputPerMTok: "1", outputPerMTok: "2"}}
- {id: off, provider: p, fallbackGroup: small, priority: 5, disabled: true}
- {id: weak, provider: p, fallbackGroup: small, priority: 6, toolCalls: Limited}
- {id: big, provider: p, roles: [coder, reviewer], priority: 15, scopes: [gold], contextWindow: 100000, toolCalls: Excellent}
`

func TestRoute(t *testing.T) {
	tests := map[string]struct {
		sel     Selector
		need    Need
		want    []string
		dropped map[string]DropReason
		errText string
	}{
		"default is the group, by priority": {want: []string{"a", "b"}},
		"a name, then its group":            {sel: Selector{Name: "b"}, want: []string{"b", "a"}},
		"a name without a group":            {sel: Selector{Name: "big"}, need: Need{Scopes: []string{"gold"}}, want: []string{"big"}},
		"role with scope":                   {sel: Selector{Role: "coder"}, need: Need{Scopes: []string{"x", "gold"}}, want: []string{"a", "big", "b"}},
		"role without scope":                {sel: Selector{Role: "coder"}, want: []string{"a", "b"}},
		"all scopes":                        {sel: Selector{Role: "reviewer"}, need: Need{AllScopes: true}, want: []string{"big"}},
		"lower level":                       {sel: Selector{Group: "small"}, need: Need{ToolCalls: Limited}, want: []string{"weak", "a", "b"}},
		"priced":                            {need: Need{Priced: true}, want: []string{"a"}},
		"nothing is good enough": {
			need:    Need{ToolCalls: Excellent},
			dropped: map[string]DropReason{"off": DropDisabled, "weak": DropToolCalls, "a": DropToolCalls, "b": DropToolCalls},
			errText: "no model can be used for group small: off is disabled; weak calls tools at level Limited, Excellent is needed; a calls tools at level Good",
		},
		"a named model that is off": {
			sel: Selector{Name: "off"}, dropped: map[string]DropReason{"off": DropDisabled}, errText: "off is disabled",
		},
		"scope not held": {
			sel: Selector{Name: "big"}, need: Need{Scopes: []string{"silver"}},
			dropped: map[string]DropReason{"big": DropScope}, errText: "big is for scope gold only",
		},
		"unknown name":  {sel: Selector{Name: "bigg"}, errText: "no model matches model bigg; did you mean big"},
		"unknown group": {sel: Selector{Group: "smal"}, errText: "no model matches group smal; did you mean small?"},
		"unknown role":  {sel: Selector{Role: "reviewr"}, errText: "did you mean reviewer?"}, //nolint:misspell // on purpose
		"nothing close": {sel: Selector{Role: "zzzzzzzzz"}, errText: "no model matches role zzzzzzzzz"},
		"two things":    {sel: Selector{Name: "a", Role: "b"}, errText: "only one of"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := mustParse(t, fleet).Route(tc.sel, tc.need)
			var ids []string
			for _, c := range got {
				ids = append(ids, c.Model.ID)
				if c.Provider.Name != "p" {
					t.Errorf("provider %+v", c.Provider)
				}
			}
			if diff := cmp.Diff(tc.want, ids); diff != "" {
				t.Error(diff)
			}
			if (err != nil) != (tc.errText != "") || err != nil && !strings.Contains(err.Error(), tc.errText) {
				t.Errorf("got %v, want %q", err, tc.errText)
			}
			var re *RouteError
			if errors.As(err, &re) && len(tc.dropped) > 0 {
				dropped := map[string]DropReason{}
				for _, d := range re.Dropped {
					dropped[d.ID] = d.Reason
				}
				if diff := cmp.Diff(tc.dropped, dropped); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestRouteWithoutDefault(t *testing.T) {
	one := "version: 1\nproviders: {p: {type: scripted, script: {file: s.yaml}}}\nmodels:\n- {id: only, provider: p}\n"
	got, err := mustParse(t, one).Route(Selector{}, Need{})
	if err != nil || len(got) != 1 || got[0].Model.ID != "only" {
		t.Errorf("got %v, %v: a single model needs no default", got, err)
	}
	if got, err := mustParse(t, one+"- {id: other, provider: p}\n").Route(Selector{}, Need{}); err == nil {
		t.Errorf("got %v: two models need a default", got)
	}
}

func TestCost(t *testing.T) {
	usd := decimal.RequireFromString
	p := &Pricing{InputPerMTok: usd("0.66"), CachedInputPerMTok: usd("0.10"), OutputPerMTok: usd("1.00")}
	tests := map[string]struct {
		price *Pricing
		usage Tokens
		want  string
	}{
		"nothing":             {price: p, want: "0"},
		"one token each":      {price: p, usage: Tokens{Input: 1, Output: 1}, want: "0.00000166"},
		"cached is apart":     {price: p, usage: Tokens{Input: 1000, CachedInput: 400, Output: 100}, want: "0.000536"},
		"more cached than in": {price: p, usage: Tokens{Input: 100, CachedInput: 400}, want: "0.00001"},
		"negative":            {price: p, usage: Tokens{Input: -5, Output: -5, CachedInput: -1}, want: "0"},
		"unknown price":       {usage: Tokens{Input: 1000}, want: "0"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tc.price.Cost(tc.usage); !got.Equal(usd(tc.want)) {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

func TestAffordableOutput(t *testing.T) {
	usd := decimal.RequireFromString
	p := &Pricing{OutputPerMTok: usd("3")}
	for sum, want := range map[string]int64{"0": 0, "-1": 0, "0.000003": 1, "0.0000059": 1, "3": 1_000_000, "9e30": 1 << 40} {
		if got, ok := p.AffordableOutput(usd(sum)); !ok || got != want {
			t.Errorf("%s USD pay for %d (%t), want %d", sum, got, ok, want)
		}
	}
	if _, ok := (*Pricing)(nil).AffordableOutput(usd("1")); ok {
		t.Error("an unknown price sets a bound")
	}
}
