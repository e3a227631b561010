package jsontext

import (
	"strings"
	"testing"
)

// The library is recursive, and takes time by the square of the length.
func TestRepairIsBounded(t *testing.T) {
	for name, text := range map[string]string{
		"long":                         "[" + strings.Repeat(" ", MaxRepairBytes) + ",]",
		"deep":                         strings.Repeat("[", MaxRepairDepth+1),
		"deep objects":                 strings.Repeat(`{"a":`, MaxRepairDepth+1),
		"deep behind a quote":          `['"',` + strings.Repeat("[", MaxRepairDepth+1),
		"deep behind an apostrophe":    `[don't,` + strings.Repeat("[", MaxRepairDepth+1),
		"deep behind one of each":      `[don't "'"` + strings.Repeat("[", maxBrackets+1),
		"deep, with brackets in texts": strings.Repeat(`["]",`, MaxRepairDepth+1),
	} {
		if fixed, err := Repair(text); err == nil {
			t.Errorf("%s: %.80q", name, fixed)
		}
	}
	wide := "[" + strings.Repeat(`{"a":"[[["},`, 100) + "]"
	if _, err := Repair(wide); err != nil {
		t.Errorf("many beside each other: %v", err)
	}
}
