package openai

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/yamldoc"
)

// long is a conversation with every kind of message.
func long() llm.Request {
	req := hello()
	req.MaxOutputTokens = 100
	req.Messages = append(req.Messages,
		llm.Message{Role: llm.RoleAssistant, Reasoning: "hm", ToolCalls: []llm.ToolCall{call("a", "bash", `{"command":"a < b"}`), call("b", "list", `{"cut`)}},
		llm.Message{Role: llm.RoleTool, ToolCallID: "a", Content: ""},
		llm.Message{Role: llm.RoleTool, ToolCallID: "b", Content: "bad\xffbyte"})
	return req
}

func TestRequestBody(t *testing.T) {
	body, _ := sent(t, Config{}, long())
	var want map[string]any
	if err := json.Unmarshal([]byte(`{
		"model": "m", "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 100, "tool_choice": "auto",
		"tools": [
			{"type": "function", "function": {"name": "bash", "description": "Run.", "parameters": {"type": "object",
				"properties": {"command": {"type": "string"}}, "required": ["command"], "additionalProperties": false}}},
			{"type": "function", "function": {"name": "list", "description": "List.", "parameters": {"type": "object", "properties": {}}}}],
		"messages": [
			{"role": "system", "content": "s"}, {"role": "user", "content": "hello"},
			{"role": "assistant", "content": null, "tool_calls": [
				{"id": "a", "type": "function", "function": {"name": "bash", "arguments": "{\"command\":\"a < b\"}"}},
				{"id": "b", "type": "function", "function": {"name": "list", "arguments": "{\"invalid_arguments\":\"{\\\"cut\"}"}}]},
			{"role": "tool", "tool_call_id": "a", "content": "(no output)"},
			{"role": "tool", "tool_call_id": "b", "content": "bad\ufffdbyte"}]}`), &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, body); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestQuirksInTheRequest(t *testing.T) {
	assistant := func(body map[string]any) map[string]any {
		return body["messages"].([]any)[2].(map[string]any)
	}
	absent := "absent"
	get := func(m map[string]any, name string) any {
		if v, ok := m[name]; ok {
			return v
		}
		return absent
	}
	top := func(name string) func(map[string]any) any {
		return func(b map[string]any) any { return get(b, name) }
	}
	ofAssistant := func(name string) func(map[string]any) any {
		return func(b map[string]any) any { return get(assistant(b), name) }
	}
	cases := map[string]struct {
		quirks string
		model  string
		read   func(map[string]any) any
		want   any
	}{
		"null content, default":         {"{}", "", ofAssistant("content"), nil},
		"null content, empty":           {"{nullContent: empty}", "", ofAssistant("content"), ""},
		"null content, omit":            {"{nullContent: omit}", "", ofAssistant("content"), absent},
		"tool choice after a result":    {"{toolChoice: required}", "", top("tool_choice"), "auto"},
		"tool choice always":            {"{toolChoice: always}", "", top("tool_choice"), "required"},
		"tool choice omitted":           {"{toolChoice: omit}", "", top("tool_choice"), absent},
		"parallel tool calls, default":  {"{}", "", top("parallel_tool_calls"), absent},
		"parallel tool calls off":       {"{parallelToolCalls: false}", "", top("parallel_tool_calls"), false},
		"max tokens, other field":       {"{maxTokensField: max_completion_tokens}", "", top("max_completion_tokens"), 100.0},
		"max tokens, only one field":    {"{maxTokensField: max_completion_tokens}", "", top("max_tokens"), absent},
		"max tokens of o3":              {"{}", "o3-mini", top("max_completion_tokens"), 100.0},
		"max tokens of gpt-5":           {"{}", "gpt-5.1", top("max_completion_tokens"), 100.0},
		"max tokens of gpt-5 by quirk":  {"{maxTokensField: max_tokens}", "gpt-5.1", top("max_tokens"), 100.0},
		"max tokens not sent":           {"{maxTokensField: none}", "", top("max_tokens"), absent},
		"temperature, default":          {"{}", "", top("temperature"), absent},
		"temperature 0":                 {"{temperature: 0}", "", top("temperature"), 0.0},
		"reasoning not replayed":        {"{}", "", ofAssistant("reasoning_content"), absent},
		"reasoning replayed":            {"{replayReasoning: reasoning_content}", "", ofAssistant("reasoning_content"), "hm"},
		"reasoning replayed, otherwise": {"{replayReasoning: reasoning}", "", ofAssistant("reasoning"), "hm"},
		"not streamed":                  {"{noStream: true}", "", top("stream"), false},
		"not streamed, no options":      {"{noStream: true}", "", top("stream_options"), absent},
		"no stream options":             {"{noStreamUsage: true}", "", top("stream_options"), absent},
		"extra body":                    {"{extraBody: {reasoning_effort: low, chat_template_kwargs: {enable_thinking: false}}}", "", top("chat_template_kwargs"), map[string]any{"enable_thinking": false}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root, err := yamldoc.Parse([]byte(tc.quirks), yamldoc.Limits{Bytes: 1024, Depth: 8, Nodes: 100})
			if err != nil {
				t.Fatal(err)
			}
			var q Quirks
			if problems := yamldoc.Decode(root, &q, nil); len(problems) > 0 {
				t.Fatal(problems)
			}
			req := long()
			if tc.model != "" {
				req.Model = tc.model
			}
			body, _ := sent(t, Config{Quirks: q}, req)
			if d := cmp.Diff(tc.want, tc.read(body)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
	body, _ := sent(t, Config{Quirks: Quirks{ToolChoice: ToolChoiceRequired}}, hello())
	if body["tool_choice"] != "required" {
		t.Errorf("tool_choice at the start: %v", body["tool_choice"])
	}
	bare := hello()
	bare.Tools = nil
	body, _ = sent(t, Config{Quirks: Quirks{ToolChoice: ToolChoiceAlways, ParallelToolCalls: ptr(true)}}, bare)
	for _, name := range []string{"tools", "tool_choice", "parallel_tool_calls"} {
		if _, ok := body[name]; ok {
			t.Errorf("%s was sent without tools", name)
		}
	}
}

func TestHeaders(t *testing.T) {
	_, header := sent(t, Config{}, hello())
	if _, ok := header["Authorization"]; ok {
		t.Error("Authorization was sent without a key")
	}
	if header.Get("Accept") != "text/event-stream" || header.Get("Content-Type") != "application/json" || header.Get(TaskHeader) != "" {
		t.Errorf("%v", header)
	}
	_, header = sent(t, Config{APIKey: " k1\n", TaskName: "fix", Headers: map[string]string{"x-team": "blue"}, Quirks: Quirks{NoStream: true}}, hello())
	want := map[string]string{"Authorization": "Bearer k1", TaskHeader: "fix", "X-Team": "blue", "Accept": "application/json"}
	for name, value := range want {
		if header.Get(name) != value {
			t.Errorf("%s: %q, want %q", name, header.Get(name), value)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no URL":            {},
		"no host":           {BaseURL: "http://"},
		"other scheme":      {BaseURL: "unix:///x"},
		"not a URL":         {BaseURL: "http://a b"},
		"password":          {BaseURL: "http://user:hunter2@host/v1"},
		"query":             {BaseURL: "http://host/v1?api-version=1"},
		"key with a break":  {BaseURL: "http://host", APIKey: "a\nb"},
		"quirk":             {BaseURL: "http://host", Quirks: Quirks{ToolChoice: "never"}},
		"temperature":       {BaseURL: "http://host", Quirks: Quirks{Temperature: ptr(3.0)}},
		"extra body's name": {BaseURL: "http://host", Quirks: Quirks{ExtraBody: map[string]any{"messages": nil}}},
		"extra body":        {BaseURL: "http://host", Quirks: Quirks{ExtraBody: map[string]any{"x": func() {}}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(cfg)
			if err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v", err)
			}
		})
	}
	err := Quirks{ToolChoice: "x", NullContent: "y"}.Validate()
	if err == nil || !strings.Contains(err.Error(), "toolChoice") || !strings.Contains(err.Error(), "nullContent") {
		t.Errorf("not all at once: %v", err)
	}
}

func TestConnectionIsUsedAgain(t *testing.T) {
	for name, body := range map[string]string{
		"streamed": events(delta(`"content":"x"`), finish("stop")),
		"whole":    message(`"content":"x"`, "stop"),
	} {
		t.Run(name, func(t *testing.T) {
			var conns atomic.Int32
			seen := map[string]bool{}
			p := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if !seen[r.RemoteAddr] {
					seen[r.RemoteAddr] = true
					conns.Add(1)
				}
				says(body)(w, r)
				flush(w)
				<-time.After(time.Millisecond) // the end of the body comes after its last byte
			}, Config{Quirks: Quirks{NoStream: name == "whole"}})
			for range 20 {
				complete(t, p, hello())
			}
			// A slow machine may miss the end once; without waiting for it there are 20.
			if conns.Load() > 5 {
				t.Errorf("%d connections", conns.Load())
			}
		})
	}
}
