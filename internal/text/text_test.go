package text

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClip(t *testing.T) {
	for name, tc := range map[string]struct{ in, start, end string }{
		"fits":              {"0123456789", "0123456789", "0123456789"},
		"one byte too long": {"0123456789a", "0123456…", "…456789a"},
		"whole characters":  {strings.Repeat("é", 6), "ééé…", "…ééé"},
	} {
		if got := Clip(tc.in, 10); got != tc.start {
			t.Errorf("%s: Clip gives %q, want %q", name, got, tc.start)
		}
		if got := ClipStart(tc.in, 10); got != tc.end {
			t.Errorf("%s: ClipStart gives %q, want %q", name, got, tc.end)
		}
	}
}

// Of any text at most so many bytes stay, and no broken character is made.
func FuzzClip(f *testing.F) {
	f.Add("a longer text with an é in it", 12)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = max(n, len(cut))
		for _, got := range []string{Clip(s, n), ClipStart(s, n)} {
			if len(got) > n || (utf8.ValidString(s) && !utf8.ValidString(got)) {
				t.Errorf("%q cut to %d bytes is %q", s, n, got)
			}
		}
	})
}

func TestHeadTail(t *testing.T) {
	mark := func(n int) string { return fmt.Sprintf("[%d]", n) }
	for name, tc := range map[string]struct {
		in    string
		limit int
		want  string
	}{
		"fits":             {"0123456789", 10, "0123456789"},
		"cut":              {"0123456789abcdef", 10, "012[10]def"},
		"whole characters": {strings.Repeat("é", 10), 10, "é[16]é"},
		"whole lines":      {"one\ntwo\nthree\nfour\nfive\n", 18, "one[16]five\n"},
		"no room":          {"0123456789", 1, "[10]"},
	} {
		if got := HeadTail(tc.in, tc.limit, mark); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"one\r\ntwo\n\nthree\n":    "one; two; three",
		"a\u2028b\u0085c\vd\fe\tf": "a; b; c; d; e f",
		"a \x1b[2J\n\u202eb":       `a \x1b[2J; \u202eb`,
	} {
		if got := OneLine(in); got != want {
			t.Errorf("OneLine gives %q, want %q", got, want)
		}
	}
}

func TestPlural(t *testing.T) {
	for n, want := range map[int]string{0: "0 turns", 1: "1 turn", 2: "2 turns"} {
		if got := Plural(n, "turn"); got != want {
			t.Errorf("Plural gives %q, want %q", got, want)
		}
	}
}
