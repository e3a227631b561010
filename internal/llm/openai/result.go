package openai

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/text"
)

// result is a reply after everything that could be repaired was.
type result struct {
	model     string
	content   string
	reasoning string
	calls     []llm.ToolCall
	opaque    string
	finish    llm.FinishReason
	usage     llm.Usage
	notes     []string
}

// exchange is one request and what its reply is judged by.
type exchange struct {
	req    llm.Request
	body   requestBody
	quirks Quirks
	// sent is set once the server was given all of the request.
	sent atomic.Bool
	// result is set by the transport when all went well.
	result *result
}

// hasTool says whether a name is one of the offered tools.
func (x *exchange) hasTool(name string) bool { return x.tool(name) != nil }

func (x *exchange) tool(name string) *llm.ToolSpec {
	for i := range x.req.Tools {
		if x.req.Tools[i].Name == name {
			return &x.req.Tools[i]
		}
	}
	return nil
}

// ErrNoChoices is the cause where a server's answer has no reply in it, not even an
// empty one.
var ErrNoChoices = errors.New("no choices")

// judge makes a result of an assembled reply, or says why it is none.
func (x *exchange) judge(a *assembly) (*result, *llm.Error) {
	if !a.choices {
		e := &llm.Error{Category: llm.EmptyResponse, Retryable: true, Message: "the server answered without choices", Err: ErrNoChoices}
		if a.usage != nil {
			e.Usage = *a.usage
		}
		return nil, e
	}
	r := &result{
		model:     a.model,
		content:   wholeSigns(a.content.String()),
		reasoning: wholeSigns(a.reasoning.String()),
	}
	r.splitThoughts()
	if saysNothing(r.content) {
		r.content = "" // servers refuse blank text that is sent back to them
	}
	x.takeCalls(r, a.calls, x.endsWell(a.finish))
	x.takeOpaque(r, a)
	x.countUsage(r, a)
	if err := x.judgeReply(r, a); err != nil {
		err.Usage = r.usage
		return nil, err
	}
	return r, nil
}

// judgeReply decides whether the reply can be used, and as what.
func (x *exchange) judgeReply(r *result, a *assembly) *llm.Error {
	if refusal := wholeSigns(a.refusal.String()); r.content == "" && strings.TrimSpace(refusal) != "" {
		r.content, r.finish = refusal, llm.FinishContentFilter
		r.note("the model refused")
	} else if err := x.judgeEnd(r, a.finish); err != nil {
		return err
	}
	if len(a.calls) == 0 {
		if err := x.textCalls(r); err != nil {
			return err
		}
	}
	switch {
	case len(r.calls) == 0 && r.finish == llm.FinishToolCalls:
		return &llm.Error{
			Category: llm.EmptyResponse, Retryable: true,
			Message: "the server said that the model calls tools, but sent no call",
		}
	case len(r.calls) > 0 && r.finish == llm.FinishStop:
		r.finish = llm.FinishToolCalls
	}
	return nil
}

func (r *result) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// takeCalls gives every call a unique id, a clean name and an object as arguments,
// as far as that can be had.
// repair is false where the end of the reply may be missing.
func (x *exchange) takeCalls(r *result, calls []*callInProgress, repair bool) {
	if len(calls) == 0 {
		return
	}
	ids := x.newIDs()
	for _, c := range calls {
		given, givenID := wholeSigns(c.name), wholeSigns(c.id)
		name := x.cleanName(given)
		if name != given {
			r.note("tool name %q taken as %q", text.Clip(given, 64), name)
		}
		id := ids.unique(givenID)
		if id != givenID && givenID != "" {
			r.note("tool call id %q was not new; made it %q", text.Clip(givenID, 64), id)
		}
		args, repaired := normalizeArguments(wholeSigns(c.arguments.String()), repair)
		if repaired {
			r.note("arguments of %s repaired", text.Clip(name, 64))
		}
		opaque, ok := c.opaque.text()
		if !ok {
			r.note("opaque fields of a call of %s left out: they are too long", text.Clip(name, 64))
		}
		r.calls = append(r.calls, llm.ToolCall{ID: id, Name: name, Arguments: args, Opaque: opaque})
	}
}

