package openai

import (
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/llm"
)

func TestTheWorseWordOfAGateway(t *testing.T) {
	for words, want := range map[[2]string]string{
		{"stop", "STOP"}: "stop", {"stop", ""}: "stop", {"stop", "MALFORMED_FUNCTION_CALL"}: "MALFORMED_FUNCTION_CALL",
		{"stop", "max_tokens"}: "max_tokens", {"tool_calls", "stop"}: "tool_calls", {"length", "abort"}: "length", {"stop", "insert_coin"}: "stop",
		{"stop", "FINISH_REASON_UNSPECIFIED"}: "stop", {"stop", "OTHER"}: "stop", {"tool_calls", "none"}: "tool_calls", {"stop", "SAFETY"}: "SAFETY",
		{"stop", "network_error"}: "network_error", {"stop", "abort"}: "abort", {"None", ""}: "", {"null", ""}: "", {"FINISH_REASON_UNSPECIFIED", ""}: "",
	} {
		c := wireChoice{FinishReason: flexString(words[0]), NativeFinish: flexString(words[1])}
		if got := c.word(); got != want {
			t.Errorf("%q: %s", words, got)
		}
	}
}

func TestFinishReasons(t *testing.T) {
	for word, want := range map[string]finishMeaning{
		"stop": {reason: llm.FinishStop}, "STOP": {reason: llm.FinishStop}, "FINISH_REASON_STOP": {reason: llm.FinishStop},
		"end_turn": {reason: llm.FinishStop}, "eos_token": {reason: llm.FinishStop}, "eos": {reason: llm.FinishStop},
		"stop_sequence": {reason: llm.FinishStop}, "COMPLETE": {reason: llm.FinishStop},
		"max_tokens": {reason: llm.FinishLength}, "MAX_TOKENS": {reason: llm.FinishLength}, "model_length": {reason: llm.FinishLength},
		"pause_turn": {reason: llm.FinishPaused}, "SAFETY": {reason: llm.FinishContentFilter}, "RECITATION": {reason: llm.FinishContentFilter},
		"sensitive": {reason: llm.FinishContentFilter}, "content_filter: PROHIBITED_CONTENT": {reason: llm.FinishContentFilter},
		"guardrail_intervened":          {reason: llm.FinishContentFilter},
		"model_context_window_exceeded": {category: llm.ContextLength}, "insufficient_system_resource": {category: llm.Overloaded},
		"network_error": {category: llm.Overloaded}, "ERROR": {category: llm.Overloaded}, "time_limit": {category: llm.Timeout},
		"abort": {category: llm.TruncatedStream}, "OTHER": {category: llm.TruncatedStream}, "not_finished": {category: llm.TruncatedStream},
		"function_call_filter: MALFORMED_FUNCTION_CALL": {category: llm.ModelQuality}, "UNEXPECTED_TOOL_CALL": {category: llm.ModelQuality},
	} {
		if got, known := meaningOf(word); !known || got != want {
			t.Errorf("%s: %+v, %v", word, got, known)
		}
	}
	if got, known := meaningOf("insert_coin"); known {
		t.Errorf("a word that nobody knows means %+v", got)
	}
}

