package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/sampan-dev/sampan/internal/harness/llm"
)

// The places where models write tool calls as text. A fenced block must end the
// text: in the middle of an answer it is an example.
var (
	taggedCall = regexp.MustCompile(`(?s)<tool_call>(.*?)(?:</tool_call>|$)`)
	fencedCall = regexp.MustCompile("(?s)```(?:json|tool_call|tool_code)?[ \t]*\n(\\s*\\{.*\\}\\s*)\n?```\\s*$")
)

// maxTextCalls bounds the calls taken from one text.
const maxTextCalls = 32

// textCall is a candidate: where it stands and what it says.
type textCall struct {
	start, end int
	body       string
	// sure says that the model can have meant nothing else.
	sure bool
}

// textCalls looks for tool calls in the text of a reply that has none, and does
// with them what the quirk says.
func (x *exchange) textCalls(r *result) *llm.Error {
	if x.quirks.TextToolCalls == TextToolCallsIgnore || len(x.req.Tools) == 0 ||
		!strings.Contains(r.content, "{") || r.finish == llm.FinishLength {
		return nil
	}
	candidates := findTextCalls(r.content)
	var calls []llm.ToolCall
	var rest strings.Builder
	at := 0
	ids := x.newIDs()
	for _, c := range candidates {
		name, args, err := x.parseTextCall(c.body)
		if err != nil && !c.sure && errors.Is(err, errNoCall) {
			continue
		}
		if x.quirks.TextToolCalls != TextToolCallsSalvage {
			return textCallError("wrote a tool call as text")
		}
		if err != nil {
			return textCallError("wrote a tool call as text that cannot be used: " + err.Error())
		}
		calls = append(calls, llm.ToolCall{ID: ids.unique(""), Name: name, Arguments: args})
		rest.WriteString(r.content[at:c.start])
		at = c.end
		r.note("tool call %s salvaged from text", name)
	}
	if len(calls) > 0 {
		rest.WriteString(r.content[at:])
		r.content, r.calls = strings.TrimSpace(rest.String()), calls
	}
	return nil
}

func textCallError(what string) *llm.Error {
	return &llm.Error{Category: llm.TextToolCall, Retryable: true, Message: "the model " + what}
}

// findTextCalls gives the candidates in order, without overlap.
func findTextCalls(text string) []textCall {
	tagged := taggedCall.FindAllStringSubmatchIndex(text, maxTextCalls)
	found := make([]textCall, 0, len(tagged))
	for _, m := range tagged {
		found = append(found, textCall{m[0], m[1], text[m[2]:m[3]], true})
	}
	if len(found) > 0 {
		return found
	}
	if i := strings.LastIndex(strings.TrimRight(text, "` \t\r\n"), "```"); i >= 0 {
		if m := fencedCall.FindStringSubmatchIndex(text[i:]); m != nil {
			return []textCall{{i + m[0], i + m[1], text[i+m[2] : i+m[3]], false}}
		}
	}
	if trimmed := strings.TrimSpace(text); strings.HasPrefix(trimmed, "{") && strings.HasSuffix(trimmed, "}") {
		return []textCall{{0, len(text), trimmed, false}}
	}
	return nil
}

// errNoCall says that a text only looked like a call.
var errNoCall = errors.New("it names no tool that exists")

// parseTextCall reads {"name": …, "arguments": {…}} and checks it against the tool.
func (x *exchange) parseTextCall(body string) (name, args string, err error) {
	var call struct {
		Name       flexString      `json:"name"`
		Arguments  json.RawMessage `json:"arguments"`
		Parameters json.RawMessage `json:"parameters"`
	}
	if err := tolerant(json.Unmarshal([]byte(body), &call)); err != nil {
		return "", "", fmt.Errorf("%w: not valid JSON", errNoCall)
	}
	raw := call.Arguments
	if len(raw) == 0 {
		raw = call.Parameters
	}
	name = x.cleanName(string(call.Name))
	tool := x.tool(name)
	if tool == nil || len(raw) == 0 {
		return "", "", errNoCall
	}
	args, _ = normalizeArguments(argumentText(raw), false)
	if err := fits(tool, args); err != nil {
		return "", "", fmt.Errorf("arguments of %s: %w", name, err)
	}
	return name, args, nil
}

// fits checks arguments against a tool's schema.
func fits(tool *llm.ToolSpec, args string) error {
	var instance map[string]any
	if err := json.Unmarshal([]byte(args), &instance); err != nil {
		return errors.New("not a JSON object")
	}
	if len(tool.Parameters) == 0 {
		return nil
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(tool.Parameters, &schema); err != nil {
		return fmt.Errorf("reading the tool's schema: %w", err)
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		return fmt.Errorf("reading the tool's schema: %w", err)
	}
	return resolved.Validate(instance)
}
