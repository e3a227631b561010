// Package text gives what is shown to people and models, and kept in statuses, its
// form: at most so many bytes, one line, the right number of a word.
package text

import (
	"fmt"
	"strings"
)

// cut stands for what was left out.
const cut = "…"

// Clip keeps the beginning of a text, in whole characters: at most n bytes with
// the mark of the cut, for which n must have room.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len(cut)], "") + cut
}

// ClipStart keeps the end of a text in the same way.
func ClipStart(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return cut + strings.ToValidUTF8(s[len(s)-n+len(cut):], "")
}

// OneLine joins the lines of a text: kubectl shows the first of an event alone.
func OneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	return strings.Join(lines, "; ")
}

// Plural gives "1 line", "2 lines".
func Plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
