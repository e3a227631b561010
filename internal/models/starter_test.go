package models

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// sourced is the comment above a model: the day, and where its figures are from.
var sourced = regexp.MustCompile(`^# 20\d\d-[01]\d-[0-3]\d .*https://`)

// TestStarterRegistry: every figure has a source, every provider a model, and no server
// that is known by its host names its profile.
func TestStarterRegistry(t *testing.T) {
	data, err := os.ReadFile("../../examples/registry/models.yaml")
	if err != nil {
		t.Fatal(err)
	}
	reg, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		if id, ok := strings.CutPrefix(line, "- id: "); ok && !sourced.MatchString(lines[i-1]) {
			t.Errorf("line %d: %s has no day and source above it", i+1, id)
		}
	}
	used := map[string]bool{}
	for _, m := range reg.Models {
		used[m.Provider] = true
	}
	for name, p := range reg.Providers {
		if !used[name] {
			t.Errorf("no model is of provider %s", name)
		}
		if got := ProfileOf(p).Name; got != name {
			t.Errorf("provider %s has the profile %s", name, got)
		}
	}
	routed, err := reg.Route(Selector{}, Need{Priced: true})
	if err != nil || len(routed) < 5 {
		t.Errorf("the default leads to %d models with a price: %v", len(routed), err)
	}
}
