package openai

import (
	"crypto/sha256"
	"encoding/json"
	"math/big"
	"strings"

	"github.com/sashabaranov/go-openai"

	"github.com/sampan-dev/sampan/internal/llm"
)

// shaper gives a conversation the form that a server takes. Whoever wrote it may
// have been another server, and the harness adds messages where it must: so roles
// may follow each other, texts may be blank and ids may look as here they must not.
type shaper struct {
	quirks Quirks
	// from is what this server and model call themselves.
	from string
	// ids are the calls that were sent, by the conversation's ids.
	ids map[string]sentCall
	// opaque is set once an opaque field was sent.
	opaque bool
}

type sentCall struct{ id, name string }

const (
	emptyResult   = "(no output)"
	callsOnlyText = "(tool calls)"
)

// speaks is the role as which a message is sent; empty when it is not, since there
// is nothing in it that a server would take. first says that nothing but system
// prompts came before: only there may one stand.
func (s *shaper) speaks(m *llm.Message, first bool) llm.Role {
	blank := strings.TrimSpace(m.Content) == ""
	switch {
	case m.Role == llm.RoleTool:
		return llm.RoleTool
	case m.Role == llm.RoleAssistant && len(m.ToolCalls) > 0:
		return llm.RoleAssistant
	case blank:
		return ""
	case m.Role == llm.RoleSystem && (!first || s.quirks.SystemRole == RoleUser):
		return llm.RoleUser
	}
	return m.Role
}

// joins says that a message is shaped together with those before it, which are a
// group so far: it becomes a part of the last one, or nothing. first says that the
// conversation begins with the group.
func (s *shaper) joins(group []llm.Message, m *llm.Message, first bool) bool {
	var last *llm.Message
	var before llm.Role
	several := false
	for i := range group {
		if role := s.speaks(&group[i], first); role != "" {
			last, before = &group[i], role
			first = first && group[i].Role == llm.RoleSystem
			several = several || len(group[i].ToolCalls) > 1
		}
	}
	role := s.speaks(m, first)
	switch {
	case role == "":
		return true
	case last == nil:
		return false
	case role == llm.RoleTool:
		return several && s.quirks.OneCallPerMessage
	case before == llm.RoleTool:
		return role == llm.RoleUser && s.quirks.UserAfterTool == UserAfterToolFold
	case before == llm.RoleAssistant:
		return role == llm.RoleAssistant && len(last.ToolCalls) == 0
	}
	return role == before
}

// shape gives the messages of a group as they are sent.
func (s *shaper) shape(group []llm.Message, first bool) []outMessage {
	var out []outMessage
	for i := range group {
		m := &group[i]
		role := s.speaks(m, first)
		if role == "" {
			continue
		}
		first = first && m.Role == llm.RoleSystem
		next := s.message(m, role)
		if n := len(out); n > 0 && role != llm.RoleTool {
			join(&out[n-1], &next)
			continue
		}
		out = append(out, next)
	}
	if s.quirks.OneCallPerMessage {
		out = oneCallEach(out)
	}
	return out
}

// join makes one message of two.
func join(a, b *outMessage) {
	text, _ := a.Content.(string)
	if more, ok := b.Content.(string); ok && more != "" {
		text += "\n\n" + more
	}
	a.Content = text
	a.ToolCalls = append(a.ToolCalls, b.ToolCalls...)
	if a.opaque == nil {
		a.opaque = b.opaque
	}
}

// oneCallEach puts each call with its result behind it.
func oneCallEach(out []outMessage) []outMessage {
	if len(out) == 0 || len(out[0].ToolCalls) < 2 {
		return out
	}
	calls := out[0].ToolCalls
	split := make([]outMessage, 0, 2*len(calls))
	for i, c := range calls {
		m := out[0]
		if i > 0 {
			m = outMessage{Role: llm.RoleAssistant, Content: contentNull}
		}
		m.ToolCalls = []outCall{c}
		split = append(split, m)
		for k := 1; k < len(out); k++ {
			if out[k].ToolCallID == c.ID {
				split = append(split, out[k])
			}
		}
	}
	return split
}

