package yamldoc

import (
	"errors"
	"strings"
	"testing"
)

var testLimits = Limits{Bytes: 256 << 10, Depth: 32, Nodes: 1000}

// TestCheckRefuses has one row for each way to nest, or to have many values.
func TestCheckRefuses(t *testing.T) {
	deep := func(open string) string { return strings.Repeat(open, 33) }
	var steps strings.Builder
	for i := range 33 {
		steps.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for name, tc := range map[string]struct{ doc, want string }{
		"bytes":                       {strings.Repeat(" ", 256<<10+1), "has 262145 bytes, the limit is 262144"},
		"brackets":                    {deep("["), "line 1:33: is nested deeper than 32 levels"},
		"brackets with spaces":        {deep("[ "), "deeper"},
		"brackets, one a line":        {deep("[\n"), "line 33:"},
		"braces":                      {deep("{a: "), "deeper"},
		"braces in JSON":              {deep(`{"a":`), "deeper"},
		"brackets as keys":            {deep("{["), "deeper"},
		"brackets after a key":        {"a: " + deep("["), "deeper"},
		"brackets after a comment":    {"# a\na: # b\n " + deep("["), "deeper"},
		"brackets after text":         {"a: 'b'\nc: \"d\\\"\"\ne: |\n f\ng: " + deep("["), "deeper"},
		"brackets after an anchor":    {"&a !!b " + deep("["), "deeper"},
		"brackets in a second one":    {"a: b\n---\n" + deep("["), "line 3:"},
		"brackets after its mark":     {"--- " + deep("["), "deeper"},
		"lists in one line":           {deep("- "), "deeper"},
		"keys in one line":            {deep("? "), "deeper"},
		"both in one line":            {strings.Repeat("- ? ", 17), "deeper"},
		"lists with tabs":             {deep("-\t"), "deeper"},
		"indentation":                 {steps.String(), "line 33:"},
		"indentation and brackets":    {"a:\n b:\n  " + strings.Repeat("[", 31), "deeper"},
		"a list in a list, by lines":  {strings.ReplaceAll(steps.String(), "a:", "-"), "deeper"},
		"items in brackets":           {"[" + strings.Repeat("a,", 1000), "more than 1000 values"},
		"empty items in brackets":     {"[" + strings.Repeat(",", 1000), "more than 1000 values"},
		"items":                       {strings.Repeat("- a\n", 1000), "more than 1000 values"},
		"empty items":                 {strings.Repeat("-\n", 1001), "more than 1000 values"},
		"keys":                        {strings.Repeat("a: b\n", 1000), "more than 1000 values"},
		"anchors":                     {strings.Repeat("&a ", 1001), "more than 1000 values"},
		"aliases":                     {"[" + strings.Repeat("*a ,", 1000), "more than 1000 values"},
		"tags":                        {strings.Repeat("!!a ", 1001), "more than 1000 values"},
		"documents":                   {strings.Repeat("---\n", 1001), "more than 1000 values"},
		"texts":                       {"[" + strings.Repeat("'a'", 1001), "more than 1000 values"},
		"line ends of old Macs":       {strings.ReplaceAll(strings.Repeat("- a\r", 1000), "\n", ""), "more than 1000 values"},
		"what a shallow list follows": {strings.Repeat("- a\n", 20) + deep("- "), "line 21:"},
	} {
		t.Run(name, func(t *testing.T) {
			var p *Problem
			if err := Check([]byte(tc.doc), testLimits); !errors.As(err, &p) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// TestCheckAccepts has what looks like nesting and is text, and nesting that ends.
func TestCheckAccepts(t *testing.T) {
	many := strings.Repeat("[", 100)
	for name, doc := range map[string]string{
		"a comment":               "# " + many + "\na: b # " + many,
		"a text in quotes":        "a: '" + many + " '' " + many + "'\nb: \"" + many + " \\\" " + many + "\"",
		"one of several lines":    "a: \"" + many + "\n  " + many + "\\\n  " + many + "\"",
		"a plain text":            "a: b " + many,
		"one that goes on":        "a: b\n  " + many + "\n  - - - " + many + "\nc: d",
		"a block":                 "a: |\n  " + many + "\n\n  - ? " + many + "\nb: c",
		"a folded block":          "- >-\n " + many + "\n- b",
		"a block of its own":      "--- |\n" + many + "\n",
		"a block in a list":       "a:\n- |\n  " + many + "\n- b",
		"a block behind a list":   "- a: |2\n     " + many + "\n  b: c",
		"brackets that are shut":  strings.Repeat("[[]]\n,", 0) + "a: [" + strings.Repeat("[[[]]],", 50) + "]",
		"lists that are over":     strings.Repeat("- - -\n", 100),
		"depth at the limit":      strings.Repeat("[", 32) + strings.Repeat("]", 32),
		"a dash that is a number": "[" + strings.Repeat("-1,", 100) + "]",
		"an emphasis":             "a: --- - ---",
	} {
		t.Run(name, func(t *testing.T) {
			if err := Check([]byte(doc), testLimits); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCheckCostsNothing: what the scan itself needs does not grow with the document.
func TestCheckCostsNothing(t *testing.T) {
	for name, unit := range map[string]string{"brackets": "[", "lists": "- ", "text": "a ", "quotes": "'", "keys": "a:\n ", "nothing": "\n", "blocks": "|\n"} {
		doc := []byte(strings.Repeat(unit, 64<<10))
		l := Limits{Bytes: 1 << 20, Depth: 32, Nodes: 1 << 20}
		if allocs := testing.AllocsPerRun(3, func() { _ = Check(doc, l) }); allocs > 16 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}
