package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/sampan-dev/sampan/internal/harness/llm"
)

// The types below read what servers send. Fields that nobody needs (id, created)
// are left out, so that their odd types cannot matter, and the rest is declared
// with types that take any JSON value: their UnmarshalJSON never fails.

// wireResponse is a whole response, or one event of a stream.
type wireResponse struct {
	Model   flexString   `json:"model"`
	Choices []wireChoice `json:"choices"`
	Usage   *wireUsage   `json:"usage"`
	// The rest tells an error in disguise.
	Error  json.RawMessage `json:"error"`
	Detail json.RawMessage `json:"detail"`
	Type   flexString      `json:"type"`
	Object flexString      `json:"object"`
}

type wireChoice struct {
	Index        flexInt         `json:"index"`
	Message      *wireMessage    `json:"message"`
	Delta        *wireMessage    `json:"delta"`
	FinishReason flexString      `json:"finish_reason"`
	Error        json.RawMessage `json:"error"`
}

type wireMessage struct {
	Content          flexText      `json:"content"`
	ReasoningContent flexText      `json:"reasoning_content"`
	Reasoning        flexText      `json:"reasoning"`
	Refusal          flexText      `json:"refusal"`
	ToolCalls        wireCalls     `json:"tool_calls"`
	FunctionCall     *wireFunction `json:"function_call"`
}

type wireCall struct {
	Index    flexInt      `json:"index"`
	ID       flexString   `json:"id"`
	Function wireFunction `json:"function"`
	// Some servers forget the level of "function".
	wireFunction
}

type wireFunction struct {
	Name      flexString      `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

// wireUsage is usage in the spellings of OpenAI, DeepSeek, Moonshot and Anthropic.
type wireUsage struct {
	PromptTokens     flexInt `json:"prompt_tokens"`
	CompletionTokens flexInt `json:"completion_tokens"`
	InputTokens      flexInt `json:"input_tokens"`
	OutputTokens     flexInt `json:"output_tokens"`
	PromptDetails    struct {
		CachedTokens flexInt `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		ReasoningTokens flexInt `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
	CacheHitTokens flexInt `json:"prompt_cache_hit_tokens"`
	CachedTokens   flexInt `json:"cached_tokens"`
}

// neutral gives the usage in our terms, or nil when it says nothing.
func (u *wireUsage) neutral() *llm.Usage {
	if u == nil {
		return nil
	}
	out := llm.Usage{
		InputTokens:       first(u.PromptTokens, u.InputTokens),
		OutputTokens:      first(u.CompletionTokens, u.OutputTokens),
		CachedInputTokens: first(u.PromptDetails.CachedTokens, u.CacheHitTokens, u.CachedTokens),
		ReasoningTokens:   first(u.CompletionDetails.ReasoningTokens),
	}
	if out.InputTokens == 0 && out.OutputTokens == 0 {
		return nil
	}
	out.CachedInputTokens = min(out.CachedInputTokens, out.InputTokens)
	if out.ReasoningTokens > out.OutputTokens {
		// Servers that count reasoning beside the output, not in it.
		out.OutputTokens += out.ReasoningTokens
	}
	return &out
}

// first is the first number that is above zero.
func first(values ...flexInt) int64 {
	for _, v := range values {
		if v.value > 0 {
			return v.value
		}
	}
	return 0
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
		var text string
		if json.Unmarshal(data, &text) == nil {
			*s = flexString(text)
		}
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
		if json.Unmarshal(data, &t.text) != nil {
			t.text = ""
		}
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
		var text string
		if json.Unmarshal(raw, &text) == nil {
			return text
		}
	}
	return string(raw)
}
