package openai

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sampan-dev/sampan/internal/llm"
)

func call(id, name, args string) llm.ToolCall {
	return llm.ToolCall{ID: id, Name: name, Arguments: args}
}

const (
	ls   = `{"command":"ls"}`
	lsIn = `"{\"command\":\"ls\"}"` // as JSON in JSON
)

// replyCase is a way in which servers answer, streamed and whole, and what is
// made of it. An empty body is a form in which it does not occur.
type replyCase struct {
	stream, whole string
	quirks        Quirks
	text          string
	reasoning     string
	calls         []llm.ToolCall
	finish        llm.FinishReason
	usage         *llm.Usage
	notes         int
}

func TestReplies(t *testing.T) {
	cases := map[string]replyCase{
		"plain": {
			stream: events(delta(`"role":"assistant","content":"Hel"`), delta(`"content":"lo"`), finish("stop")),
			whole:  message(`"content":"Hello"`, "stop"),
			text:   "Hello", finish: llm.FinishStop,
		},
		"content null with calls": {
			stream: events(delta(`"content":null,"tool_calls":[{"index":0,"id":"a","function":{"name":"bash","arguments":`+lsIn+`}}]`), finish("tool_calls")),
			whole:  message(`"content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"bash","arguments":`+lsIn+`}}]`, "tool_calls"),
			calls:  []llm.ToolCall{call("a", "bash", ls)}, finish: llm.FinishToolCalls,
		},
		"content as parts": {
			stream: events(delta(`"content":[{"type":"text","text":"a"}]`), delta(`"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"b"}]`), finish("stop")),
			whole:  message(`"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"a"},{"type":"text","text":"b"}]`, "stop"),
			text:   "ab", reasoning: "hm", finish: llm.FinishStop,
		},
		"arguments an object": {
			stream: events(delta(`"tool_calls":[{"index":0,"id":"a","function":{"name":"bash","arguments":{"command":"ls"}}}]`), finish("tool_calls")),
			whole:  message(`"tool_calls":[{"id":"a","function":{"name":"bash","arguments":{"command":"ls"}}}]`, "tool_calls"),
			calls:  []llm.ToolCall{call("a", "bash", ls)}, finish: llm.FinishToolCalls,
		},
		"arguments null, missing and empty": {
			stream: events(delta(`"tool_calls":[{"index":0,"id":"a","function":{"name":"list","arguments":null}},{"index":1,"id":"b","function":{"name":"list"}},{"index":2,"id":"c","function":{"name":"list","arguments":""}}]`), finish("tool_calls")),
			whole:  message(`"tool_calls":[{"id":"a","function":{"name":"list","arguments":null}},{"id":"b","function":{"name":"list"}},{"id":"c","function":{"name":"list","arguments":""}}]`, "tool_calls"),
			calls:  []llm.ToolCall{call("a", "list", "{}"), call("b", "list", "{}"), call("c", "list", "{}")}, finish: llm.FinishToolCalls,
		},
		"arguments with a trailing comma": {
			stream: events(delta(`"tool_calls":[{"index":0,"id":"a","function":{"name":"bash","arguments":"{\"command\":\"ls\","}}]`), delta(`"tool_calls":[{"index":0,"function":{"arguments":"}"}}]`), finish("tool_calls")),
			whole:  message(`"tool_calls":[{"id":"a","function":{"name":"bash","arguments":"{\"command\":\"ls\",}"}}]`, "tool_calls"),
			calls:  []llm.ToolCall{call("a", "bash", ls)}, finish: llm.FinishToolCalls, notes: 1,
		},
		"arguments cut after a value": {
			whole: message(`"tool_calls":[{"id":"a","function":{"name":"bash","arguments":"{\"command\":\"ls\""}}]`, "tool_calls"),
			calls: []llm.ToolCall{call("a", "bash", ls)}, finish: llm.FinishToolCalls, notes: 1,
		},
		"arguments cut inside a string stay cut": {
			whole: message(`"tool_calls":[{"id":"a","function":{"name":"bash","arguments":"{\"command\":\"rm -rf /tmp"}}]`, "tool_calls"),
			calls: []llm.ToolCall{call("a", "bash", `{"command":"rm -rf /tmp`)}, finish: llm.FinishToolCalls,
		},
		"arguments encoded twice": {
			whole: message(`"tool_calls":[{"id":"a","function":{"name":"bash","arguments":"\"{\\\"command\\\":\\\"ls\\\"}\""}}]`, "tool_calls"),
			calls: []llm.ToolCall{call("a", "bash", ls)}, finish: llm.FinishToolCalls, notes: 1,
		},
		"length in the middle of a call": {
			stream: events(delta(`"tool_calls":[{"index":0,"id":"a","function":{"name":"bash","arguments":"{\"command\":\"ls\""}}]`), finish("length")),
			whole:  message(`"tool_calls":[{"id":"a","function":{"name":"bash","arguments":"{\"command\":\"ls\""}}]`, "length"),
			calls:  []llm.ToolCall{call("a", "bash", `{"command":"ls"`)}, finish: llm.FinishLength,
		},
		"finish stop with calls": {
			stream: events(delta(`"tool_calls":[{"index":0,"id":"a","function":{"name":"bash","arguments":`+lsIn+`}}]`), finish("stop")),
			whole:  message(`"tool_calls":[{"id":"a","function":{"name":"bash","arguments":`+lsIn+`}}]`, "stop"),
			calls:  []llm.ToolCall{call("a", "bash", ls)}, finish: llm.FinishToolCalls,
		},
		"ids missing": {
			stream: events(delta(`"tool_calls":[{"index":0,"function":{"name":"list","arguments":"{}"}},{"index":1,"function":{"name":"list","arguments":"{}"}}]`), finish("tool_calls")),
			whole:  message(`"tool_calls":[{"function":{"name":"list","arguments":"{}"}},{"id":null,"function":{"name":"list","arguments":"{}"}}]`, "tool_calls"),
			calls:  []llm.ToolCall{call("call00000", "list", "{}"), call("call00001", "list", "{}")}, finish: llm.FinishToolCalls,
		},
		"id a number": {
			stream: events(delta(`"tool_calls":[{"index":0,"id":7,"function":{"name":"list","arguments":"{}"}}]`), finish("tool_calls")),
			whole:  message(`"tool_calls":[{"id":7,"function":{"name":"list","arguments":"{}"}}]`, "tool_calls"),
			calls:  []llm.ToolCall{call("7", "list", "{}")}, finish: llm.FinishToolCalls,
		},
		"the same id twice": {
			stream: events(delta(`"tool_calls":[{"index":0,"id":"a","function":{"name":"list","arguments":"{}"}},{"index":1,"id":"a","function":{"name":"bash","arguments":`+lsIn+`}}]`), finish("tool_calls")),
			whole:  message(`"tool_calls":[{"id":"a","function":{"name":"list","arguments":"{}"}},{"id":"a","function":{"name":"bash","arguments":`+lsIn+`}}]`, "tool_calls"),
			calls:  []llm.ToolCall{call("a", "list", "{}"), call("call00000", "bash", ls)}, finish: llm.FinishToolCalls, notes: 1,
		},
		"a call without the level of function, and one alone": {
			whole: message(`"tool_calls":{"id":"a","name":"bash","arguments":`+lsIn+`}`, "tool_calls"),
			calls: []llm.ToolCall{call("a", "bash", ls)}, finish: llm.FinishToolCalls,
		},
		"the older function_call": {
			stream: events(delta(`"function_call":{"name":"bash","arguments":"{\"command\""}`), delta(`"function_call":{"arguments":":\"ls\"}"}`), finish("function_call")),
			whole:  message(`"function_call":{"name":"bash","arguments":`+lsIn+`}`, "function_call"),
			calls:  []llm.ToolCall{call("call00000", "bash", ls)}, finish: llm.FinishToolCalls,
		},
		"a template's marks on the name": {
			whole: message(`"tool_calls":[{"id":"a","function":{"name":"functions.bash<|channel|>json","arguments":`+lsIn+`}}]`, "tool_calls"),
			calls: []llm.ToolCall{call("a", "bash", ls)}, finish: llm.FinishToolCalls, notes: 1,
		},
		"reasoning_content": {
			stream: events(delta(`"reasoning_content":"I "`), delta(`"reasoning_content":"think"`), delta(`"content":"so"`), finish("stop")),
			whole:  message(`"reasoning_content":"I think","content":"so"`, "stop"),
			text:   "so", reasoning: "I think", finish: llm.FinishStop,
		},
		"reasoning, and the same in both fields": {
			stream: events(delta(`"reasoning":"I "`), delta(`"reasoning":"think","reasoning_content":"think"`), delta(`"content":"so"`), finish("stop")),
			whole:  message(`"reasoning":"I think","content":"so"`, "stop"),
			text:   "so", reasoning: "I think", finish: llm.FinishStop,
		},
		"reasoning left in the content": {
			stream: events(delta(`"content":"<thi"`), delta(`"content":"nk>I think</think>\n\nso"`), finish("stop")),
			whole:  message(`"content":"<think>I think</think>\n\nso"`, "stop"),
			text:   "so", reasoning: "I think", finish: llm.FinishStop,
		},
		"only reasoning is an empty reply": {
			stream: events(delta(`"content":"<think>I think and"`), finish("length")),
			whole:  message(`"content":"<think>I think and"`, "length"),
			text:   "", reasoning: "I think and", finish: llm.FinishLength,
		},
		"empty reply": {
			stream: events(delta(`"content":""`), finish("stop")),
			whole:  message(`"content":""`, "stop"),
			finish: llm.FinishStop,
		},
		"refusal": {
			stream: events(delta(`"refusal":"I will not."`), finish("stop")),
			whole:  message(`"content":null,"refusal":"I will not."`, "stop"),
			text:   "I will not.", finish: llm.FinishContentFilter, notes: 1,
		},
		"content filter": {
			stream: events(delta(`"content":"Hal"`), finish("content_filter")),
			whole:  message(`"content":"Hal"`, "content_filter"),
			text:   "Hal", finish: llm.FinishContentFilter,
		},
		"usage with details": {
			stream: events(delta(`"content":"x"`), finish("stop"), `{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}`),
			whole:  `{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}`,
			text:   "x", finish: llm.FinishStop,
			usage: &llm.Usage{InputTokens: 10, CachedInputTokens: 4, OutputTokens: 5, ReasoningTokens: 2},
		},
		"usage in floats, created a float": {
			stream: events(`{"created":1.5,"choices":[{"delta":{"content":"x"}}]}`, finish("stop"), `{"choices":[],"usage":{"prompt_tokens":10.0,"completion_tokens":"5","prompt_tokens_details":null}}`),
			whole:  `{"id":9,"created":1.7e9,"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10.0,"completion_tokens":5.0}}`,
			text:   "x", finish: llm.FinishStop, usage: &llm.Usage{InputTokens: 10, OutputTokens: 5},
		},
		"usage on every event, choices null": {
			stream: events(`{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":10,"completion_tokens":1}}`, finish("stop"), `{"choices":null,"usage":{"prompt_tokens":10,"completion_tokens":5}}`),
			text:   "x", finish: llm.FinishStop, usage: &llm.Usage{InputTokens: 10, OutputTokens: 5},
		},
		"reasoning counted beside the output": {
			whole: `{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":20}}}`,
			text:  "x", finish: llm.FinishStop, usage: &llm.Usage{InputTokens: 10, OutputTokens: 25, ReasoningTokens: 20},
		},
		"fields of odd types": {
			stream: events(`{"model":5,"object":[],"choices":[{"index":"0","delta":{"content":"x"},"finish_reason":{}}]}`, finish("stop")),
			whole:  `{"model":{"a":1},"choices":[{"index":"0","message":{"content":"x","role":7},"finish_reason":"stop","logprobs":3}]}`,
			text:   "x", finish: llm.FinishStop,
		},
		"text tool call ignored": {
			whole:  message(`"content":"<tool_call>{\"name\":\"bash\",\"arguments\":{\"command\":\"ls\"}}</tool_call>"`, "stop"),
			quirks: Quirks{TextToolCalls: TextToolCallsIgnore},
			text:   `<tool_call>{"name":"bash","arguments":{"command":"ls"}}</tool_call>`, finish: llm.FinishStop,
		},
		"tagged text tool calls salvaged": {
			stream: events(delta(`"content":"Let me see.\n<tool_call>\n{\"name\":\"bash\","`), delta(`"content":"\"arguments\":{\"command\":\"ls\"}}\n</tool_call>\n<tool_call>{\"name\":\"list\",\"arguments\":{}}"`), finish("stop")),
			whole:  message(`"content":"Let me see.\n<tool_call>\n{\"name\":\"bash\",\"arguments\":{\"command\":\"ls\"}}\n</tool_call>\n<tool_call>{\"name\":\"list\",\"arguments\":{}}"`, "stop"),
			quirks: Quirks{TextToolCalls: TextToolCallsSalvage},
			text:   "Let me see.", calls: []llm.ToolCall{call("call00000", "bash", ls), call("call00001", "list", "{}")},
			finish: llm.FinishToolCalls, notes: 2,
		},
		"fenced text tool call salvaged": {
			whole:  message(`"content":"So:\n`+"```json"+`\n{\"name\":\"bash\",\"parameters\":\"{\\\"command\\\":\\\"ls\\\"}\"}\n`+"```"+`\n"`, "stop"),
			quirks: Quirks{TextToolCalls: TextToolCallsSalvage},
			text:   "So:", calls: []llm.ToolCall{call("call00000", "bash", ls)}, finish: llm.FinishToolCalls, notes: 1,
		},
		"JSON in an answer is an answer": {
			whole:  message(`"content":"So:\n`+"```json"+`\n{\"name\":\"sampan\",\"arguments\":{}}\n`+"```"+`\n"`, "stop"),
			quirks: Quirks{TextToolCalls: TextToolCallsSalvage},
			text:   "So:\n```json\n{\"name\":\"sampan\",\"arguments\":{}}\n```\n", finish: llm.FinishStop,
		},
	}
	for name, tc := range cases {
		for form, body := range map[string]string{"streamed": tc.stream, "whole": tc.whole} {
			if body == "" {
				continue
			}
			t.Run(name+"/"+form, func(t *testing.T) {
				tc.quirks.NoStream = form == "whole"
				p := serve(t, says(body), Config{Quirks: tc.quirks})
				tc.check(t, complete(t, p, hello()))
			})
		}
	}
}

