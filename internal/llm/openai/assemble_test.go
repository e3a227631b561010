package openai

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/llm"
)

// Streams that say something twice say it once.
func TestRepetitionsInStreams(t *testing.T) {
	const part = `"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"bash","arguments":"{\"command\":\"ls\"}"}}]`
	closing := func(fields, reason string) string {
		return `{"object":"chat.completion","choices":[{"index":0,"finish_reason":"` + reason + `","message":{"role":"assistant",` + fields + `}}]}`
	}
	piece := func(text, reason string) string {
		return `{"choices":[{"index":0,"delta":{"content":"` + text + `"},"finish_reason":"` + reason + `"}]}`
	}
	called := `{"choices":[{"index":0,"delta":{"content":"",` + part + `},"finish_reason":"tool_calls"}]}`
	one := []llm.ToolCall{call("a", "bash", ls)}
	for name, tc := range map[string]struct {
		events []string
		text   string
		calls  []llm.ToolCall
	}{
		"the whole text as message":      {[]string{delta(`"content":"All "`), delta(`"content":"done."`), finish("stop"), closing(`"content":"All done."`, "stop")}, "All done.", nil},
		"the same, without an end first": {[]string{delta(`"content":"All "`), delta(`"content":"done."`), closing(`"content":"All done."`, "stop")}, "All done.", nil},
		"trimmed":                        {[]string{delta(`"content":"\n\nAll done.\n"`), finish("stop"), closing(`"content":"All done."`, "stop")}, "All done.", nil},
		"text and call":                  {[]string{delta(`"content":"I run it."`), delta(part), finish("tool_calls"), closing(`"content":"I run it.",`+part, "tool_calls")}, "I run it.", one},
		"the call with another id": {[]string{delta(part), finish("tool_calls"),
			closing(strings.Replace(part, `"id":"a"`, `"id":"other"`, 1), "tool_calls")}, "", one},
		"the call without an id": {[]string{delta(part), finish("tool_calls"), closing(strings.Replace(part, `"id":"a",`, "", 1), "tool_calls")}, "", one},
		"a call that only the message has": {[]string{delta(`"content":"I run it."`), finish("tool_calls"),
			closing(`"content":"I run it.",`+part, "tool_calls")}, "I run it.", one},
		"a message without what came before": {[]string{delta(`"content":"I run it."`), delta(part), finish("tool_calls"), closing(`"content":""`, "tool_calls")}, "I run it.", one},
		"as a delta behind the end":          {[]string{delta(`"content":"Done."`), finish("stop"), delta(`"content":"Done."`)}, "Done.", nil},
		"calls as a delta behind the end":    {[]string{delta(part), finish("tool_calls"), delta(part)}, "", one},
		"as a delta with the end": {[]string{delta(`"content":"All of it "`), delta(`"content":"is done."`),
			`{"choices":[{"index":0,"delta":{"content":"All of it is done."},"finish_reason":"stop"}]}`}, "All of it is done.", nil},
		"messages that grow":             {[]string{closing(`"content":"All"`, ""), closing(`"content":"All done"`, ""), closing(`"content":"All done."`, "stop")}, "All done.", nil},
		"messages as pieces":             {[]string{closing(`"content":"All "`, ""), closing(`"content":"done."`, ""), closing(`"content":""`, "stop")}, "All done.", nil},
		"words that do repeat":           {[]string{delta(`"content":"ha"`), delta(`"content":"ha"`), finish("stop")}, "haha", nil},
		"null with every piece":          {[]string{piece("2", "null"), piece("2", "null"), piece("", "stop")}, "22", nil},
		"None with every piece":          {[]string{piece("", "None"), piece("2", "None"), piece("2", "None"), piece("", "stop")}, "22", nil},
		"the end with every piece":       {[]string{piece("", "stop"), piece("2", "stop"), piece("2", "stop"), piece("", "stop")}, "22", nil},
		"the end with every word":        {[]string{piece("2", "stop"), piece("", "stop"), piece("2", "stop")}, "22", nil},
		"the end with every line":        {[]string{piece("----------------", "stop"), piece("----------------", "stop")}, "--------------------------------", nil},
		"behind an end with text":        {[]string{piece("All of it is done.", "stop"), delta(`"content":"All of it is done."`)}, "All of it is done.", nil},
		"calls twice, each with the end": {[]string{called, called}, "", one},
		"text behind the end":            {[]string{delta(`"content":"All "`), finish("stop"), delta(`"content":"done."`)}, "All done.", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := complete(t, serve(t, says(events(tc.events...)), Config{}), hello())
			if got.Message.Content != tc.text {
				t.Errorf("text %q", got.Message.Content)
			}
			if d := cmp.Diff(tc.calls, got.Message.ToolCalls); d != "" {
				t.Errorf("calls (-want +got):\n%s", d)
			}
		})
	}
}

func TestTwoChoicesOfOneReply(t *testing.T) {
	p := serve(t, says(`{"choices":[{"index":0,"finish_reason":"tool_calls","message":{"content":"I run it."}},`+
		`{"index":1,"finish_reason":"tool_calls","message":{"tool_calls":[{"id":"a","function":{"name":"bash","arguments":"{\"command\":\"ls\"}"}}]}}]}`), Config{})
	got := complete(t, p, hello())
	if d := cmp.Diff([]llm.ToolCall{call("a", "bash", ls)}, got.Message.ToolCalls); d != "" || got.Message.Content != "I run it." {
		t.Errorf("%q, %s", got.Message.Content, d)
	}
}

