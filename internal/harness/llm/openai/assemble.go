package openai

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/sampan-dev/sampan/internal/harness/llm"
)

// assembly is a reply as it comes together, from the events of a stream or from
// one whole response.
type assembly struct {
	model     string
	content   strings.Builder
	reasoning strings.Builder
	refusal   strings.Builder
	calls     []*callInProgress
	finish    string
	usage     *llm.Usage
	// choices says that any choice came at all.
	choices bool
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
	// event is the last event that added to it.
	event int
}

// add takes one event or whole response.
func (a *assembly) add(r *wireResponse) {
	a.event++
	if r.Model != "" {
		a.model = string(r.Model)
	}
	if u := r.Usage.neutral(); u != nil {
		a.usage = u // streams that report as they go report the sum so far
	}
	for i := range r.Choices {
		// Only the first choice is asked for, and only it is read.
		if c := &r.Choices[i]; c.Index.value == 0 && (i == 0 || c.Index.present) {
			a.addChoice(c)
		}
	}
}

func (a *assembly) addChoice(c *wireChoice) {
	a.choices = true
	if c.FinishReason != "" {
		a.finish = string(c.FinishReason)
	}
	whole := c.Delta == nil
	m := c.Delta
	if whole {
		m = c.Message
	}
	if m == nil {
		return
	}
	a.content.WriteString(m.Content.text)
	a.refusal.WriteString(m.Refusal.text)
	// Some servers send the same thought in both fields.
	thought := m.ReasoningContent.text + m.ReasoningContent.thoughts
	if thought == "" {
		thought = m.Reasoning.text + m.Reasoning.thoughts
	}
	a.reasoning.WriteString(m.Content.thoughts)
	a.reasoning.WriteString(thought)
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
	if call == nil || whole || a.beginsNew(call, part, args) {
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

// readWhole reads a response that came in one piece. The error inside a 200, if
// any, comes back as such.
func readWhole(body []byte) (*wireResponse, *serverError, error) {
	var r wireResponse
	if err := tolerant(json.Unmarshal(body, &r)); err != nil {
		return nil, nil, err
	}
	if said, failed := r.failure(body); failed {
		return nil, &said, nil
	}
	return &r, nil, nil
}

// failure finds the error in a response or event.
func (r *wireResponse) failure(body []byte) (serverError, bool) {
	for i := range r.Choices {
		if said := parseServerError(r.Choices[i].Error); !said.empty() {
			return said, true
		}
		if r.Choices[i].FinishReason == "error" {
			return serverError{message: "finish reason error", kind: "server_error"}, true
		}
	}
	hasError := !parseServerErrorEmpty(r.Error) || !parseServerErrorEmpty(r.Detail)
	if hasError || r.Type == "error" || r.Object == "error" {
		return parseServerError(body), true
	}
	return serverError{}, false
}

func parseServerErrorEmpty(raw json.RawMessage) bool {
	said := parseServerError(raw)
	return said.empty()
}
