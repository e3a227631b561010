package openai

import (
	"slices"
	"strings"
	"unicode"
)

// placeholders are what stands for no reply: put there by gateways and other
// agents, and then written by models that were trained on them.
var placeholders = []string{
	"no content", "no text content", "no response", "no response requested", "no response needed",
	"empty", "empty message", "empty response", "null", "undefined", "[object object]",
}

// saysNothing says that a text is no answer: it is blank, also with signs that
// nobody sees, has little and nothing but punctuation, or holds the place of one.
func saysNothing(text string) bool {
	text = strings.TrimFunc(text, unseen)
	const few, most = 16, 64
	if len(text) > most {
		return false
	}
	plain := strings.ToLower(text)
	words := strings.TrimFunc(plain, func(r rune) bool { return unseen(r) || unicode.IsPunct(r) || r == '`' })
	return words == "" && len(text) <= few || slices.Contains(placeholders, words) || slices.Contains(placeholders, plain)
}

// unseen says that nobody sees a sign.
func unseen(r rune) bool {
	const brailleBlank, hangulFiller = '\u2800', '\u3164'
	return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Variation_Selector) ||
		r == brailleBlank || r == hangulFiller || r == unicode.ReplacementChar
}
