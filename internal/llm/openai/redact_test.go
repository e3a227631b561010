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
		"GET /v1?key=abcdef&x=1":               "GET /v1?key=[redacted]&x=1",
		"AIzaSyD-0123456789 is not valid":      "[redacted] is not valid",
		"got gsk_0123456789abcdef":             "got [redacted]",
		"Basic dXNlcjpwYXNzd29yZA==":           "[redacted]",
		"jwt eyJhbGciOiJIUzI1.eyJzdWIi.c2ln":   "jwt [redacted]",
		"the-\x00k\u200bey split":              "[redacted] split",
		"\x1b[2Jred\r\n\u202eevil":             "[2Jred  evil",
		"a task-list of risk-free desks":       "a task-list of risk-free desks",
	} {
		if got := r.text(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
