package openai

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Quirks are what a model or its server needs to be treated otherwise than the
// protocol says. The zero value is the protocol. A registry entry holds one as
// `quirks`.
type Quirks struct {
	// ToolChoice is what tool_choice says when there are tools:
	//   auto (default);
	//   required: "required" whenever the model is to start on something (the last
	//     message is the user's) and "auto" after a tool's result, so that the
	//     model can finish: for servers that parse calls only when asked to;
	//   always: "required" on every call; the model can then not finish by text;
	//   omit: the field is not sent.
	ToolChoice string `yaml:"toolChoice,omitempty" json:"toolChoice,omitempty"`
	// NullContent is the content of an assistant's message that holds only tool calls:
	//   null (default), empty (""), omit (no field), text (a few words).
	NullContent string `yaml:"nullContent,omitempty" json:"nullContent,omitempty"`
	// MaxTokensField names the field for the output limit:
	//   max_tokens, max_completion_tokens, or none to send no limit. The default is
	//   max_completion_tokens for models named o1*, o3*, o4* and gpt-5*, which
	//   refuse the other one, and max_tokens else.
	MaxTokensField string `yaml:"maxTokensField,omitempty" json:"maxTokensField,omitempty"`
	// TextToolCalls is what happens to a tool call that comes as text, as
	// <tool_call>{…}</tool_call>, a fenced JSON block or a bare JSON object:
	//   reject (default): the call fails with category TextToolCall;
	//   salvage: it becomes a tool call when the tool exists and the arguments fit
	//     its schema, else it fails as above;
	//   ignore: it stays text.
	TextToolCalls string `yaml:"textToolCalls,omitempty" json:"textToolCalls,omitempty"`
	// ParallelToolCalls is sent as parallel_tool_calls when set and there are tools.
	ParallelToolCalls *bool `yaml:"parallelToolCalls,omitempty" json:"parallelToolCalls,omitempty"`
	// ReplayReasoning names the field in which earlier reasoning is sent back:
	//   never (default), reasoning_content, reasoning, reasoning_text; or required:
	//   reasoning_content with every message that calls tools, empty where there is none.
	ReplayReasoning string `yaml:"replayReasoning,omitempty" json:"replayReasoning,omitempty"`
	// UserAfterTool is what becomes of a message of the user that follows a tool's
	// result: allow (default), or fold: it is added to the result.
	UserAfterTool string `yaml:"userAfterTool,omitempty" json:"userAfterTool,omitempty"`
	// SystemRole is the role of the system prompt: system (default), developer, or
	// user: it becomes the beginning of the first message.
	SystemRole string `yaml:"systemRole,omitempty" json:"systemRole,omitempty"`
	// ToolCallIDs are sent as the server gave them, and those of another server in a
	// form that all take (keep, default), or all in the only form that Mistral's
	// servers take: nine letters and digits (alnum9).
	ToolCallIDs string `yaml:"toolCallIDs,omitempty" json:"toolCallIDs,omitempty"`
	// OneCallPerMessage sends earlier replies with several calls as several replies
	// with one, each before its result.
	OneCallPerMessage bool `yaml:"oneCallPerMessage,omitempty" json:"oneCallPerMessage,omitempty"`
	// OpaqueFields that the same server and model gave with a message or a call are
	// sent back with it (return, default), or left out (drop).
	OpaqueFields string `yaml:"opaqueFields,omitempty" json:"opaqueFields,omitempty"`
	// ThoughtSignatures are those of Gemini's calls: sent back where there is one
	// (own, default), or also filled in, in the form that Google has for it, for
	// calls that another model made (fill).
	ThoughtSignatures string `yaml:"thoughtSignatures,omitempty" json:"thoughtSignatures,omitempty"`
	// ToolSchemas are sent as they are (full, default), or with the keywords only
	// that every server takes (plain).
	ToolSchemas string `yaml:"toolSchemas,omitempty" json:"toolSchemas,omitempty"`
	// ToolMessageName sends the tool's name with its result.
	ToolMessageName bool `yaml:"toolMessageName,omitempty" json:"toolMessageName,omitempty"`
	// GoodEnds are further finish reasons that end a reply well; "" is none at all.
	GoodEnds []string `yaml:"goodEnds,omitempty" json:"goodEnds,omitempty"`
	// NoStream asks for whole responses. Only the total deadline then tells a slow
	// server from a dead one.
	NoStream bool `yaml:"noStream,omitempty" json:"noStream,omitempty"`
	// NoStreamUsage leaves stream_options out, for servers that refuse it.
	NoStreamUsage bool `yaml:"noStreamUsage,omitempty" json:"noStreamUsage,omitempty"`
	// Temperature is sent when set, also when it is 0.
	Temperature *float64 `yaml:"temperature,omitempty" json:"temperature,omitempty"`
	// ExtraBody is added to the top level of the request, for fields that only some
	// servers know, such as reasoning_effort or chat_template_kwargs.
	ExtraBody map[string]any `yaml:"extraBody,omitempty" json:"extraBody,omitempty"`
}

