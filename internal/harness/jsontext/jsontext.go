// Package jsontext reads JSON that models write, which is not always quite JSON.
package jsontext

import (
	"fmt"

	"github.com/kaptinlin/jsonrepair"
)

// Repair makes JSON of what is nearly JSON: single quotes, trailing commas,
// Python's words, a missing bracket. It guesses; whoever must not run half of
// something looks at the text first. It gives an error where the library panics:
// it is fed whatever a model may write.
func Repair(text string) (fixed string, err error) {
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
