package openai

import (
	"encoding/json"
	"strings"

	"github.com/sampan-dev/sampan/internal/jsontext"
)

// isObject says whether text is one valid JSON object.
func isObject(text string) bool {
	return strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") && json.Valid([]byte(text))
}

// normalizeArguments makes an object's text of what a model gave as arguments,
// where that can be done without guessing at what it left out. Anything else comes
// back as it is, to become an error observation. repaired says that the text was
// changed by more than filling in "{}" for nothing. repair is false where the
// output limit cut the reply: what is left of a call must not run, and nothing at
// all may be left of it.
func normalizeArguments(text string, repair bool) (args string, repaired bool) {
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "" && !repair:
		return "", false
	case trimmed == "", trimmed == "null":
		return "{}", false
	}
	if json.Valid([]byte(trimmed)) {
		return unquoted(trimmed)
	}
	if !repair || cutShort(trimmed) {
		return text, false
	}
	fixed, err := jsontext.Repair(trimmed)
	if err != nil || !isObject(fixed) {
		return text, false
	}
	return fixed, true
}

// maxQuotes bounds how often arguments may be encoded over.
const maxQuotes = 3

// unquoted opens valid JSON that is a string with an object in it: arguments that
// were encoded twice, or more often.
func unquoted(text string) (string, bool) {
	inner := text
	for range maxQuotes {
		if inner[0] != '"' || json.Unmarshal([]byte(inner), &inner) != nil {
			return text, false
		}
		switch inner = strings.TrimSpace(inner); {
		case isObject(inner):
			return inner, true
		case inner == "" || inner == "null":
			return "{}", false
		}
	}
	return text, false
}

// cutShort says that closing the text would make up or lose a part of a value: it
// ends inside a string (half a file's content), after a colon, or in the middle of
// a bare word or number.
func cutShort(text string) bool {
	if jsontext.EndsInString(text) {
		return true
	}
	return jsontext.Open(text) > 0 && !strings.ContainsRune(`"}],{[`, rune(text[len(text)-1]))
}