// The end of a reply decides what it is: words with an unknown end are half a
// sentence, whole calls are there to be run.
func TestEndsOfReplies(t *testing.T) {
	const text, calls = `"content":"First I will look at the"`, `"content":null,"tool_calls":[{"index":0,"id":"a","function":{"name":"bash","arguments":"{\"command\":\"ls\"}"}}]`
	const cut = `"tool_calls":[{"index":0,"id":"a","function":{"name":"bash","arguments":"{\"command\":\"rm\""}}]`
	end := func(word string) string {
		if word == "" {
			return `{"choices":[{"index":0,"delta":{},"finish_reason":null}]}`
		}
		return finish(word)
	}
	for name, tc := range map[string]struct {
		fields, word string
		quirks       Quirks
		finish       llm.FinishReason
		category     llm.Category
		hint         bool
	}{
		"text, no word":               {fields: text, category: llm.TruncatedStream},
		"text, an unknown word":       {fields: text, word: "insert_coin", category: llm.TruncatedStream},
		"text, a word that is taken":  {fields: text, word: "insert_coin", quirks: Quirks{GoodEnds: []string{"insert_coin"}}, finish: llm.FinishStop},
		"text, another spelling":      {fields: text, word: "FINISH_REASON_INSERT_COIN", quirks: Quirks{GoodEnds: []string{"Insert_Coin"}}, finish: llm.FinishStop},
		"text, no word, and taken":    {fields: text, quirks: Quirks{GoodEnds: []string{""}}, finish: llm.FinishStop},
		"text, null as a word":        {fields: text, word: "null", category: llm.TruncatedStream},
		"calls, None as a word":       {fields: calls, word: "None", finish: llm.FinishToolCalls},
		"text, aborted":               {fields: text, word: "abort", category: llm.TruncatedStream},
		"text, the window":            {fields: text, word: "model_context_window_exceeded", category: llm.ContextLength},
		"text, paused":                {fields: text, word: "pause_turn", finish: llm.FinishPaused},
		"calls, no word":              {fields: calls, finish: llm.FinishToolCalls},
		"calls, an unknown word":      {fields: calls, word: "insert_coin", finish: llm.FinishToolCalls},
		"calls, aborted":              {fields: calls, word: "abort", category: llm.TruncatedStream},
		"calls, malformed":            {fields: calls, word: "MALFORMED_FUNCTION_CALL", category: llm.ModelQuality, hint: true},
		"half a call, no word":        {fields: cut, category: llm.TruncatedStream},
		"half a call, the wrong word": {fields: cut, word: "insert_coin", category: llm.TruncatedStream},
		"nothing, no word":            {fields: `"content":""`, category: llm.TruncatedStream},
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t, says(events(delta(tc.fields), end(tc.word))), Config{Quirks: tc.quirks})
			if tc.category == "" {
				if got := complete(t, p, hello()); got.FinishReason != tc.finish {
					t.Errorf("finish reason %s", got.FinishReason)
				}
				return
			}
			e := failure(t, p, hello())
			if e.Category != tc.category || e.Retryable != (tc.category != llm.ContextLength) || (e.Hint != "") != tc.hint || e.Usage.InputTokens == 0 {
				t.Errorf("%+v", e)
			}
		})
	}
}

// The ends of whole documents, and of streams that close without the end mark, by
// what the model's entry has for good ends.
func TestRepliesWithoutAnEnd(t *testing.T) {
	stream := "data: " + delta(`"content":"All "`) + "\n\ndata: " + delta(`"content":"done."`) + "\n\n"
	for name, tc := range map[string]struct {
		body  string
		good  []string
		words string
	}{
		"a stream":           {stream, nil, "ended before"},
		"a stream, taken":    {stream, []string{""}, ""},
		"a stream, cut":      {stream + `data: {"choices":[{"delta":{"con`, []string{""}, "ended before"},
		"a document":         {`{"choices":[{"message":{"content":"All done."}}]}`, nil, `goodEnds: [""]`},
		"a document, taken":  {`{"choices":[{"message":{"content":"All done."}}]}`, []string{""}, ""},
		"a word":             {message(`"content":"All done."`, "insert_coin"), nil, "goodEnds"},
		"a word, taken":      {message(`"content":"All done."`, "Insert Coin"), []string{"insert_coin"}, ""},
		"nothing, but taken": {"data: {}\n\n", []string{""}, "ended before"},
	} {
		p := serve(t, says(tc.body), Config{Quirks: Quirks{GoodEnds: tc.good}})
		if tc.words == "" {
			if got := complete(t, p, hello()); got.Message.Content != "All done." {
				t.Errorf("%s: %q", name, got.Message.Content)
			}
		} else if e := failure(t, p, hello()); !strings.Contains(e.Message, tc.words) || e.Category != llm.TruncatedStream {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// What a server says behind a good end is its own mark, and behind none an error.
func TestMarksBehindTheEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		end, mark string
		fails     bool
	}{
		"in brackets":       {"stop", "[END]", false},
		"words":             {"stop", "end of stream", false},
		"half a reply":      {"null", "[END]", true},
		"an unknown end":    {"insert_coin", "[ERROR]", true},
		"an error":          {"stop", `{"error":{"message":"boom"}}`, true},
		"a ping, then DONE": {"stop", "[PING]", false},
	} {
		p := serve(t, says(events(delta(`"content":"x"`), finish(tc.end), tc.mark)), Config{})
		if !tc.fails {
			complete(t, p, hello())
		} else if e := failure(t, p, hello()); e.Category == "" {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
