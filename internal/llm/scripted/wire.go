package scripted

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sampan-dev/sampan/internal/llm"
)

// chatRequest is what the server reads of a request. Contents stay raw: only the
// prompt and the last observation are ever looked at, and conversations are long.
type chatRequest struct {
	Model         string        `json:"model"`
	Messages      []chatMessage `json:"messages"`
	Stream        bool          `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

type chatMessage struct {
	Role      llm.Role        `json:"role"`
	Content   json.RawMessage `json:"content"`
	ToolCalls []struct {
		ID string `json:"id"`
	} `json:"tool_calls"`
}

// text gives a content that is a string, null, or a list of parts.
func (m *chatMessage) text() string {
	var s string
	if json.Unmarshal(m.Content, &s) == nil {
		return s
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(m.Content, &parts) != nil {
		return ""
	}
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

func (m *chatMessage) ids() []string {
	ids := make([]string, len(m.ToolCalls))
	for i, c := range m.ToolCalls {
		ids[i] = c.ID
	}
	return ids
}

// parseRequest reads a body into what the player needs. It refuses what a strict
// server refuses, so that a script also proves that the requests are well formed.
func parseRequest(body []byte, task string) (*chatRequest, conversation, error) {
	var req chatRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, conversation{}, fmt.Errorf("the request is not valid JSON: %w", err)
	}
	if len(req.Messages) == 0 {
		return nil, conversation{}, fmt.Errorf("messages is missing or empty")
	}
	c := conversation{model: req.Model, task: task, bytes: len(body)}
	last := -1
	for i := range req.Messages {
		m := &req.Messages[i]
		switch m.Role {
		case llm.RoleAssistant:
			last = i
			continue
		case llm.RoleSystem, llm.RoleUser, llm.RoleTool, "developer":
		default:
			return nil, conversation{}, fmt.Errorf("messages[%d].role is %q", i, m.Role)
		}
		if len(m.Content) == 0 || bytes.Equal(m.Content, []byte("null")) {
			return nil, conversation{}, fmt.Errorf("messages[%d].content is missing", i)
		}
		if m.Role == llm.RoleUser && c.prompt == "" {
			c.prompt = m.text()
		}
	}
	var observed []string
	for i := last + 1; i < len(req.Messages); i++ {
		if m := &req.Messages[i]; m.Role == llm.RoleUser || m.Role == llm.RoleTool {
			observed = append(observed, m.text())
		}
	}
	c.observation = strings.Join(observed, "\n")
	c.position = position(len(req.Messages),
		func(i int) llm.Role { return req.Messages[i].Role },
		func(i int) []string { return req.Messages[i].ids() })
	return &req, c, nil
}

// The types below are what the server writes.

type wireFunction struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

type wireCall struct {
	Index    *int         `json:"index,omitempty"`
	ID       string       `json:"id,omitempty"`
	Type     string       `json:"type,omitempty"`
	Function wireFunction `json:"function"`
}

type wireMessage struct {
	Role      llm.Role   `json:"role,omitempty"`
	Content   *string    `json:"content,omitempty"`
	Reasoning string     `json:"reasoning_content,omitempty"`
	ToolCalls []wireCall `json:"tool_calls,omitempty"`
}

type wireChoice struct {
	Index        int               `json:"index"`
	Message      *wireMessage      `json:"message,omitempty"`
	Delta        *wireMessage      `json:"delta,omitempty"`
	FinishReason *llm.FinishReason `json:"finish_reason"`
}

type wireUsage struct {
	PromptTokens     int64 `json:"prompt_tokens"`
	CompletionTokens int64 `json:"completion_tokens"`
	TotalTokens      int64 `json:"total_tokens"`
	Details          struct {
		CachedTokens int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

type wireResponse struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []wireChoice `json:"choices"`
	Usage   *wireUsage   `json:"usage,omitempty"`
}

// envelope is a response without choices. Its time is always 0: the server gives
// the same bytes for the same request.
func envelope(object, model string, turn int) wireResponse {
	return wireResponse{ID: fmt.Sprintf("scripted-%d", turn), Object: object, Model: model, Choices: []wireChoice{}}
}

func (r *reply) wireUsage() *wireUsage {
	u := &wireUsage{
		PromptTokens:     r.usage.InputTokens,
		CompletionTokens: r.usage.OutputTokens,
		TotalTokens:      r.usage.InputTokens + r.usage.OutputTokens,
	}
	u.Details.CachedTokens = r.usage.CachedInputTokens
	return u
}

// whole is the reply as one JSON object.
func (r *reply) whole(model string) ([]byte, error) {
	msg := &wireMessage{Role: llm.RoleAssistant, Content: &r.text, Reasoning: r.reasoning}
	for _, c := range r.calls {
		msg.ToolCalls = append(msg.ToolCalls, wireCall{
			ID: c.ID, Type: "function", Function: wireFunction{Name: c.Name, Arguments: c.Arguments},
		})
	}
	resp := envelope("chat.completion", model, r.turn)
	resp.Choices = append(resp.Choices, wireChoice{Message: msg, FinishReason: &r.finish})
	resp.Usage = r.wireUsage()
	return json.Marshal(resp)
}

// events is the reply as the events of a stream, without the final [DONE].
func (r *reply) events(model string, includeUsage bool) ([][]byte, error) {
	var deltas []*wireMessage
	empty := ""
	deltas = append(deltas, &wireMessage{Role: llm.RoleAssistant, Content: &empty})
	for _, piece := range pieces(r.reasoning) {
		deltas = append(deltas, &wireMessage{Reasoning: piece})
	}
	for _, piece := range pieces(r.text) {
		deltas = append(deltas, &wireMessage{Content: &piece})
	}
	for i, c := range r.calls {
		deltas = append(deltas, &wireMessage{ToolCalls: []wireCall{
			{Index: &i, ID: c.ID, Type: "function", Function: wireFunction{Name: c.Name}},
		}})
		for _, piece := range pieces(c.Arguments) {
			deltas = append(deltas, &wireMessage{ToolCalls: []wireCall{{Index: &i, Function: wireFunction{Arguments: piece}}}})
		}
	}
	var events [][]byte
	add := func(resp wireResponse) error {
		data, err := json.Marshal(resp)
		events = append(events, data)
		return err
	}
	for _, d := range deltas {
		resp := envelope("chat.completion.chunk", model, r.turn)
		resp.Choices = append(resp.Choices, wireChoice{Delta: d})
		if err := add(resp); err != nil {
			return nil, err
		}
	}
	resp := envelope("chat.completion.chunk", model, r.turn)
	resp.Choices = append(resp.Choices, wireChoice{Delta: &wireMessage{}, FinishReason: &r.finish})
	if err := add(resp); err != nil {
		return nil, err
	}
	if includeUsage {
		resp := envelope("chat.completion.chunk", model, r.turn)
		resp.Usage = r.wireUsage()
		if err := add(resp); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// maxPieces bounds the events of one text: enough to test that a client joins
// them, few enough not to slow a benchmark down.
const maxPieces = 4

// pieces cuts a text as a stream would.
func pieces(s string) []string {
	size := max(16, len(s)/maxPieces+utf8Max)
	var out []string
	for len(s) > 0 {
		piece := cut(s, size)
		out = append(out, piece)
		s = s[len(piece):]
	}
	return out
}

// utf8Max is the longest encoding of a character.
const utf8Max = 4