func (x *exchange) takeOpaque(r *result, a *assembly) {
	var ok bool
	if r.opaque, ok = a.opaque.text(); !ok {
		r.note("opaque fields of the message left out: they are too long")
	}
}

// cleanName takes off a tool's name what templates leave on it, if a tool of the
// rest exists, in whatever case: "functions.bash:0", "bash<|channel|>json", "Bash".
func (x *exchange) cleanName(name string) string {
	if x.hasTool(name) {
		return name
	}
	clean, _, _ := strings.Cut(name, "<|")
	clean = nameTail.ReplaceAllString(nameLead.ReplaceAllString(strings.TrimSpace(clean), ""), "")
	for i := range x.req.Tools {
		if strings.EqualFold(x.req.Tools[i].Name, clean) {
			return x.req.Tools[i].Name
		}
	}
	return name
}

var (
	nameLead = compile(`^(?:functions?|default_api|tools?)[.:]`)
	nameTail = compile(`:\d+$`)
)

// callIDs makes ids that no call of the conversation has.
type callIDs struct {
	messages []llm.Message
	// given are those of this reply.
	given []string
	// next numbers what is made up; negative until that is needed.
	next int
}

func (x *exchange) newIDs() *callIDs { return &callIDs{messages: x.req.Messages, next: -1} }

// unique gives the id itself where it is new, else one of nine letters and
// digits, the only form that Mistral's servers take.
func (ids *callIDs) unique(id string) string {
	for id == "" || ids.used(id) {
		if ids.next < 0 {
			ids.next = ids.count()
		}
		id = fmt.Sprintf("call%05d", ids.next)
		ids.next++
	}
	ids.given = append(ids.given, id)
	return id
}

// used looks through the conversation: for the one or two calls of a reply that
// is cheaper than a set of all ids.
func (ids *callIDs) used(id string) bool {
	if slices.Contains(ids.given, id) {
		return true
	}
	for i := range ids.messages {
		for k := range ids.messages[i].ToolCalls {
			if ids.messages[i].ToolCalls[k].ID == id {
				return true
			}
		}
	}
	return false
}

func (ids *callIDs) count() int {
	n := 0
	for i := range ids.messages {
		n += len(ids.messages[i].ToolCalls)
	}
	return n
}

// countUsage takes the server's numbers, or estimates them.
func (x *exchange) countUsage(r *result, a *assembly) {
	if a.usage != nil {
		r.usage = *a.usage
		return
	}
	size := len(r.content) + len(r.reasoning)
	for _, c := range r.calls {
		size += len(c.Name) + len(c.Arguments)
	}
	r.usage = x.estimate(size)
	r.usage.OutputTokens++
}

// estimate is a usage at four bytes a token.
func (x *exchange) estimate(outputBytes int) llm.Usage {
	return llm.Usage{InputTokens: int64(x.body.size()/4) + 1, OutputTokens: int64(outputBytes / 4), Estimated: true}
}

// charge adds to a failure what the call cost: a server that has a request works
// on it, and bills that, also when nobody hears the end. a is what came of the
// reply, if anything.
func (x *exchange) charge(e *llm.Error, a *assembly) {
	switch {
	case a != nil && a.usage != nil:
		e.Usage = *a.usage
	case a != nil:
		e.Usage = x.estimate(a.size())
	case x.sent.Load():
		e.Usage = x.estimate(0)
	}
}

// neutral is the result in the loop's terms.
func (r *result) neutral(from string) *llm.Response {
	return &llm.Response{
		Model: r.model, Notes: r.notes, Usage: r.usage, FinishReason: r.finish,
		Message: llm.Message{
			Role: llm.RoleAssistant, Content: r.content, Reasoning: r.reasoning, ToolCalls: r.calls,
			Opaque: r.opaque, From: from,
		},
	}
}