func (tc *replyCase) check(t *testing.T, got *llm.Response) {
	t.Helper()
	want := llm.Message{Role: llm.RoleAssistant, Content: tc.text, Reasoning: tc.reasoning, ToolCalls: tc.calls}
	want.From = got.Message.From // has a test of its own
	if d := cmp.Diff(want, got.Message, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("message (-want +got):\n%s", d)
	}
	if got.FinishReason != tc.finish {
		t.Errorf("finish reason %q, want %q", got.FinishReason, tc.finish)
	}
	if len(got.Notes) != tc.notes {
		t.Errorf("notes %q, want %d", got.Notes, tc.notes)
	}
	switch {
	case tc.usage != nil:
		if d := cmp.Diff(*tc.usage, got.Usage); d != "" {
			t.Errorf("usage (-want +got):\n%s", d)
		}
	case !got.Usage.Estimated || got.Usage.InputTokens < 50 || got.Usage.OutputTokens < 1:
		t.Errorf("estimated usage %+v", got.Usage)
	}
}

// The ways in which servers number the calls of a stream.
func TestStreamedCalls(t *testing.T) {
	one := []llm.ToolCall{call("a", "bash", ls)}
	two := []llm.ToolCall{call("a", "bash", ls), call("b", "list", "{}")}
	part := func(index, id, name, args string) string {
		text := `{`
		if index != "" {
			text += `"index":` + index + `,`
		}
		if id != "" {
			text += `"id":"` + id + `",`
		}
		if name != "" {
			name = `"name":"` + name + `",`
		}
		return text + `"function":{` + name + `"arguments":"` + args + `"}}`
	}
	calls := func(parts string) string { return delta(`"tool_calls":[` + parts + `]`) }
	cases := map[string]struct {
		events []string
		want   []llm.ToolCall
	}{
		"by the protocol": {[]string{
			calls(part("0", "a", "bash", "")), calls(part("0", "", "", `{\"command\"`)), calls(part("0", "", "", `:\"ls\"}`)),
			calls(part("1", "b", "list", "")), calls(part("1", "", "", `{}`)),
		}, two},
		"in between each other": {[]string{
			calls(part("0", "a", "bash", "")), calls(part("1", "b", "list", "")),
			calls(part("0", "", "", `{\"command\"`) + "," + part("1", "", "", `{`)), calls(part("0", "", "", `:\"ls\"}`) + "," + part("1", "", "", `}`)),
		}, two},
		"index missing": {[]string{
			calls(part("", "a", "bash", "")), calls(part("", "", "", `{\"command\"`)), calls(part("", "", "", `:\"ls\"}`)),
			calls(part("", "b", "list", "{}")),
		}, two},
		"index a string": {[]string{
			calls(part(`"0"`, "a", "bash", `{\"command\"`)), calls(part(`"0"`, "", "", `:\"ls\"}`)), calls(part(`"1"`, "b", "list", "{}")),
		}, two},
		"index null": {[]string{
			calls(part(`null`, "a", "bash", `{\"command\"`)), calls(part(`null`, "", "", `:\"ls\"}`)), calls(part(`null`, "b", "list", "{}")),
		}, two},
		"always index 0 with new ids": {[]string{
			calls(part("0", "a", "bash", `{\"command\"`)), calls(part("0", "", "", `:\"ls\"}`)), calls(part("0", "b", "list", "{}")),
		}, two},
		"both in one event, no index": {[]string{
			calls(part("", "a", "bash", `{\"command\":\"ls\"}`) + "," + part("", "b", "list", "")),
		}, two},
		"a name after arguments began, no ids": {[]string{
			calls(part("0", "", "bash", `{\"command\":\"ls\"}`)), calls(part("0", "", "bash", `{\"command\":\"pwd\"}`)),
		}, []llm.ToolCall{call("call00000", "bash", ls), call("call00001", "bash", `{"command":"pwd"}`)}},
		"the same call twice in one event, no ids": {[]string{
			calls(part("", "", "list", "") + "," + part("", "", "list", "")),
		}, []llm.ToolCall{call("call00000", "list", "{}"), call("call00001", "list", "{}")}},
		"the same id again for a second call": {[]string{
			calls(part("0", "a", "bash", `{\"command\":\"ls\"}`)), calls(part("0", "a", "bash", `{\"command\":\"pwd\"}`)),
		}, []llm.ToolCall{call("a", "bash", ls), call("call00000", "bash", `{"command":"pwd"}`)}},
		"arguments that grow": {[]string{
			calls(part("0", "a", "bash", `{\"comm`)), calls(part("0", "a", "bash", `{\"command\":`)), calls(part("0", "a", "bash", `{\"command\":\"ls\"}`)),
		}, one},
		"the whole again at the end": {[]string{
			calls(part("0", "a", "bash", `{\"comm`)), calls(part("0", "", "", `and\":\"ls\"}`)), calls(part("0", "a", "bash", `{\"command\":\"ls\"}`)),
		}, one},
		"the whole again, no index": {[]string{
			calls(part("", "a", "bash", `{\"command\":\"ls\"}`)), calls(part("", "a", "", `{\"command\":\"ls\"}`)),
		}, one},
		"the whole again, no ids": {[]string{
			calls(part("0", "", "bash", `{\"command\":\"ls\"}`)), calls(part("0", "", "bash", `{\"command\":\"ls\"}`)),
		}, []llm.ToolCall{call("call00000", "bash", ls)}},
		"the same in one event, with ids": {[]string{
			calls(part("0", "a", "bash", `{\"command\":\"ls\"}`) + "," + part("1", "b", "bash", `{\"command\":\"ls\"}`)),
		}, []llm.ToolCall{call("a", "bash", ls), call("b", "bash", ls)}},
		"an empty object before the arguments": {[]string{
			calls(part("0", "a", "bash", `{}`)), calls(part("0", "", "", `{\"command\":\"ls\"}`)),
		}, one},
		"id and name with every piece": {[]string{
			calls(part("0", "a", "bash", `{\"command\"`)), calls(part("0", "a", "bash", `:\"ls\"`)), calls(part("0", "a", "bash", `}`)), calls(part("0", "a", "bash", ``)),
		}, one},
		"a new id with every piece": {[]string{
			calls(part("0", "a", "bash", `{\"command\"`)), calls(part("0", "x", "", `:\"ls\"`)), calls(part("0", "y", "", `}`)),
		}, one},
		"id after the name": {[]string{
			calls(part("0", "", "bash", ``)), calls(part("0", "a", "", `{\"command\":\"ls\"}`)),
		}, one},
		"the name in pieces": {[]string{
			calls(part("0", "a", "ba", ``)), calls(part("0", "", "sh", ``)), calls(part("0", "", "", `{\"command\":\"ls\"}`)),
		}, one},
		"two names without arguments": {[]string{
			calls(part("0", "", "list", ``)), calls(part("0", "", "bash", ``)),
		}, []llm.ToolCall{call("call00000", "list", "{}"), call("call00001", "bash", "{}")}},
		"an empty call at the end": {[]string{
			calls(part("0", "a", "bash", `{\"command\":\"ls\"}`)), calls(part("1", "", "", ``)),
		}, one},
		"a whole message in a stream": {[]string{
			`{"choices":[{"index":0,"message":{"tool_calls":[` + part("", "a", "bash", `{\"command\":\"ls\"}`) + `]}}]}`,
		}, one},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := serve(t, says(events(append(tc.events, finish("tool_calls"))...)), Config{})
			got := complete(t, p, hello())
			if d := cmp.Diff(tc.want, got.Message.ToolCalls); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestIDsAreUniqueInTheConversation(t *testing.T) {
	req := hello()
	req.Messages = append(req.Messages,
		llm.Message{Role: llm.RoleAssistant, ToolCalls: []llm.ToolCall{call("call_0", "list", "{}"), call("call00002", "list", "{}")}},
		llm.Message{Role: llm.RoleTool, ToolCallID: "call_0", Content: "x"},
		llm.Message{Role: llm.RoleTool, ToolCallID: "call00002", Content: "x"})
	p := serve(t, says(message(`"tool_calls":[{"id":"call_0","function":{"name":"list"}}]`, "tool_calls")), Config{})
	got := complete(t, p, req)
	if id := got.Message.ToolCalls[0].ID; id != "call00003" {
		t.Errorf("id %q", id)
	}
}
