package openai

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/sashabaranov/go-openai"

	"github.com/sampan-dev/sampan/internal/llm"
)

// outRequest is the body of a request, apart from its messages.
type outRequest struct {
	Model               string                `json:"model"`
	Tools               []outTool             `json:"tools,omitempty"`
	ToolChoice          string                `json:"tool_choice,omitempty"`
	ParallelToolCalls   *bool                 `json:"parallel_tool_calls,omitempty"`
	MaxTokens           int                   `json:"max_tokens,omitempty"`
	MaxCompletionTokens int                   `json:"max_completion_tokens,omitempty"`
	Temperature         *float64              `json:"temperature,omitempty"`
	Stream              bool                  `json:"stream"`
	StreamOptions       *openai.StreamOptions `json:"stream_options,omitempty"`
}

type outMessage struct {
	Role llm.Role `json:"role"`
	// Content is a string, contentNull, or nil to leave the field out: to servers
	// these are three things.
	Content          any       `json:"content,omitempty"`
	ReasoningContent *string   `json:"reasoning_content,omitempty"`
	Reasoning        string    `json:"reasoning,omitempty"`
	ReasoningText    string    `json:"reasoning_text,omitempty"`
	ToolCalls        []outCall `json:"tool_calls,omitempty"`
	ToolCallID       string    `json:"tool_call_id,omitempty"`
	Name             string    `json:"name,omitempty"`
	opaque           opaqueFields
}

type outCall struct {
	ID       string          `json:"id"`
	Type     openai.ToolType `json:"type"`
	Function outFunction     `json:"function"`
	opaque   opaqueFields
}

// MarshalJSON implements json.Marshaler.
func (c outCall) MarshalJSON() ([]byte, error) {
	type plain outCall
	text, err := marshalPlain(plain(c))
	if err != nil {
		return nil, err
	}
	return appendExtra([]byte(text), c.opaque)
}

type outFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
	opaque    opaqueFields
}

// MarshalJSON implements json.Marshaler.
func (f outFunction) MarshalJSON() ([]byte, error) {
	type plain outFunction
	text, err := marshalPlain(plain(f))
	if err != nil {
		return nil, err
	}
	return appendExtra([]byte(text), f.opaque)
}

// outTool is an openai.Tool that need not have parameters, and is not encoded by way
// of a map, with escapes for HTML.
type outTool struct {
	Type     openai.ToolType `json:"type"`
	Function outToolSpec     `json:"function"`
}

type outToolSpec struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
}

var (
	contentNull   = json.RawMessage("null")
	noParameters  = json.RawMessage(`{"type":"object","properties":{}}`)
	completionIDs = []string{"o1", "o3", "o4", "gpt-5"}
)

// requestBody is the JSON of a request in parts that follow each other, so that
// the long one, the messages, need not be copied.
type requestBody [][]byte

const bodyStart = `{"messages":[`

func (b requestBody) size() int {
	n := 0
	for _, part := range b {
		n += len(part)
	}
	return n
}

// reader reads the parts one after the other, each time from the start, and
// notes when all was read. (The io.MultiReader that does the same makes a buffer
// of 32 KiB for every request.)
func (b requestBody) reader(sent *atomic.Bool) io.ReadCloser {
	return &bodyReader{rest: slices.Clone(b), sent: sent}
}

type bodyReader struct {
	rest requestBody
	sent *atomic.Bool
}

// Read implements io.Reader.
func (r *bodyReader) Read(p []byte) (int, error) {
	for len(r.rest) > 0 && len(r.rest[0]) == 0 {
		r.rest = r.rest[1:]
	}
	if len(r.rest) == 0 {
		r.sent.Store(true)
		return 0, io.EOF
	}
	n := copy(p, r.rest[0])
	r.rest[0] = r.rest[0][n:]
	return n, nil
}

