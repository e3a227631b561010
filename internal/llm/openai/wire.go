package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
)

// The types below read what servers send. Fields that nobody needs (id, created)
// are left out, so that their odd types cannot matter, and the rest is declared
// with types that take any JSON value: their UnmarshalJSON never fails.

// wireResponse is a whole response, or one event of a stream.
type wireResponse struct {
	Model   flexString   `json:"model"`
	Choices []wireChoice `json:"choices"`
	Usage   *wireUsage   `json:"usage"`
	// Where else counts are found; see usage.
	GeminiUsage *wireUsage `json:"usageMetadata"`
	Groq        struct {
		Usage *wireUsage `json:"usage"`
	} `json:"x_groq"`
	Timings      *wireTimings `json:"timings"`
	OllamaPrompt flexInt      `json:"prompt_eval_count"`
	OllamaEval   flexInt      `json:"eval_count"`
	// The rest tells an error in disguise.
	Error  json.RawMessage `json:"error"`
	Detail json.RawMessage `json:"detail"`
	Type   flexString      `json:"type"`
	Object flexString      `json:"object"`
}

type wireChoice struct {
	Index        flexInt      `json:"index"`
	Message      *wireMessage `json:"message"`
	Delta        *wireMessage `json:"delta"`
	FinishReason flexString   `json:"finish_reason"`
	// NativeFinish is the word of the server behind a gateway.
	NativeFinish flexString      `json:"native_finish_reason"`
	Error        json.RawMessage `json:"error"`
	Usage        *wireUsage      `json:"usage"`
}

type wireMessage struct {
	Content          flexText      `json:"content"`
	ReasoningContent flexText      `json:"reasoning_content"`
	Reasoning        flexText      `json:"reasoning"`
	ReasoningText    flexText      `json:"reasoning_text"`
	Refusal          flexText      `json:"refusal"`
	ToolCalls        wireCalls     `json:"tool_calls"`
	FunctionCall     *wireFunction `json:"function_call"`
	wireOpaque
}

type wireCall struct {
	Index    flexInt      `json:"index"`
	ID       flexString   `json:"id"`
	Function wireFunction `json:"function"`
	// Some servers forget the level of "function".
	wireFunction
	// opaque are the fields that are not known here.
	opaque opaqueFields
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *wireCall) UnmarshalJSON(data []byte) error {
	type plain wireCall
	*c = wireCall{}
	err := tolerant(json.Unmarshal(data, (*plain)(c)))
	c.opaque = unknownFields(data)
	return err
}

type wireFunction struct {
	Name      flexString      `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

// tolerant forgives a value of the wrong type: encoding/json leaves its field
// empty and reads on.
func tolerant(err error) error {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		return nil
	}
	return err
}

// flexString takes a string, a number or a bool as text; anything else is empty.
type flexString string

func (s *flexString) UnmarshalJSON(data []byte) error {
	*s = ""
	switch data[0] {
	case '"':
		*s = flexString(unquote(data))
	case 'n', '{', '[':
	default:
		*s = flexString(data)
	}
	return nil
}

// flexInt takes a number, whole or not, also as a string.
type flexInt struct {
	value   int64
	present bool
}

func (i *flexInt) UnmarshalJSON(data []byte) error {
	*i = flexInt{}
	f, err := strconv.ParseFloat(string(bytes.Trim(data, `"`)), 64)
	if err != nil || math.IsNaN(f) {
		return nil //nolint:nilerr // not a number is as good as absent
	}
	const most = 1 << 53 // what a float64 counts exactly
	i.value, i.present = int64(max(-most, min(f, most))), true
	return nil
}

// flexText takes a string or a list of parts. Parts that are thoughts are kept apart.
type flexText struct {
	text     string
	thoughts string
}

func (t *flexText) UnmarshalJSON(data []byte) error {
	t.read(data, 8)
	return nil
}

// read joins the parts of a content; depth bounds how far they nest.
func (t *flexText) read(data []byte, depth int) {
	*t = flexText{}
	if depth == 0 || len(data) == 0 {
		return
	}
	switch data[0] {
	case '"':
		t.text = unquote(data)
	case '[':
		var parts []json.RawMessage
		if json.Unmarshal(data, &parts) != nil {
			return
		}
		var text, thoughts strings.Builder
		for _, p := range parts {
			var part flexText
			part.read(p, depth-1)
			text.WriteString(part.text)
			thoughts.WriteString(part.thoughts)
		}
		t.text, t.thoughts = text.String(), thoughts.String()
	case '{':
		var part struct {
			Type     flexString      `json:"type"`
			Text     json.RawMessage `json:"text"`
			Thinking json.RawMessage `json:"thinking"`
		}
		if tolerant(json.Unmarshal(data, &part)) != nil {
			return
		}
		var text, thoughts flexText
		text.read(part.Text, depth-1)
		thoughts.read(part.Thinking, depth-1)
		t.text, t.thoughts = text.text, thoughts.text
		if part.Type == "thinking" || part.Type == "reasoning" {
			t.text, t.thoughts = "", text.text+thoughts.text
		}
	}
}

// wireCalls takes a list of calls, or one that stands alone.
type wireCalls []wireCall

func (c *wireCalls) UnmarshalJSON(data []byte) error {
	*c = nil
	switch data[0] {
	case '[':
		var list []*wireCall
		json.Unmarshal(data, &list) //nolint:errcheck // what can be read is read
		for _, call := range list {
			if call != nil {
				*c = append(*c, *call)
			}
		}
	case '{':
		var call wireCall
		if tolerant(json.Unmarshal(data, &call)) == nil {
			*c = append(*c, call)
		}
	}
	return nil
}

// name and arguments look on both levels.
func (c *wireCall) name() string {
	if c.Function.Name != "" {
		return string(c.Function.Name)
	}
	return string(c.Name)
}

func (c *wireCall) arguments() string {
	if text := argumentText(c.Function.Arguments); text != "" {
		return text
	}
	return argumentText(c.Arguments)
}

// argumentText gives arguments as text: the content of a string, the JSON of
// anything else, nothing for null.
func argumentText(raw json.RawMessage) string {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return ""
	}
	if raw[0] == '"' {
		return unquote(raw)
	}
	return string(raw)
}
