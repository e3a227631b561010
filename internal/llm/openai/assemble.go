package openai

import (
	"slices"
	"strings"

	"github.com/sampan-dev/sampan/internal/llm"
)

// assembly is a reply as it comes together, from the events of a stream or from
// one whole response.
type assembly struct {
	model     string
	content   strings.Builder
	reasoning strings.Builder
	refusal   strings.Builder
	calls     []*callInProgress
	opaque    opaqueFields
	finish    string
	// over says that the end came behind all that was said; endsPieces that it may
	// stand on every piece, as some gateways send it; goesOn that something came
	// behind it.
	over, endsPieces, goesOn bool

	usage *llm.Usage
	// choices says that any choice came at all.
	choices bool
	// deltas says that some of it came as deltas: a message is then the whole again.
	deltas bool
	// known says whether a name is one of the offered tools.
	known func(string) bool
	// event counts what was added, to tell calls of one event apart.
	event int
}

// size is how many bytes the model has written so far.
func (a *assembly) size() int {
	n := a.content.Len() + a.reasoning.Len() + a.refusal.Len()
	for _, c := range a.calls {
		n += len(c.name) + c.arguments.Len()
	}
	return n
}

// callInProgress is a tool call whose parts are still coming.
type callInProgress struct {
	index     flexInt
	id        string
	name      string
	arguments strings.Builder
	opaque    opaqueFields
	// event is the last event that added to it.
	event int
}

// add takes one event or whole response.
func (a *assembly) add(r *wireResponse) {
	a.event++
	if r.Model != "" {
		a.model = string(r.Model)
	}
	a.usage = merged(a.usage, r.usage())
	for i := range r.Choices {
		// Only the first choice is asked for, and only it is read.
		if c := &r.Choices[i]; c.Index.value == 0 && (i == 0 || c.Index.present) {
			a.addChoice(c)
		} else if c.Message != nil && len(a.calls) == 0 {
			// Some gateways put text and calls of one reply into two choices.
			for k := range c.Message.ToolCalls {
				a.addCall(&c.Message.ToolCalls[k], true)
			}
		}
	}
}

func (a *assembly) addChoice(c *wireChoice) {
	a.choices = true
	ended, began, word := a.finish != "", a.size() > 0, c.word()
	if word != "" {
		a.finish = word
	}
	switch {
	case c.Delta != nil:
		if m := c.Delta; !a.repeats(m, ended, word != "") {
			a.deltas = a.deltas || m.says()
			a.goesOn = a.goesOn || ended && m.says()
			a.addMessage(m, false)
		}
		a.endsPieces = a.endsPieces || word != "" && c.Delta.says() && (ended || !began)
	case c.Message != nil:
		if m := c.Message; a.restates(m, word != "") {
			a.replaceBy(m)
		} else {
			a.addMessage(m, true)
		}
	}
	a.over = a.finish != "" && a.size() > 0 && !a.endsPieces && !a.goesOn
}

// says tells whether there is anything in a message or delta.
func (m *wireMessage) says() bool {
	return m.Content.text != "" || m.thought() != "" || len(m.ToolCalls) > 0 || m.FunctionCall != nil || m.Refusal.text != ""
}

// thought is the thinking in a message. Some servers send the same in two fields.
func (m *wireMessage) thought() string {
	for _, field := range []*flexText{&m.ReasoningContent, &m.Reasoning, &m.ReasoningText} {
		if thought := field.text + field.thoughts; thought != "" {
			return thought
		}
	}
	return ""
}

// minRepeat is the length from which a last piece that equals all before it is
// taken for a repetition; short ones may be chance ("ha", "ha").
const minRepeat = 16

// repeats says that a delta is all of the reply once more: one that comes after
// the end, or a long one with it. ended says that an end came before, last that one
// comes with it.
func (a *assembly) repeats(m *wireMessage, ended, last bool) bool {
	long := len(m.Content.text) >= minRepeat
	switch {
	case len(m.ToolCalls) > 0 && ended, a.over:
	case a.endsPieces && last, !long, !ended && !last:
		return false // a piece that equals the one before it
	}
	if m.Content.text != "" && m.Content.text != a.content.String() {
		return false
	}
	for i := range m.ToolCalls {
		part := &m.ToolCalls[i]
		if call := a.sameCall(part, i); call == nil || call.arguments.String() != part.arguments() {
			return false
		}
	}
	return m.Content.text != "" || len(m.ToolCalls) > 0
}

// restates says that a message in a stream is what came so far, once more: a
// closing message after deltas, or one that grows with every event.
func (a *assembly) restates(m *wireMessage, last bool) bool {
	if a.deltas {
		return m.says()
	}
	sofar := a.content.String()
	grown := sofar != "" && strings.HasPrefix(m.Content.text, sofar) && (last || len(m.Content.text) > len(sofar))
	return grown || len(a.calls) > 0 && len(m.ToolCalls) >= len(a.calls) && a.sameCall(&m.ToolCalls[0], 0) != nil
}

