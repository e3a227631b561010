// Package text gives what is shown to people and models, and kept in statuses, its
// form: nothing that steers a terminal, at most so many bytes, one line, the
// right number of a word.
package text

import (
	"fmt"
	"strings"
	"unicode/utf8"
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

// nearLine is how far a cut may move to fall between two lines.
const nearLine = 200

// HeadTail keeps the beginning and the end of a text, at most limit bytes with
// the mark between them, in whole characters, and in whole lines where their
// ends are near. The mark gets the count of the bytes left out.
func HeadTail(s string, limit int, mark func(omitted int) string) string {
	if len(s) <= limit {
		return s
	}
	room := max(limit-len(mark(len(s))), 0)
	head, tail := room-room/2, len(s)-room/2
	for head > 0 && !utf8.RuneStart(s[head]) {
		head--
	}
	for tail < len(s) && !utf8.RuneStart(s[tail]) {
		tail++
	}
	if i := strings.LastIndexByte(s[:head], '\n'); i >= 0 && head-i < nearLine {
		head = i
	}
	if i := strings.IndexByte(s[tail:], '\n'); i >= 0 && i < nearLine {
		tail += i + 1
	}
	return s[:head] + mark(tail-head) + s[tail:]
}

// OneLine joins the lines of a text and makes them visible: kubectl shows the
// first line of an event alone.
func OneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("\n\v\f\r\u0085\u2028\u2029", r) })
	return Inline(strings.ReplaceAll(strings.Join(lines, "; "), "\t", " "))
}

// Plural gives "1 line", "2 lines".
func Plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