func (s *shaper) message(m *llm.Message, role llm.Role) outMessage {
	out := outMessage{Role: role, Content: m.Content}
	switch role {
	case llm.RoleSystem:
		if s.quirks.SystemRole == RoleDeveloper {
			out.Role = RoleDeveloper
		}
	case llm.RoleTool:
		call, ok := s.ids[m.ToolCallID]
		if !ok {
			call.id = s.id(m.ToolCallID, false)
		}
		out.ToolCallID = call.id
		if s.quirks.ToolMessageName {
			out.Name = call.name
		}
		if strings.TrimSpace(m.Content) == "" {
			out.Content = emptyResult
		}
	case llm.RoleAssistant:
		s.assistant(m, &out)
	case llm.RoleUser:
	}
	return out
}

func (s *shaper) assistant(m *llm.Message, out *outMessage) {
	own := m.From == s.from || m.From == ""
	if own {
		s.reasoning(m, out)
	} else if s.quirks.ReplayReasoning == ReplayRequired && len(m.ToolCalls) > 0 {
		out.ReasoningContent = new(string)
	}
	returned := m.From == s.from && s.quirks.OpaqueFields != OpaqueFieldsDrop
	if returned {
		out.opaque, _ = parseOpaque(m.Opaque)
		s.opaque = s.opaque || m.Opaque != ""
	}
	if len(m.ToolCalls) == 0 {
		return
	}
	out.ToolCalls = make([]outCall, len(m.ToolCalls))
	for i, c := range m.ToolCalls {
		name := sendableName(c.Name)
		call := outCall{ID: s.id(c.ID, !own), Type: openai.ToolTypeFunction, Function: outFunction{Name: name, Arguments: sendableArguments(c.Arguments)}}
		if returned {
			call.opaque, call.Function.opaque = parseOpaque(c.Opaque)
			s.opaque = s.opaque || c.Opaque != ""
		}
		s.ids[c.ID] = sentCall{call.ID, name}
		out.ToolCalls[i] = call
	}
	if s.quirks.ThoughtSignatures == ThoughtSignaturesFill {
		fillSignature(&out.ToolCalls[0])
	}
	if strings.TrimSpace(m.Content) == "" {
		out.Content = emptyContent(s.quirks)
	}
}

func (s *shaper) reasoning(m *llm.Message, out *outMessage) {
	switch s.quirks.ReplayReasoning {
	case ReplayReasoningContent:
		if m.Reasoning != "" {
			out.ReasoningContent = &m.Reasoning
		}
	case ReplayReasoning:
		out.Reasoning = m.Reasoning
	case ReplayReasoningText:
		out.ReasoningText = m.Reasoning
	case ReplayRequired:
		if m.Reasoning != "" || len(m.ToolCalls) > 0 {
			out.ReasoningContent = &m.Reasoning
		}
	}
}

// fillSignature signs a call that no Gemini made, or not this one, with the word
// that Google documents for histories from elsewhere. It is checked with the
// first call of a reply only.
func fillSignature(call *outCall) {
	const field = "extra_content"
	if strings.Contains(string(call.opaque[field]), "thought_signature") {
		return
	}
	if call.opaque == nil {
		call.opaque = opaqueFields{}
	}
	call.opaque[field] = json.RawMessage(`{"google":{"thought_signature":"skip_thought_signature_validator"}}`)
}

// emptyContent is the content of an assistant's message that only calls tools.
func emptyContent(q Quirks) any {
	switch q.NullContent {
	case NullContentEmpty:
		return ""
	case NullContentOmit:
		return nil
	case NullContentText:
		return callsOnlyText
	default:
		return contentNull
	}
}

var alnum9 = compile(`^[A-Za-z0-9]{9}$`)

// id is the form in which an id of the conversation is sent: as it is to the
// server that gave it, else in the form that every server takes. The same id
// always gives the same.
func (s *shaper) id(id string, foreign bool) string {
	if alnum9.MatchString(id) || !foreign && s.quirks.ToolCallIDs != ToolCallIDsAlnum9 {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	text := new(big.Int).SetBytes(sum[:]).Text(62)
	return text[len(text)-9:]
}

// maxName is the length of a tool's name that every server takes.
const maxName = 64

var notInName = compile(`[^A-Za-z0-9_-]+`)

// sendableName makes a name fit to be sent back, also one that the model made up
// and that no server would take.
func sendableName(name string) string {
	clean := name
	if notInName.MatchString(name) {
		clean = notInName.ReplaceAllString(name, "_")
	}
	if clean == "" {
		clean = "unknown_tool"
	}
	return clean[:min(len(clean), maxName)]
}