// A sign that was cut in two is whole again, in every kind of text.
func TestSignsCutBetweenEvents(t *testing.T) {
	arguments := func(text string) string {
		return delta(`"tool_calls":[{"index":0,"id":"a","function":{"name":"bash","arguments":"` + text + `"}}]`)
	}
	for name, tc := range map[string]struct {
		events []string
		want   llm.Message
	}{
		"units, in the text":     {[]string{delta(`"content":"Go \ud83d"`), delta(`"content":"\ude80!"`)}, llm.Message{Content: "Go 🚀!"}},
		"units, in the thoughts": {[]string{delta(`"reasoning_content":"\uD83D"`), delta(`"reasoning_content":"\uDE80"`), delta(`"content":"x"`)}, llm.Message{Content: "x", Reasoning: "🚀"}},
		"units, in arguments": {[]string{arguments(`{\"command\":\"echo \ud83d`), delta(`"tool_calls":[{"index":0,"function":{"arguments":"\ude80\"}"}}]`)},
			llm.Message{ToolCalls: []llm.ToolCall{call("a", "bash", `{"command":"echo 🚀"}`)}}},
		"escapes in arguments": {[]string{arguments(`{\"command\":\"echo \\ud8`), delta(`"tool_calls":[{"index":0,"function":{"arguments":"3d\\ude80\"}"}}]`)},
			llm.Message{ToolCalls: []llm.ToolCall{call("a", "bash", `{"command":"echo \ud83d\ude80"}`)}}},
		"an empty piece between":    {[]string{delta(`"content":"\ud83d"`), delta(`"content":""`), delta(`"content":"\ude80"`)}, llm.Message{Content: "🚀"}},
		"bytes":                     {[]string{delta("\"content\":\"\xf0\x9f\""), delta("\"content\":\"\x9a\x80\"")}, llm.Message{Content: "🚀"}},
		"a half that stays one":     {[]string{delta(`"content":"a\ud83d"`), delta(`"content":"b\ude80"`)}, llm.Message{Content: "a\ufffdb\ufffd"}},
		"whole ones, and escapes":   {[]string{delta(`"content":"\ud83d\ude80 \u00e9 \"\\\/\b\f\n\r\t"`)}, llm.Message{Content: "🚀 é \"\\/\b\f\n\r\t"}},
		"a sign that uses it alone": {[]string{delta(`"content":"\ufffd\uffff"`)}, llm.Message{Content: "\ufffd\uffff"}},
	} {
		t.Run(name, func(t *testing.T) {
			end := "stop"
			if len(tc.want.ToolCalls) > 0 {
				end = "tool_calls"
			}
			got := complete(t, serve(t, says(events(append(tc.events, finish(end))...)), Config{}), hello()).Message
			tc.want.Role, tc.want.From = llm.RoleAssistant, got.From
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestThoughtsAreNoAnswer(t *testing.T) {
	for name, tc := range map[string]struct{ content, text, thoughts string }{
		"no mark to open them":       {"I should look.\n</think>\n\nIt is there.", "It is there.", "I should look."},
		"nor a line end":             {"I should look.</think>It is there.", "It is there.", "I should look."},
		"nothing behind":             {"I should look.\n</think>", "", "I should look."},
		"no mark, another pair":      {"I should look.\n[/THINK]\nIt is there.", "It is there.", "I should look."},
		"two blocks":                 {"<think>a</think>\n<think>b</think>It is there.", "It is there.", "a\nb"},
		"thinking":                   {"<thinking>a</thinking>\nIt is there.", "It is there.", "a"},
		"Magistral":                  {"[THINK]a[/THINK]It is there.", "It is there.", "a"},
		"Kimi":                       {"◁think▷a◁/think▷It is there.", "It is there.", "a"},
		"Hunyuan":                    {"<think>\na\n</think>\n<answer>\nIt is there.\n</answer>", "It is there.", "a"},
		"Cohere":                     {"<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>It is there.<|END_RESPONSE|>", "It is there.", "a"},
		"gpt-oss":                    {"<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>It is there.<|return|>", "It is there.", "a"},
		"gpt-oss, the answer alone":  {"<|channel|>final<|message|>It is there.<|return|>", "It is there.", ""},
		"words about the mark":       {"The parser cuts at `</think>`\nand it works.", "The parser cuts at `</think>`\nand it works.", ""},
		"words in a sentence":        {"The mark </think> is found now.", "The mark </think> is found now.", ""},
		"a mark in a block of code":  {"It gives\n```\n</think>\n```\nas it should.", "It gives\n```\n</think>\n```\nas it should.", ""},
		"a pair in the answer":       {"It wraps in <think>\nand </think>\nnow.", "It wraps in <think>\nand </think>\nnow.", ""},
		"the mark again, in words":   {"a\n</think>\nI cut at </think>\nnow.", "I cut at </think>\nnow.", "a"},
		"never an answer":            {"<think>I should", "", "I should"},
		"blank":                      {" \n\t", "", ""},
		"blank behind the thoughts":  {"<think>a</think>\n\n", "", "a"},
		"no thoughts, another brace": {"[ok] <b>bold</b>", "[ok] <b>bold</b>", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := judged(hello(), Quirks{}, llm.Message{Content: tc.content})
			if err != nil {
				t.Fatal(err)
			}
			if r.content != tc.text || r.reasoning != tc.thoughts {
				t.Errorf("%q, %q", r.content, r.reasoning)
			}
		})
	}
}
