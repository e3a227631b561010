package models

import "testing"

func TestDidYouMean(t *testing.T) {
	for got, want := range map[string]string{
		"rols": "; did you mean role or roles?",
		"role": "; did you mean roles?", // a field, but not where it was written
		"Role": "; did you mean role or roles?",
		"kye":  "; did you mean key?", // is among the names twice
		"zzzz": "",
		"xy":   "", // as far from everything as it can be
	} {
		if said := DidYouMean(got, []string{"role", "roles", "key", "key"}); said != want {
			t.Errorf("%s gives %q, want %q", got, said, want)
		}
	}
}
