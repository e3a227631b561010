// Package text cuts what is shown to people and models, and kept in statuses, to
// a number of bytes.
package text

import "strings"

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
