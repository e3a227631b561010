package openai

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/text"
)

// textCalls looks for tool calls in the text of a reply that has none, and does
// with them what the quirk says. A call at the end of the thoughts counts too: a
// server that takes everything before some mark for thoughts put it there.
func (x *exchange) textCalls(r *result) *llm.Error {
	if x.quirks.TextToolCalls == TextToolCallsIgnore || len(x.req.Tools) == 0 || r.finish == llm.FinishLength {
		return nil
	}
	l := x.lookup()
	where, in := "text", &r.content
	found, searched := l.find(r.content)
	if len(found) == 0 {
		where, in = "thoughts", &r.reasoning
		found, searched = l.find(r.reasoning)
		found = lastCalls(found, searched)
		if len(found) > 0 && r.content != "" && !found[0].marked(searched) {
			found = nil // beside an answer, JSON alone may be a thought about it
		}
	}
	if len(found) == 0 {
		return x.strayMarks(r, l)
	}
	name := found[0].calls[0].name
	if x.quirks.TextToolCalls != TextToolCallsSalvage {
		return textCallError(name, fmt.Sprintf("wrote a call of %s into its %s", name, where))
	}
	calls, err := x.salvage(found)
	if err != nil {
		return textCallError(name, fmt.Sprintf("wrote a call of %s into its %s that cannot be used: %v", name, where, err))
	}
	r.calls = calls
	for i := range calls {
		r.note("tool call %s salvaged from the %s", calls[i].Name, where)
	}
	*in = without(searched, found)
	return nil
}

// strayMarks handles a reply that ends with a marked call of a tool that does not
// exist, or that is nothing but what a parser left over.
func (x *exchange) strayMarks(r *result, l *lookup) *llm.Error {
	if isProse(r.content) || len(r.content) > maxMarkupBytes {
		return nil
	}
	if onlyMarks(r.content) {
		r.note("a reply of marks alone taken as empty: %q", text.Clip(r.content, 80))
		r.content = ""
		return nil
	}
	content := plainMarkup(r.content)
	anyName := *l
	anyName.tool = func(name string) string {
		if !foreignName.MatchString(name) {
			return ""
		}
		return name
	}
	name := foreignCall(content)
	for _, f := range anyName.findMarked(content) {
		if f.marked(content) && f.calls[0].whole && onlyMarks(content[f.end:]) && !inCode(content, f.start) {
			name = f.calls[0].name
		}
	}
	switch {
	case name != "":
		return textCallError(name, fmt.Sprintf("wrote a call of %s as text, and there is no such tool", text.Clip(name, 64)))
	case endsInMarks(content):
		return textCallError("a tool", "ended its text with the marks of a tool call, and made none")
	}
	return nil
}

var foreignName = compile(`^[A-Za-z_][A-Za-z0-9_.:/-]*$`)

// marked says that calls begin with a mark of some markup.
func (f *foundCalls) marked(text string) bool {
	start := strings.TrimLeft(text[f.start:], blanks)
	return strings.HasPrefix(start, "<") || strings.HasPrefix(start, "[TOOL")
}

func textCallError(name, what string) *llm.Error {
	return &llm.Error{
		Category: llm.TextToolCall, Retryable: true, Message: "the model " + what,
		Hint: fmt.Sprintf("Your last reply held a call of %s as text, in markup that nobody reads here, so nothing was run. "+
			"Call tools through the tool calls of this interface only, never in the text or in your thoughts. "+
			"If you meant to show markup and not to call anything, put it between backticks.", text.Clip(name, 64)),
	}
}

// salvage makes tool calls of what was found, all of it or nothing.
func (x *exchange) salvage(found []foundCalls) ([]llm.ToolCall, error) {
	var calls []llm.ToolCall
	ids := x.newIDs()
	for _, f := range found {
		for _, c := range f.calls {
			if !c.whole {
				return nil, fmt.Errorf("the call of %s is not complete", c.name)
			}
			if len(calls) == maxTextCalls {
				return nil, fmt.Errorf("there are more than %d", maxTextCalls)
			}
			if err := fits(x.tool(c.name), c.args); err != nil {
				return nil, fmt.Errorf("arguments of %s: %w", c.name, err)
			}
			calls = append(calls, llm.ToolCall{ID: ids.unique(""), Name: c.name, Arguments: c.args})
		}
	}
	return calls, nil
}

// without is a text without the calls that were found in it.
func without(content string, found []foundCalls) string {
	var rest strings.Builder
	at := 0
	for _, f := range found {
		rest.WriteString(content[at:f.start])
		at = f.end
	}
	rest.WriteString(content[at:])
	return strings.TrimSpace(marks.ReplaceAllString(rest.String(), ""))
}

// lookup answers from the tools that the request offered.
func (x *exchange) lookup() *lookup {
	schemas := map[string]*jsonschema.Schema{}
	schema := func(tool string) *jsonschema.Schema {
		s, ok := schemas[tool]
		if !ok {
			s = &jsonschema.Schema{}
			if spec := x.tool(tool); spec != nil && len(spec.Parameters) > 0 && json.Unmarshal(spec.Parameters, s) != nil {
				s = &jsonschema.Schema{}
			}
			schemas[tool] = s
		}
		return s
	}
	return &lookup{
		tool: func(name string) string {
			if name = x.cleanName(name); x.hasTool(name) {
				return name
			}
			return ""
		},
		kind: func(tool, parameter string) string {
			p := schema(tool).Properties[parameter]
			switch {
			case p == nil:
				return ""
			case p.Type != "":
				return p.Type
			}
			return "any"
		},
		fits: func(tool, args string) bool { return fits(x.tool(tool), args) == nil },
		sole: func(tool string) string {
			if s := schema(tool); len(s.Required) == 1 {
				return s.Required[0]
			}
			return ""
		},
	}
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
