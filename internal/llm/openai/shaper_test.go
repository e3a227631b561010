package openai

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/llm"
)

// shaped is a conversation as it is sent, in short: "role: content", and for an
// assistant with calls "role: content [name name]".
func shaped(t *testing.T, q Quirks, messages ...llm.Message) []string {
	t.Helper()
	var out []string
	for _, m := range sentMessages(t, q, "", messages...) {
		content, _ := m["content"].(string)
		line := m["role"].(string) + ": " + content
		calls, _ := m["tool_calls"].([]any)
		var names []string
		for _, c := range calls {
			names = append(names, c.(map[string]any)["function"].(map[string]any)["name"].(string))
		}
		if names != nil {
			line += " [" + strings.Join(names, " ") + "]"
		}
		out = append(out, strings.TrimSpace(line))
	}
	return out
}

// sentMessages encodes a conversation at once and message by message: what is
// remembered in between must not show.
func sentMessages(t *testing.T, q Quirks, from string, messages ...llm.Message) []map[string]any {
	t.Helper()
	whole, err := (&messageEncoder{quirks: q}).encode(messages, from)
	if err != nil {
		t.Fatal(err)
	}
	e := &messageEncoder{quirks: q}
	for n := range len(messages) + 1 {
		steps, err := e.encode(messages[:n], from)
		if err != nil {
			t.Fatal(err)
		}
		if n == len(messages) && string(steps) != string(whole) {
			t.Errorf("message by message it is\n%s, at once\n%s", steps, whole)
		}
	}
	var out []map[string]any
	if err := json.Unmarshal([]byte("["+string(whole)+"]"), &out); err != nil {
		t.Fatalf("%v: %s", err, whole)
	}
	return out
}