// The values of Quirks.
const (
	ToolChoiceAuto     = "auto"
	ToolChoiceRequired = "required"
	ToolChoiceAlways   = "always"
	ToolChoiceOmit     = "omit"

	NullContentNull  = "null"
	NullContentEmpty = "empty"
	NullContentOmit  = "omit"
	NullContentText  = "text"

	MaxTokens           = "max_tokens"
	MaxCompletionTokens = "max_completion_tokens"
	MaxTokensNone       = "none"

	TextToolCallsReject  = "reject"
	TextToolCallsSalvage = "salvage"
	TextToolCallsIgnore  = "ignore"

	ReplayNever            = "never"
	ReplayReasoningContent = "reasoning_content"
	ReplayReasoning        = "reasoning"
	ReplayReasoningText    = "reasoning_text"
	ReplayRequired         = "required"

	UserAfterToolAllow = "allow"
	UserAfterToolFold  = "fold"

	RoleSystem    = "system"
	RoleDeveloper = "developer"
	RoleUser      = "user"

	ToolCallIDsKeep   = "keep"
	ToolCallIDsAlnum9 = "alnum9"

	OpaqueFieldsReturn = "return"
	OpaqueFieldsDrop   = "drop"

	ThoughtSignaturesOwn  = "own"
	ThoughtSignaturesFill = "fill"

	ToolSchemasFull  = "full"
	ToolSchemasPlain = "plain"
)

// ownFields are written by this package; ExtraBody may not name them.
var ownFields = []string{
	"model", "messages", "tools", "tool_choice", "parallel_tool_calls", "stream",
	"stream_options", "temperature", "max_tokens", "max_completion_tokens", "n",
}

// Validate says which fields hold a value that is not allowed, all of them at once.
func (q Quirks) Validate() error {
	oneOf := func(field, value string, allowed ...string) error {
		if value == "" || slices.Contains(allowed, value) {
			return nil
		}
		return fmt.Errorf("%s: %q is not one of %s", field, value, strings.Join(allowed, ", "))
	}
	errs := []error{
		oneOf("toolChoice", q.ToolChoice, ToolChoiceAuto, ToolChoiceRequired, ToolChoiceAlways, ToolChoiceOmit),
		oneOf("nullContent", q.NullContent, NullContentNull, NullContentEmpty, NullContentOmit, NullContentText),
		oneOf("maxTokensField", q.MaxTokensField, MaxTokens, MaxCompletionTokens, MaxTokensNone),
		oneOf("textToolCalls", q.TextToolCalls, TextToolCallsReject, TextToolCallsSalvage, TextToolCallsIgnore),
		oneOf("replayReasoning", q.ReplayReasoning, ReplayNever, ReplayReasoningContent, ReplayReasoning, ReplayReasoningText, ReplayRequired),
		oneOf("userAfterTool", q.UserAfterTool, UserAfterToolAllow, UserAfterToolFold),
		oneOf("systemRole", q.SystemRole, RoleSystem, RoleDeveloper, RoleUser),
		oneOf("toolCallIDs", q.ToolCallIDs, ToolCallIDsKeep, ToolCallIDsAlnum9),
		oneOf("opaqueFields", q.OpaqueFields, OpaqueFieldsReturn, OpaqueFieldsDrop),
		oneOf("thoughtSignatures", q.ThoughtSignatures, ThoughtSignaturesOwn, ThoughtSignaturesFill),
		oneOf("toolSchemas", q.ToolSchemas, ToolSchemasFull, ToolSchemasPlain),
	}
	if t := q.Temperature; t != nil && !(*t >= 0 && *t <= 2) {
		errs = append(errs, fmt.Errorf("temperature: %v is not between 0 and 2", *t))
	}
	for name := range q.ExtraBody {
		if slices.Contains(ownFields, name) {
			errs = append(errs, fmt.Errorf("extraBody: %s is not for this place", name))
		}
	}
	if _, err := marshalPlain(q.ExtraBody); err != nil {
		errs = append(errs, fmt.Errorf("extraBody: %w", err))
	}
	return errors.Join(errs...)
}
