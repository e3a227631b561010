package openai

import (
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/jsontext"
	"github.com/sampan-dev/sampan/internal/llm"
)

func TestNormalizeArguments(t *testing.T) {
	deep := strings.Repeat("[", jsontext.MaxRepairDepth+1)
	for name, tc := range map[string]struct {
		in, want string
		repaired bool
	}{
		"object":               {` {"a": 1} `, `{"a": 1}`, false},
		"nothing":              {" \n", "{}", false},
		"null":                 {"null", "{}", false},
		"a string of nothing":  {`""`, "{}", false},
		"encoded twice":        {`"{\"a\":1}"`, `{"a":1}`, true},
		"encoded three times":  {`"\"{\\\"a\\\":1}\""`, `{"a":1}`, true},
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
			got, repaired := normalizeArguments(tc.in, true)
			if strings.TrimSpace(got) != strings.TrimSpace(tc.want) || repaired != tc.repaired {
				t.Errorf("got %q, %v, want %q, %v", got, repaired, tc.want, tc.repaired)
			}
		})
	}
}

// Where a reply was cut, nothing may be what is left of arguments.
func TestNothingLeftOfArguments(t *testing.T) {
	for text, want := range map[string]string{"": "", " ": "", "null": "{}", `{"a":1`: `{"a":1`} {
		if got, repaired := normalizeArguments(text, false); got != want || repaired {
			t.Errorf("%q: %q, %v", text, got, repaired)
		}
	}
	cut := delta(`"tool_calls":[{"index":0,"id":"a","function":{"name":"list","arguments":""}}]`)
	got := complete(t, serve(t, says(events(cut, finish("length"))), Config{}), hello())
	if got.FinishReason != llm.FinishLength || got.Message.ToolCalls[0].Arguments != "" {
		t.Errorf("cut by the limit: %+v", got)
	}
	if e := failure(t, serve(t, says(events(cut, finish("insert_coin"))), Config{}), hello()); e.Category != llm.TruncatedStream {
		t.Errorf("an unknown end: %+v", e)
	}
	got = complete(t, serve(t, says(events(cut, finish("tool_calls"))), Config{}), hello())
	if got.Message.ToolCalls[0].Arguments != "{}" {
		t.Errorf("a good end: %+v", got)
	}
	got = complete(t, serve(t, says(message(`"content":"<tool_call>{\"name\":\"list\",\"arguments\":\"\"}</tool_call>"`, "stop")),
		Config{Quirks: Quirks{TextToolCalls: TextToolCallsSalvage}}), hello())
	if len(got.Message.ToolCalls) != 1 || got.Message.ToolCalls[0].Arguments != "{}" {
		t.Errorf("as text: %+v", got)
	}
}
