// Package jsontext reads JSON that models write, which is not always quite JSON.
package jsontext

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kaptinlin/jsonrepair"
)

const (
	// MaxRepairBytes bounds what is repaired: that takes time by the square of the
	// length.
	MaxRepairBytes = 128 << 10
	// MaxRepairDepth bounds its nesting: a stack that overflows ends the process.
	MaxRepairDepth = 64
	// maxBrackets bounds the depth whatever the quotes mean, about which broken
	// JSON can deceive us.
	maxBrackets = 8 << 10
)

// Repair makes JSON of what is nearly JSON: single quotes, trailing commas,
// Python's words, a missing bracket. It guesses; whoever must not run half of
// something looks at the text first. It gives an error for a text that is too long
// or nested too deeply, and where the library panics: it is fed whatever a model
// may write.
func Repair(text string) (fixed string, err error) {
	if len(text) > MaxRepairBytes {
		return "", fmt.Errorf("repairing JSON: it has %d bytes, more than %d", len(text), MaxRepairBytes)
	}
	if TooDeep(text) {
		return "", errors.New("repairing JSON: it is nested too deeply")
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("repairing JSON: %v", v)
		}
	}()
	return jsonrepair.Repair(text)
}

// EndsInString is true when text ends between a double quote and its partner: the
// rest of a value is missing, and half of it must not be used for the whole.
func EndsInString(text string) bool {
	in := false
	for i := 0; i < len(text); i++ {
		switch {
		case in && text[i] == '\\':
			i++
		case text[i] == '"':
			in = !in
		}
	}
	return in
}

// TooDeep says that a text is nested more deeply than Repair takes.
func TooDeep(text string) bool {
	if _, most := nesting(text, `"`); most > MaxRepairDepth {
		return true
	}
	if _, most := nesting(text, `"'`); most > MaxRepairDepth {
		return true
	}
	return strings.Count(text, "{")+strings.Count(text, "[") > maxBrackets
}

// Open gives how many brackets are open at the end of a text.
func Open(text string) int {
	depth, _ := nesting(text, `"`)
	return depth
}

// nesting gives how many brackets are open at the end of a text, and at most. Any
// of quotes begins a string.
func nesting(text, quotes string) (depth, most int) {
	var in byte // the quote of the string that we are in
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case in != 0 && c == '\\':
			i++
		case in == c:
			in = 0
		case in != 0:
		case strings.IndexByte(quotes, c) >= 0:
			in = c
		case c == '{' || c == '[':
			depth++
			most = max(most, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return depth, most
}
