package harness

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/openai"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// defects is what is known to arrive from servers that claim the protocol, and
// what they are known to refuse.
var defects = []struct {
	name  string
	cases []defect
}{
	{"content null or empty beside calls", []defect{
		{name: "null accepted", replies: []answer{replied(toolCalls(bash("a", "one")), "tool_calls")}, results: []string{"one"}},
		{name: "empty accepted", replies: []answer{replied(`"content":"","tool_calls":[`+bash("a", "one")+`]`, "tool_calls")}, results: []string{"one"}},
		{name: "none accepted", replies: []answer{replied(`"tool_calls":[`+bash("a", "one")+`]`, "tool_calls")}, results: []string{"one"}},
		{name: "null sent", replies: []answer{replied(toolCalls(bash("a", "one")), "tool_calls")}, results: []string{"one"}, sent: []string{"messages.content=null"}},
		{name: "empty wanted", quirks: openai.Quirks{NullContent: openai.NullContentEmpty},
			replies: []answer{replied(toolCalls(bash("a", "one")), "tool_calls")}, results: []string{"one"}, sent: []string{`messages.content=""`}},
		{name: "none wanted", quirks: openai.Quirks{NullContent: openai.NullContentOmit},
			replies: []answer{replied(toolCalls(bash("a", "one")), "tool_calls")}, results: []string{"one"}, sent: []string{"messages.content=absent"}},
	}},
	{"arguments", []defect{
		{name: "an object", replies: []answer{replied(toolCalls(withArguments(`{"command":"echo one"}`)), "tool_calls")}, results: []string{"one"}},
		{name: "null", replies: []answer{replied(toolCalls(withArguments("null")), "tool_calls")}, results: []string{"exactly one of command"}},
		{name: "missing", replies: []answer{replied(toolCalls(`{"id":"a","function":{"name":"bash"}}`), "tool_calls")}, results: []string{"exactly one of command"}},
		{name: "a trailing comma", replies: []answer{replied(toolCalls(withArguments(`"{\"command\":\"echo one\",}"`)), "tool_calls")},
			results: []string{"one"}, note: "arguments of bash repaired"},
		{name: "cut after a value", replies: []answer{replied(toolCalls(withArguments(`"{\"command\":\"echo one\""`)), "tool_calls")},
			results: []string{"one"}, note: "arguments of bash repaired"},
		{name: "cut inside a value", replies: []answer{replied(toolCalls(withArguments(`"{\"command\":\"rm -r x"`)), "tool_calls")},
			results: []string{"Nothing was done"}},
	}},
	{"id missing, a number, or twice", []defect{
		{name: "missing", replies: []answer{replied(toolCalls(withID(""), withID("")), "tool_calls")}, results: []string{"one", "one"}},
		{name: "null", replies: []answer{replied(toolCalls(withID(`"id":null,`), withID(`"id":null,`)), "tool_calls")}, results: []string{"one", "one"}},
		{name: "a number", replies: []answer{replied(toolCalls(withID(`"id":7,`), withID(`"id":8,`)), "tool_calls")}, results: []string{"one", "one"}},
		{name: "twice in a reply", replies: []answer{replied(toolCalls(bash("a", "one"), bash("a", "two")), "tool_calls")}, results: []string{"one", "two"}, note: "was not new"},
		{name: "twice in a run", replies: []answer{replied(toolCalls(bash("a", "one")), "tool_calls"), replied(toolCalls(bash("a", "two")), "tool_calls")},
			results: []string{"one", "two"}},
	}},
	{"index in a stream", []defect{
		{name: "missing", form: "streamed", replies: []answer{pieces(piece("", "a", "bash", `{\"comm`), piece("", "", "", `and\":\"echo one\"}`), piece("", "b", "bash", `{\"command\":\"echo two\"}`))},
			results: []string{"one", "two"}},
		{name: "a string", form: "streamed", replies: []answer{pieces(piece(`"0"`, "a", "bash", `{\"comm`), piece(`"1"`, "b", "bash", `{\"command\":\"echo two\"}`), piece(`"0"`, "", "", `and\":\"echo one\"}`))},
			results: []string{"one", "two"}},
		{name: "always 0, ids are new", form: "streamed", replies: []answer{pieces(piece("0", "a", "bash", `{\"command\":\"echo one\"}`), piece("0", "b", "bash", `{\"command\":\"echo two\"}`))},
			results: []string{"one", "two"}},
		{name: "always 0, a name after arguments", form: "streamed", replies: []answer{pieces(piece("0", "", "bash", `{\"command\":\"echo one\"}`), piece("0", "", "bash", `{\"command\":\"echo two\"}`))},
			results: []string{"one", "two"}},
		{name: "new", form: "streamed", replies: []answer{pieces(piece("0", "a", "bash", `{\"command\":\"echo one\"}`), piece("5", "b", "bash", `{\"command\":\"echo two\"}`))},
			results: []string{"one", "two"}},
	}},
	{"finish_reason", []defect{
		{name: "stop with calls", replies: []answer{replied(toolCalls(bash("a", "one")), "stop")}, results: []string{"one"}},
		{name: "tool_calls with none, once", replies: []answer{replied(`"content":"I will."`, "tool_calls")}, failed: []llm.Category{llm.EmptyResponse}},
		{name: "tool_calls with none, for ever", replies: []answer{replied(`"content":"I will."`, "tool_calls")}, forever: true,
			want: EmptyResponse, failed: []llm.Category{llm.EmptyResponse, llm.EmptyResponse, llm.EmptyResponse}},
		{name: "length in the middle of a call", replies: []answer{replied(toolCalls(bash("a", "one"), withArguments(`"{\"command\":\"rm -r x\""`)), "length")},
			results: []string{"one", "reached the output limit"}},
		{name: "half a sentence with an unknown one", replies: []answer{replied(`"content":"First I will"`, "insert_coin")}, failed: []llm.Category{llm.TruncatedStream}},
		{name: "half a sentence with an unknown one, for ever", replies: []answer{replied(`"content":"First I will"`, "insert_coin")}, forever: true,
			want: ModelUnavailable, category: llm.TruncatedStream, failed: []llm.Category{llm.TruncatedStream, llm.TruncatedStream, llm.TruncatedStream}},
		{name: "paused", replies: []answer{replied(`"content":"First I will"`, "pause_turn")}, notice: transcript.NoticePaused},
		{name: "a malformed call", replies: []answer{replied(`"content":""`, "MALFORMED_FUNCTION_CALL")}, failed: []llm.Category{llm.ModelQuality}, notice: transcript.NoticeUnusableReply},
		{name: "the window", replies: []answer{replied(`"content":"First I"`, "model_context_window_exceeded")}, want: ContextExhausted, failed: []llm.Category{llm.ContextLength}},
		{name: "length in the middle of the text", replies: []answer{replied(`"content":"I am"`, "length")}, notice: transcript.NoticeOutputLimit},
	}},
	{"calls in the text", []defect{
		{name: "tagged, salvaged", quirks: openai.Quirks{TextToolCalls: openai.TextToolCallsSalvage}, replies: []answer{replied(tagged("bash", `{\"command\":\"echo one\"}`), "stop")},
			results: []string{"one"}, note: "salvaged"},
		{name: "fenced, salvaged", quirks: openai.Quirks{TextToolCalls: openai.TextToolCallsSalvage}, results: []string{"one"}, note: "salvaged",
			replies: []answer{replied("\"content\":\"So:\\n```json\\n{\\\"name\\\":\\\"bash\\\",\\\"arguments\\\":{\\\"command\\\":\\\"echo one\\\"}}\\n```\"", "stop")}},
		{name: "the model is told, once", notice: transcript.NoticeUnusableReply, failed: []llm.Category{llm.TextToolCall},
			replies: []answer{replied(`"content":"<function=bash><parameter=command>ls</parameter></function>"`, "stop")}},
		{name: "not without the quirk", replies: []answer{replied(tagged("bash", `{\"command\":\"echo one\"}`), "stop")}, forever: true,
			want: ModelUnavailable, category: llm.TextToolCall, failed: []llm.Category{llm.TextToolCall, llm.TextToolCall, llm.TextToolCall}},
		{name: "not with a wrong name", quirks: openai.Quirks{TextToolCalls: openai.TextToolCallsSalvage}, replies: []answer{replied(tagged("rm", `{\"command\":\"x\"}`), "stop")},
			forever: true, want: ModelUnavailable, category: llm.TextToolCall, failed: []llm.Category{llm.TextToolCall, llm.TextToolCall, llm.TextToolCall}},
		{name: "not with wrong arguments", quirks: openai.Quirks{TextToolCalls: openai.TextToolCallsSalvage}, replies: []answer{replied(tagged("bash", `{\"command\":5}`), "stop")},
			forever: true, want: ModelUnavailable, category: llm.TextToolCall, failed: []llm.Category{llm.TextToolCall, llm.TextToolCall, llm.TextToolCall}},
	}},
	{"reasoning", []defect{
		{name: "reasoning_content", replies: []answer{replied(`"reasoning_content":"hm",`+toolCalls(bash("a", "one")), "tool_calls")},
			results: []string{"one"}, reasoning: "hm", sent: []string{"messages.reasoning_content=absent", "messages.reasoning=absent"}},
		{name: "reasoning", replies: []answer{replied(`"reasoning":"hm",`+toolCalls(bash("a", "one")), "tool_calls")},
			results: []string{"one"}, reasoning: "hm", sent: []string{"messages.reasoning_content=absent", "messages.reasoning=absent"}},
		{name: "replayed as reasoning_content", quirks: openai.Quirks{ReplayReasoning: openai.ReplayReasoningContent},
			replies: []answer{replied(`"reasoning_content":"hm",`+toolCalls(bash("a", "one")), "tool_calls")}, results: []string{"one"}, sent: []string{`messages.reasoning_content="hm"`}},
		{name: "replayed as reasoning", quirks: openai.Quirks{ReplayReasoning: openai.ReplayReasoning},
			replies: []answer{replied(`"reasoning":"hm",`+toolCalls(bash("a", "one")), "tool_calls")}, results: []string{"one"}, sent: []string{`messages.reasoning="hm"`}},
		{name: "and nothing else", replies: []answer{replied(`"reasoning_content":"hm","content":""`, "stop")}, forever: true, want: EmptyResponse, notice: transcript.NoticeEmptyReply},
	}},
	{"nothing in it", []defect{
		{name: "choices empty, once", replies: []answer{raw(`{"choices":[]}`)}, failed: []llm.Category{llm.EmptyResponse}},
		{name: "choices null, once", replies: []answer{raw(`{"choices":null}`)}, failed: []llm.Category{llm.EmptyResponse}},
		{name: "choices empty, for ever", replies: []answer{raw(`{"choices":[]}`)}, forever: true,
			want: EmptyResponse, failed: []llm.Category{llm.EmptyResponse, llm.EmptyResponse, llm.EmptyResponse}},
		{name: "an error inside a 200, once", replies: []answer{raw(`{"error":{"message":"boom"}}`)}, failed: []llm.Category{llm.Overloaded}},
		{name: "an error inside a 200, for ever", replies: []answer{raw(`{"error":"boom"}`)}, forever: true,
			want: ModelUnavailable, category: llm.Overloaded, failed: []llm.Category{llm.Overloaded, llm.Overloaded, llm.Overloaded}},
		{name: "an empty reply, once", replies: []answer{replied(`"content":""`, "stop")}, notice: transcript.NoticeEmptyReply},
		{name: "an empty reply, for ever", replies: []answer{replied(`"content":" \n"`, "stop")}, forever: true, want: EmptyResponse, notice: transcript.NoticeEmptyReply},
	}},
	{"usage and created", []defect{
		{name: "missing", replies: []answer{withUsage("")}, usage: &llm.Usage{Estimated: true}},
		{name: "null", replies: []answer{withUsage(`,"usage":null`)}, usage: &llm.Usage{Estimated: true}},
		{name: "in floats", replies: []answer{withUsage(`,"created":1.7e9,"usage":{"prompt_tokens":100.0,"completion_tokens":10.0}`)}, usage: &llm.Usage{InputTokens: 100, OutputTokens: 10}},
		{name: "with cached and reasoning tokens", usage: &llm.Usage{InputTokens: 100, CachedInputTokens: 60, OutputTokens: 10, ReasoningTokens: 4},
			replies: []answer{withUsage(`,"usage":{"prompt_tokens":100,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":60},"completion_tokens_details":{"reasoning_tokens":4}}`)}},
	}},
	{"content as parts", []defect{
		{name: "joined", replies: []answer{replied(`"content":[{"type":"text","text":"joi"},{"type":"text","text":"ned"}]`, "stop")}, message: "joined"},
	}},
	{"failures that may pass", []defect{
		{name: "429", replies: []answer{status(429, apiError("rate_limit", "slow down"))}, failed: []llm.Category{llm.RateLimited}},
		{name: "408", replies: []answer{status(408, "")}, failed: []llm.Category{llm.Timeout}},
		{name: "409", replies: []answer{status(409, "")}, failed: []llm.Category{llm.Overloaded}},
		{name: "500", replies: []answer{status(500, "oops")}, failed: []llm.Category{llm.Overloaded}},
		{name: "502", replies: []answer{status(502, "<html>")}, failed: []llm.Category{llm.Overloaded}},
		{name: "503", replies: []answer{status(503, "")}, failed: []llm.Category{llm.Overloaded}},
		{name: "connection reset", replies: []answer{resets}, failed: []llm.Category{llm.Network}},
		{name: "cut in the middle", replies: []answer{breaks}, failed: []llm.Category{llm.TruncatedStream}},
		{name: "cut without an error", form: "streamed", replies: []answer{func(w http.ResponseWriter, _ bool) {
			_, _ = fmt.Fprintf(w, "data: %s\n\n", chunk(`"content":"hal"`))
		}}, failed: []llm.Category{llm.TruncatedStream}},
		{name: "retries are bounded", replies: []answer{status(503, "")}, forever: true,
			want: ModelUnavailable, category: llm.Overloaded, failed: []llm.Category{llm.Overloaded, llm.Overloaded, llm.Overloaded}},
		{name: "Retry-After in seconds", replies: []answer{status(429, "", "Retry-After", "0.03")}, failed: []llm.Category{llm.RateLimited}, waited: 30 * time.Millisecond},
		{name: "Retry-After as a date", replies: []answer{status(503, "", "Date", "Fri, 02 Jan 2026 09:00:00 GMT", "Retry-After", "Fri, 02 Jan 2026 09:00:01 GMT")},
			failed: []llm.Category{llm.Overloaded}, waited: time.Second},
		{name: "retry-after-ms", replies: []answer{status(429, "", "retry-after-ms", "20")}, failed: []llm.Category{llm.RateLimited}, waited: 20 * time.Millisecond},
		{name: "Retry-After beyond the cap", replies: []answer{status(429, "", "Retry-After", "3600")},
			want: ModelUnavailable, category: llm.RateLimited, failed: []llm.Category{llm.RateLimited}},
	}},
	{"failures that do not pass", []defect{
		final("401", 401, apiError("invalid_api_key", "wrong key"), llm.CredentialConfig),
		final("403", 403, "", llm.CredentialConfig),
		final("404", 404, apiError("model_not_found", "no such model"), llm.ProviderUnsupported),
		{name: "context length", replies: []answer{status(400, apiError("context_length_exceeded", "maximum context length is 10"))}, forever: true,
			want: ContextExhausted, failed: []llm.Category{llm.ContextLength}},
		final("quota", 429, apiError("insufficient_quota", "you exceeded your current quota"), llm.QuotaExceeded),
		final("402", 402, "", llm.QuotaExceeded),
		final("content filter", 400, apiError("content_filter", "filtered"), llm.ContentFilter),
		{name: "content filter in a reply", replies: []answer{replied(`"content":"ha"`, "content_filter")}, want: ModelUnavailable, category: llm.ContentFilter},
	}},
	{"fields needed or refused", []defect{
		{name: "tool_choice required", quirks: openai.Quirks{ToolChoice: openai.ToolChoiceRequired}, sent: []string{`tool_choice="required"`}},
		refuses("tool_choice", openai.Quirks{}),
		{name: "tool_choice left out", quirks: openai.Quirks{ToolChoice: openai.ToolChoiceOmit}, sent: []string{"tool_choice=absent"}},
		refuses("parallel_tool_calls", openai.Quirks{ParallelToolCalls: new(bool)}),
		{name: "parallel_tool_calls left out", sent: []string{"parallel_tool_calls=absent"}},
		{name: "parallel_tool_calls off", quirks: openai.Quirks{ParallelToolCalls: new(bool)}, sent: []string{"parallel_tool_calls=false"}},
		refuses("max_tokens", openai.Quirks{}),
		{name: "max_completion_tokens", quirks: openai.Quirks{MaxTokensField: openai.MaxCompletionTokens}, sent: []string{"max_completion_tokens=100", "max_tokens=absent"}},
		{name: "max_completion_tokens by name", id: "o3-mini", sent: []string{"max_completion_tokens=100", "max_tokens=absent"}},
	}},
	{"faults of the client library", []defect{
		{name: "an error that is a string", replies: []answer{status(500, `{"error":"boom"}`)}, failed: []llm.Category{llm.Overloaded}},
		{name: "a result without text is sent", replies: []answer{replied(toolCalls(withArguments(`"{\"command\":\"true\"}"`)), "tool_calls")}, results: []string{"no output"}},
		{name: "temperature 0", quirks: openai.Quirks{Temperature: new(float64)}, sent: []string{"temperature=0"}},
		{name: "a field of one server", quirks: openai.Quirks{ExtraBody: map[string]any{"reasoning_effort": "low"}}, sent: []string{`reasoning_effort="low"`}},
		{name: "an error event in another spelling", form: "streamed", replies: []answer{func(w http.ResponseWriter, _ bool) {
			_, _ = fmt.Fprint(w, "event: error\ndata: {\"message\":\"boom\"}\n\n")
		}}, failed: []llm.Category{llm.Overloaded}},
		{name: "keep-alive lines", form: "streamed", replies: []answer{func(w http.ResponseWriter, streamed bool) {
			_, _ = fmt.Fprint(w, strings.Repeat(": keep-alive\n\n", 1000))
			replied(`"content":"alive"`, "stop")(w, streamed)
		}}, message: "alive"},
	}},
}