func TestShapeOfConversations(t *testing.T) {
	system := llm.Message{Role: llm.RoleSystem, Content: "s"}
	user := func(s string) llm.Message { return llm.Message{Role: llm.RoleUser, Content: s} }
	said := func(s string, calls ...llm.ToolCall) llm.Message {
		return llm.Message{Role: llm.RoleAssistant, Content: s, ToolCalls: calls}
	}
	result := func(id, s string) llm.Message { return llm.Message{Role: llm.RoleTool, ToolCallID: id, Content: s} }
	a, b := call("a", "bash", "{}"), call("b", "list", "{}")
	fold, split, noSystem := Quirks{UserAfterTool: UserAfterToolFold}, Quirks{OneCallPerMessage: true}, Quirks{SystemRole: RoleUser}
	for name, tc := range map[string]struct {
		quirks   Quirks
		messages []llm.Message
		want     []string
	}{
		"as it is":                 {Quirks{}, []llm.Message{system, user("u"), said("", a), result("a", "r"), user("n"), said("x")}, []string{"system: s", "user: u", "assistant:  [bash]", "tool: r", "user: n", "assistant: x"}},
		"users in a row":           {Quirks{}, []llm.Message{system, user("u"), user("v"), user("w")}, []string{"system: s", "user: u\n\nv\n\nw"}},
		"assistants in a row":      {Quirks{}, []llm.Message{user("u"), said("x"), said("y", a), result("a", "r")}, []string{"user: u", "assistant: x\n\ny [bash]", "tool: r"}},
		"system prompts in a row":  {Quirks{}, []llm.Message{system, system, user("u")}, []string{"system: s\n\ns", "user: u"}},
		"a system prompt later":    {Quirks{}, []llm.Message{system, user("u"), said("x"), system, user("v")}, []string{"system: s", "user: u", "assistant: x", "user: s\n\nv"}},
		"no system prompt":         {noSystem, []llm.Message{system, user("u"), said("x")}, []string{"user: s\n\nu", "assistant: x"}},
		"developer":                {Quirks{SystemRole: RoleDeveloper}, []llm.Message{system, user("u")}, []string{"developer: s", "user: u"}},
		"user after tool":          {fold, []llm.Message{user("u"), said("", a), result("a", "r"), user("n"), user("m"), said("x"), user("v")}, []string{"user: u", "assistant:  [bash]", "tool: r\n\nn\n\nm", "assistant: x", "user: v"}},
		"user after several tools": {fold, []llm.Message{said("", a, b), result("a", "r"), result("b", "q"), user("n")}, []string{"assistant:  [bash list]", "tool: r", "tool: q\n\nn"}},
		"one call each":            {split, []llm.Message{said("x", a, b), result("a", "r"), result("b", "q"), said("y")}, []string{"assistant: x [bash]", "tool: r", "assistant:  [list]", "tool: q", "assistant: y"}},
		"one call each, and user": {Quirks{OneCallPerMessage: true, UserAfterTool: UserAfterToolFold}, []llm.Message{said("x", a, b), result("a", "r"), result("b", "q"), user("n"), said("y")},
			[]string{"assistant: x [bash]", "tool: r", "assistant:  [list]", "tool: q\n\nn", "assistant: y"}},
		"one call anyway":      {split, []llm.Message{said("x", a), result("a", "r"), user("n")}, []string{"assistant: x [bash]", "tool: r", "user: n"}},
		"blank ones":           {Quirks{}, []llm.Message{system, user(" "), user("u"), said("\n"), said(""), user("v"), said("\t", a), result("a", " \n")}, []string{"system: s", "user: u\n\nv", "assistant:  [bash]", "tool: (no output)"}},
		"blank ones, all":      {Quirks{}, []llm.Message{user(""), said(" ")}, nil},
		"blank ones at first":  {Quirks{}, []llm.Message{user(""), user("u"), said("x")}, []string{"user: u", "assistant: x"}},
		"a name made up":       {Quirks{}, []llm.Message{said("", call("a", "functions.rm -rf /", "{}"), call("b", "", "{}")), result("a", "r"), result("b", "r")}, []string{"assistant:  [functions_rm_-rf_ unknown_tool]", "tool: r", "tool: r"}},
		"a few words for none": {Quirks{NullContent: NullContentText}, []llm.Message{said("", a), result("a", "r")}, []string{"assistant: (tool calls) [bash]", "tool: r"}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, shaped(t, tc.quirks, tc.messages...)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestIDsThatFit(t *testing.T) {
	const long = "call_Zk3n1xT5QbB0aVYx7p2mWc9LaSdFgHjKlQwErTyUiOp"
	messages := []llm.Message{
		{Role: llm.RoleAssistant, From: "h/m", ToolCalls: []llm.ToolCall{call("functions.bash:0", "bash", "{}")}}, {Role: llm.RoleTool, ToolCallID: "functions.bash:0", Content: "r"},
		{Role: llm.RoleAssistant, From: "other/m", ToolCalls: []llm.ToolCall{call(long, "bash", "{}"), call("aB3456789", "list", "{}")}},
		{Role: llm.RoleTool, ToolCallID: long, Content: "r"}, {Role: llm.RoleTool, ToolCallID: "aB3456789", Content: "r"},
	}
	nine := regexp.MustCompile(`^[A-Za-z0-9]{9}$`)
	ids := func(q Quirks) []string {
		var out []string
		for _, m := range sentMessages(t, q, "h/m", messages...) {
			calls, _ := m["tool_calls"].([]any)
			for _, c := range calls {
				out = append(out, c.(map[string]any)["id"].(string))
			}
			if id, ok := m["tool_call_id"].(string); ok {
				if i := slices.Index(out, id); i < 0 {
					t.Errorf("a result of %s, the calls are %v", id, out)
				}
			}
		}
		return out
	}
	got := ids(Quirks{})
	if got[0] != "functions.bash:0" || !nine.MatchString(got[1]) || got[2] != "aB3456789" {
		t.Errorf("own and foreign: %v", got)
	}
	got = ids(Quirks{ToolCallIDs: ToolCallIDsAlnum9})
	if !nine.MatchString(got[0]) || !nine.MatchString(got[1]) || got[2] != "aB3456789" || got[0] == got[1] {
		t.Errorf("nine letters and digits: %v", got)
	}
}

// Opaque fields go back to who gave them, streamed or whole, and to nobody else.
func TestOpaqueFieldsGoBack(t *testing.T) {
	const own = `"extra_content":{"google":{"thought_signature":"c2ln"}},"custom":1`
	parts := func(fields string) string {
		return `"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"bash","arguments":"{}","thought_signature":"x"},` + own + `}],` + fields
	}
	streamed := events(
		delta(`"reasoning_details":[{"type":"reasoning.text","text":"I ","index":0,"format":"f"}],"thinking_blocks":[{"type":"thinking","thinking":"I "}]`),
		delta(`"reasoning_details":[{"type":"reasoning.text","text":"think","index":0},{"type":"reasoning.encrypted","data":"ZW5j","index":1}],"annotations":[1]`),
		delta(`"reasoning_details":[{"type":"reasoning.text","signature":"c2ln","index":1},{"type":"reasoning.text","text":"next","index":1}],"thinking_blocks":[{"type":"thinking","thinking":"think","signature":"c2ln"}]`),
		delta(`"provider_specific_fields":{"a":[1]},`+parts(`"reasoning_opaque":"b3A="`)), delta(`"provider_specific_fields":{"a":[2],"b":null},"reasoning_opaque":null`), finish("tool_calls"))
	got := complete(t, serve(t, says(streamed), Config{}), hello()).Message
	message := sentMessages(t, Quirks{}, got.From, got)[0]
	want := map[string]any{}
	if err := json.Unmarshal([]byte(`{"role":"assistant","content":null,"reasoning_opaque":"b3A=","provider_specific_fields":{"a":[1,2]},
		"reasoning_details":[{"type":"reasoning.text","text":"I think","index":0,"format":"f"},{"type":"reasoning.encrypted","data":"ZW5j","index":1},
			{"type":"reasoning.text","signature":"c2ln","index":1},{"type":"reasoning.text","text":"next","index":1}],
		"thinking_blocks":[{"type":"thinking","thinking":"I think","signature":"c2ln"}],
		"tool_calls":[{"id":"a","type":"function","function":{"name":"bash","arguments":"{}","thought_signature":"x"},`+own+`}]}`), &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, message); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	whole := message
	got = complete(t, serve(t, says(message2(t, whole)), Config{}), hello()).Message
	if d := cmp.Diff(want, sentMessages(t, Quirks{}, got.From, got)[0]); d != "" {
		t.Errorf("of a whole response (-want +got):\n%s", d)
	}
	for name, other := range map[string]map[string]any{
		"to another server": sentMessages(t, Quirks{}, "other/m", got)[0],
		"where refused":     sentMessages(t, Quirks{OpaqueFields: OpaqueFieldsDrop}, got.From, got)[0],
	} {
		fields := slices.Sorted(maps.Keys(other))
		fields = append(fields, slices.Sorted(maps.Keys(other["tool_calls"].([]any)[0].(map[string]any)))...)
		if d := cmp.Diff([]string{"content", "role", "tool_calls", "function", "id", "type"}, fields); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	filled := sentMessages(t, Quirks{ThoughtSignatures: ThoughtSignaturesFill}, "other/m", got)[0]
	if text, _ := json.Marshal(filled); !strings.Contains(string(text), "skip_thought_signature_validator") {
		t.Errorf("no signature was filled in: %s", text)
	}
}

// message2 is a message as a whole response.
func message2(t *testing.T, m map[string]any) string {
	t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return `{"choices":[{"index":0,"message":` + string(text) + `,"finish_reason":"tool_calls"}]}`
}

func TestReasoningIsSentWhereItBelongs(t *testing.T) {
	mine := llm.Message{Role: llm.RoleAssistant, From: "h/m", Reasoning: "hm", ToolCalls: []llm.ToolCall{call("a", "bash", "{}")}}
	theirs, none := mine, mine
	theirs.From, none.Reasoning = "other/m", ""
	answer := llm.Message{Role: llm.RoleAssistant, From: "h/m", Content: "x"}
	for name, tc := range map[string]struct {
		replay, field string
		m             llm.Message
		want          any
	}{
		"never":                       {"", "reasoning_content", mine, nil},
		"own":                         {ReplayReasoningContent, "reasoning_content", mine, "hm"},
		"another's":                   {ReplayReasoningContent, "reasoning_content", theirs, nil},
		"none":                        {ReplayReasoningContent, "reasoning_content", none, nil},
		"own, text":                   {ReplayReasoningText, "reasoning_text", mine, "hm"},
		"required":                    {ReplayRequired, "reasoning_content", mine, "hm"},
		"required, another's":         {ReplayRequired, "reasoning_content", theirs, ""},
		"required, none":              {ReplayRequired, "reasoning_content", none, ""},
		"required, none and no calls": {ReplayRequired, "reasoning_content", answer, nil},
	} {
		if got := sentMessages(t, Quirks{ReplayReasoning: tc.replay}, "h/m", tc.m)[0][tc.field]; got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestPlainSchemas(t *testing.T) {
	for name, tc := range map[string]struct{ schema, want string }{
		"keywords": {`{"$schema":"x","type":"object","additionalProperties":false,"title":"T","properties":{"a":{"type":"string","format":"uri","pattern":"x","default":"y","description":"d"},"n":{"type":"integer","exclusiveMinimum":0,"minimum":1}},"required":["a"]}`,
			`{"type":"object","properties":{"a":{"type":"string","description":"d"},"n":{"type":"integer","minimum":1}},"required":["a"]}`},
		"properties named like keywords": {`{"type":"object","properties":{"format":{"type":"string"},"default":{"type":"string"},"$schema":{"type":"boolean"}}}`,
			`{"type":"object","properties":{"format":{"type":"string"},"default":{"type":"string"},"$schema":{"type":"boolean"}}}`},
		"null":           {`{"type":"object","properties":{"a":{"type":["null","array"],"items":{"type":"string"}},"b":{"anyOf":[{"type":"null"},{"type":"number"}]}}}`, `{"type":"object","properties":{"a":{"type":"array","nullable":true,"items":{"type":"string"}},"b":{"type":"number"}}}`},
		"true and const": {`{"type":"object","properties":{"a":true,"b":{"type":"string","const":"x"},"c":{"type":"integer","enum":[1]},"d":{"type":"array"}}}`, `{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string","enum":["x"]},"c":{"type":"integer"},"d":{"type":"array","items":{"type":"string"}}}}`},
		"a reference":    {`{"type":"object","$defs":{"p":{"type":"object","properties":{"x":{"type":"string","format":"f"}}}},"properties":{"a":{"$ref":"#/$defs/p"}}}`, `{"type":"object","properties":{"a":{"type":"object","properties":{"x":{"type":"string"}}}}}`},
		"a circle":       {`{"type":"object","$defs":{"p":{"type":"object","properties":{"x":{"$ref":"#/$defs/p"}}}},"properties":{"a":{"$ref":"#/$defs/p"}}}`, ""},
		"no properties":  {`{"type":"object","properties":{},"additionalProperties":false}`, "none"},
		"nothing":        {``, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			got := plainSchema([]byte(tc.schema))
			var a, b any
			switch {
			case tc.want == "none" && got != nil, tc.want == "" && !json.Valid(got):
				t.Errorf("%s", got)
			case tc.want != "none" && tc.want != "":
				if json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(tc.want), &b) != nil || !cmp.Equal(a, b) {
					t.Errorf("%s, want %s", got, tc.want)
				}
			}
		})
	}
}
