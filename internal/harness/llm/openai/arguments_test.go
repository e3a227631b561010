package openai

import (
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness/jsontext"
)

func TestNormalizeArguments(t *testing.T) {
	deep := strings.Repeat("[", jsontext.MaxRepairDepth+1)
	for name, tc := range map[string]struct {
		in, want string
		mended   bool
	}{
		"object":               {` {"a": 1} `, `{"a": 1}`, false},
		"nothing":              {" \n", "{}", false},
		"null":                 {"null", "{}", false},
		"a string of nothing":  {`""`, "{}", false},
		"encoded twice":        {`"{\"a\":1}"`, `{"a":1}`, true},
		"a list":               {`[1]`, `[1]`, false},
		"a word":               {`ls -l`, `ls -l`, false},
		"trailing comma":       {`{"a":1,}`, `{"a":1}`, true},
		"single quotes":        {`{'a': 'b'}`, `{"a": "b"}`, true},
		"fenced":               {"```json\n{\"a\":1}\n```", "{\"a\":1}", true},
		"Python's words":       {`{"a": True}`, `{"a": true}`, true},
		"cut after a string":   {`{"a":"b"`, `{"a":"b"}`, true},
		"cut after a list":     {`{"a":[1]`, `{"a":[1]}`, true},
		"cut in a string":      {`{"a":"b`, `{"a":"b`, false},
		"cut after an escape":  {`{"a":"b\"`, `{"a":"b\"`, false},
		"cut in a number":      {`{"a":12`, `{"a":12`, false},
		"cut in a word":        {`{"a":tr`, `{"a":tr`, false},
		"cut after a colon":    {`{"a":`, `{"a":`, false},
		"too deep":             {deep, deep, false},
		"too large to look at": {"{" + strings.Repeat(" ", jsontext.MaxRepairBytes) + ",}", "{" + strings.Repeat(" ", jsontext.MaxRepairBytes) + ",}", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, mended := normalizeArguments(tc.in, true)
			if strings.TrimSpace(got) != strings.TrimSpace(tc.want) || mended != tc.mended {
				t.Errorf("got %q, %v, want %q, %v", got, mended, tc.want, tc.mended)
			}
		})
	}
}