// withArguments is a call of bash with arguments in any form.
func withArguments(json string) string {
	return `{"index":1,"id":"x","type":"function","function":{"name":"bash","arguments":` + json + `}}`
}

// withID is a call of bash with an id in any form.
func withID(field string) string {
	return `{` + field + `"type":"function","function":{"name":"bash","arguments":` + echo("one") + `}}`
}

// piece is a part of a call in a stream; what is empty is not in it.
func piece(index, id, name, arguments string) string {
	var fields []string
	for _, f := range [][2]string{{"index", index}, {"id", id}} {
		switch {
		case f[1] == "":
		case f[0] == "id":
			fields = append(fields, `"id":"`+f[1]+`"`)
		default:
			fields = append(fields, `"index":`+f[1])
		}
	}
	if name != "" {
		name = `"name":"` + name + `",`
	}
	return `{` + strings.Join(append(fields, `"function":{`+name+`"arguments":"`+arguments+`"}`), ",") + `}`
}

// tagged is a text with a call in it.
func tagged(name, arguments string) string {
	return `"content":"Let me see.\n<tool_call>{\"name\":\"` + name + `\",\"arguments\":` + arguments + `}</tool_call>"`
}

// withUsage is a reply with a usage in any form, which a whole response ends with
// and a stream sends in an event of its own.
func withUsage(fields string) answer {
	return func(w http.ResponseWriter, streamed bool) {
		if !streamed {
			raw(`{"choices":[{"message":{"content":"done"},"finish_reason":"stop"}]`+fields+`}`)(w, false)
			return
		}
		stream(chunk(`"content":"done"`), `{"choices":[{"delta":{},"finish_reason":"stop"}]}`, `{"choices":[]`+fields+`}`)(w, true)
	}
}

// final is a failure that is never sent again.
func final(name string, code int, body string, category llm.Category) defect {
	return defect{name: name, replies: []answer{status(code, body)}, forever: true,
		want: ModelUnavailable, category: category, failed: []llm.Category{category}}
}

// refuses is a server that does not know a field: it gets the request without it.
func refuses(field string, q openai.Quirks) defect {
	return defect{
		name: field + " refused", quirks: q, failed: []llm.Category{llm.ProviderUnsupported}, sent: []string{field + "=absent"},
		replies: []answer{status(400, apiError("unsupported_parameter", "Unsupported parameter: '"+field+"'"))},
	}
}