// WriteTo implements io.WriterTo, which net/http uses to write without copying.
func (r *bodyReader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for len(r.rest) > 0 {
		n, err := w.Write(r.rest[0])
		total += int64(n)
		r.rest[0] = r.rest[0][n:]
		if err != nil {
			return total, err
		}
		r.rest = r.rest[1:]
	}
	r.sent.Store(true)
	return total, nil
}

// Close implements io.Closer.
func (r *bodyReader) Close() error { return nil }

// encodeRequest puts a body together from the encoded messages and the rest.
func encodeRequest(req llm.Request, messages []byte, q Quirks) (requestBody, error) {
	out := outRequest{Model: req.Model, Temperature: q.Temperature, Stream: !q.NoStream}
	if out.Stream && !q.NoStreamUsage {
		out.StreamOptions = &openai.StreamOptions{IncludeUsage: true}
	}
	if len(req.Tools) > 0 {
		out.Tools = encodeTools(req.Tools, q)
		out.ToolChoice = toolChoice(req, q)
		out.ParallelToolCalls = q.ParallelToolCalls
	}
	switch maxTokensField(req.Model, q) {
	case MaxTokens:
		out.MaxTokens = req.MaxOutputTokens
	case MaxCompletionTokens:
		out.MaxCompletionTokens = req.MaxOutputTokens
	}
	rest, err := marshalPlain(&out)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	// "]," takes the place of the opening brace.
	tail, err := appendExtra(append([]byte("],"), rest[1:]...), q.ExtraBody)
	if err != nil {
		return nil, err
	}
	return requestBody{[]byte(bodyStart), messages, tail}, nil
}

// sendableArguments makes what the model gave as arguments fit to be sent back.
// Servers whose chat template parses them fail the whole request on anything but
// an object; so the text that is none is wrapped in one, for the model to see.
func sendableArguments(args string) string {
	switch {
	case args == "":
		return "{}"
	case isObject(args):
		return args
	}
	wrapped, err := marshalPlain(map[string]string{"invalid_arguments": args})
	if err != nil {
		return "{}" // strings always marshal
	}
	return wrapped
}

func encodeTools(specs []llm.ToolSpec, q Quirks) []outTool {
	tools := make([]outTool, len(specs))
	for i, s := range specs {
		params := json.RawMessage(s.Parameters)
		switch {
		case q.ToolSchemas == ToolSchemasPlain:
			params = plainSchema(s.Parameters)
		case len(params) == 0:
			params = noParameters
		}
		tools[i] = outTool{openai.ToolTypeFunction, outToolSpec{s.Name, s.Description, params}}
	}
	return tools
}

// toolChoice is what tool_choice says; empty leaves it out.
func toolChoice(req llm.Request, q Quirks) string {
	switch q.ToolChoice {
	case ToolChoiceOmit:
		return ""
	case ToolChoiceAlways:
		return "required"
	case ToolChoiceRequired:
		if n := len(req.Messages); n > 0 && req.Messages[n-1].Role == llm.RoleTool {
			return "auto"
		}
		return "required"
	default:
		return "auto"
	}
}

func maxTokensField(model string, q Quirks) string {
	if q.MaxTokensField != "" {
		return q.MaxTokensField
	}
	for _, prefix := range completionIDs {
		if strings.HasPrefix(model, prefix) {
			return MaxCompletionTokens
		}
	}
	return MaxTokens
}

// appendExtra adds fields to the end of a JSON object, sorted by name.
func appendExtra[V any](body []byte, extra map[string]V) ([]byte, error) {
	if len(extra) == 0 {
		return body, nil
	}
	body = body[:len(body)-1]
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		key, err := marshalPlain(name)
		if err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		value, err := marshalPlain(extra[name])
		if err != nil {
			return nil, fmt.Errorf("encoding %s of the request: %w", name, err)
		}
		body = append(append(append(append(body, ','), key...), ':'), value...)
	}
	return append(body, '}'), nil
}

// marshalPlain is json.Marshal without the escapes for HTML.
func marshalPlain(v any) (string, error) {
	var buf strings.Builder
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(buf.String(), "\n"), nil
}
