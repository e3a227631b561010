package openai

import "testing"

func TestRedactor(t *testing.T) {
	r := newRedactor("the-key", map[string]string{"X-Team": "blue", "X-Secret": "long-enough"})
	for text, want := range map[string]string{
		"the-key is wrong":                     "[redacted] is wrong",
		"X-Secret: long-enough, X-Team: blue":  "X-Secret: [redacted], X-Team: blue",
		"Authorization: Bearer abc123.def":     "Authorization: [redacted]",
		"bearer sk_live_x, and more":           "[redacted], and more",
		"yours was sk-abc***xyz":               "yours was [redacted]",
		"the bearer token is missing or wrong": "the bearer token is missing or wrong",
		"a task-list of risk-free desks":       "a task-list of risk-free desks",
	} {
		if got := r.text(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