// replaceBy takes a message for the whole reply. What it leaves out stays.
func (a *assembly) replaceBy(m *wireMessage) {
	if m.Content.text != "" {
		a.content.Reset()
	}
	if m.thought() != "" || m.Content.thoughts != "" {
		a.reasoning.Reset()
	}
	if m.Refusal.text != "" {
		a.refusal.Reset()
	}
	rest := *m
	rest.ToolCalls, rest.FunctionCall = nil, nil
	a.opaque = nil
	a.addMessage(&rest, true)
	for i := range m.ToolCalls {
		part := &m.ToolCalls[i]
		call := a.sameCall(part, i)
		if call == nil {
			a.addCall(part, true)
			continue
		}
		if args := part.arguments(); args != "" {
			call.arguments.Reset()
			call.arguments.WriteString(args)
		}
		for name, value := range part.opaque {
			call.opaque.set(name, value)
		}
	}
	if m.FunctionCall != nil && len(a.calls) == 0 {
		a.addCall(&wireCall{Function: *m.FunctionCall}, true)
	}
}

// sameCall finds the call that a whole one, the i-th of its message, restates.
func (a *assembly) sameCall(part *wireCall, i int) *callInProgress {
	for _, call := range a.calls {
		if part.ID != "" && call.id == string(part.ID) && (part.name() == "" || part.name() == call.name) {
			return call
		}
	}
	if i < len(a.calls) && a.calls[i].name == part.name() && (part.ID == "" || a.calls[i].id == "" || a.calls[i].arguments.String() == part.arguments()) {
		return a.calls[i]
	}
	return nil
}

func (a *assembly) addMessage(m *wireMessage, whole bool) {
	a.content.WriteString(m.Content.text)
	a.refusal.WriteString(m.Refusal.text)
	a.reasoning.WriteString(m.Content.thoughts)
	a.reasoning.WriteString(m.thought())
	m.each(a.opaque.add)
	for i := range m.ToolCalls {
		a.addCall(&m.ToolCalls[i], whole)
	}
	if f := m.FunctionCall; f != nil && len(m.ToolCalls) == 0 {
		a.addCall(&wireCall{Function: *f}, whole)
	}
}

// addCall adds a part of a call to the call it belongs to, or begins a new one.
func (a *assembly) addCall(part *wireCall, whole bool) {
	args := part.arguments()
	call := a.belongsTo(part)
	if call != nil && !whole && a.restated(call, part, args) {
		call.arguments.Reset()
	} else if call == nil || whole || a.beginsNew(call, part, args) {
		if part.name() == "" && part.ID == "" && args == "" {
			return
		}
		call = &callInProgress{index: part.Index}
		a.calls = append(a.calls, call)
	}
	call.event = a.event
	if call.id == "" {
		call.id = string(part.ID)
	}
	switch name := part.name(); {
	case name == call.name:
	case call.arguments.Len() == 0:
		call.name += name // a name may come in pieces
	}
	call.arguments.WriteString(args)
	for name, value := range part.opaque {
		call.opaque.add(name, value)
	}
}

// belongsTo finds the call that a part may continue: the latest with its index,
// or the latest of all when it has none.
func (a *assembly) belongsTo(part *wireCall) *callInProgress {
	for _, call := range slices.Backward(a.calls) {
		if !part.Index.present || !call.index.present || call.index.value == part.Index.value {
			return call
		}
	}
	return nil
}

// restated says that a part of a later event gives the arguments of a call from
// their beginning once more: whole at the end, or longer with every event. Such a
// call must not run twice. No arguments at all are not the beginning of any.
func (a *assembly) restated(call *callInProgress, part *wireCall, args string) bool {
	id, name, sofar := string(part.ID), part.name(), call.arguments.String()
	if call.event == a.event || sofar == "" || sofar[0] != '{' {
		return false
	}
	if id == "" && name == "" {
		return sofar == "{}" && strings.HasPrefix(args, "{")
	}
	same := id == call.id && (id != "" || part.Index.present) && (name == "" || name == call.name)
	return same && strings.HasPrefix(args, sofar)
}

// beginsNew says that a part is not the continuation of a call, though its index
// would allow it: servers leave the index out, or send 0 always. It is new when
// its id is new, or when a name comes after the arguments began; but a server may
// also repeat id and name with every piece.
func (a *assembly) beginsNew(call *callInProgress, part *wireCall, args string) bool {
	id, name := string(part.ID), part.name()
	complete := call.arguments.Len() > 0 && isObject(call.arguments.String())
	switch {
	case id != "" && call.id != "" && id != call.id:
		// Some servers make up an id for every piece.
		return name != "" || complete
	case name == "" || call.name == "":
		return false
	case !part.Index.present && call.event == a.event:
		return true // two in one event
	case id != "" && id == call.id:
		return complete && args != ""
	case call.arguments.Len() == 0:
		// A name in pieces, unless both are names of tools.
		return name != call.name && a.known(name) && a.known(call.name)
	case name == call.name:
		return complete
	default:
		return true
	}
}
