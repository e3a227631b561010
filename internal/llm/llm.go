// Package llm holds the neutral form of a conversation with a model and the
// interface through which the harness talks to one. It knows no wire format.
package llm

import (
	"context"
	"time"
)

// Role says who wrote a message.
type Role string

// The roles of a conversation.
const (
	RoleSystem    Role = "system"
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTool      Role = "tool"
)

// Message is one entry of the conversation.
type Message struct {
	Role Role `json:"role"`
	// Content is the visible text; it may be empty for an assistant that only calls tools.
	Content string `json:"content"`
	// Reasoning is the model's thinking, kept apart from Content. It is sent
	// back only where the model's quirks ask for it.
	Reasoning string `json:"reasoning,omitempty"`
	// ToolCalls are what an assistant asks to be run, in the order it gave them.
	ToolCalls []ToolCall `json:"toolCalls,omitempty"`
	// ToolCallID ties a RoleTool message to the call it answers.
	ToolCallID string `json:"toolCallID,omitempty"`
	// From names the server and model that gave the message, as its provider
	// does; empty where the harness wrote it.
	From string `json:"from,omitempty"`
	// Opaque is what else From gave with the message and wants back with it, the
	// text of a JSON object. Only a provider that calls itself From may read it.
	Opaque string `json:"opaque,omitempty"`
}

// ToolCall is one request of the model to run a tool.
type ToolCall struct {
	// ID is unique in the conversation; providers make it so when the server does not.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Arguments is the text as the model gave it: normally a JSON object, but
	// nothing may be assumed of it.
	Arguments string `json:"arguments"`
	// Opaque is to the call what Message.Opaque is to the message.
	Opaque string `json:"opaque,omitempty"`
}

// ToolSpec is what the model is told of a tool.
type ToolSpec struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	// Parameters is a JSON Schema of type object.
	Parameters []byte `json:"parameters"`
}

// Request is one model call.
type Request struct {
	// Model is the id that the server knows.
	Model    string
	Messages []Message
	Tools    []ToolSpec
	// MaxOutputTokens bounds the reply; 0 leaves it to the server.
	MaxOutputTokens int
}

// Usage counts tokens of one call or of a run.
type Usage struct {
	// InputTokens includes CachedInputTokens.
	InputTokens       int64 `json:"inputTokens"`
	CachedInputTokens int64 `json:"cachedInputTokens,omitempty"`
	// OutputTokens includes ReasoningTokens.
	OutputTokens    int64 `json:"outputTokens"`
	ReasoningTokens int64 `json:"reasoningTokens,omitempty"`
	// Estimated is true when the server did not say and the numbers are our estimate.
	Estimated bool `json:"estimated,omitempty"`
}

// Add adds what another call took.
func (u *Usage) Add(other Usage) {
	u.InputTokens += other.InputTokens
	u.CachedInputTokens += other.CachedInputTokens
	u.OutputTokens += other.OutputTokens
	u.ReasoningTokens += other.ReasoningTokens
	u.Estimated = u.Estimated || other.Estimated
}

// FinishReason says why the model stopped, in neutral words.
type FinishReason string

// The finish reasons. Of anything else a provider makes an *Error: a reply is the
// end of the model's work only with FinishStop.
const (
	FinishStop          FinishReason = "stop"
	FinishToolCalls     FinishReason = "tool_calls"
	FinishLength        FinishReason = "length"
	FinishContentFilter FinishReason = "content_filter"
	// FinishPaused: the server stopped in between and wants to be asked to go on.
	FinishPaused FinishReason = "paused"
)

// Response is the model's reply to one Request.
type Response struct {
	Message      Message
	FinishReason FinishReason
	Usage        Usage
	// Model is what the server says has answered; empty when it does not say.
	Model string
	// Notes say what the provider had to repair in the reply, for the transcript:
	// a tool call salvaged from text, arguments repaired, an id made unique.
	Notes []string
}

// Provider is a model behind some wire format. Complete makes exactly one
// attempt: retrying and falling back are the caller's. It must return soon
// after ctx ends, and every error it returns is an *Error.
type Provider interface {
	Complete(ctx context.Context, req Request) (*Response, error)
}

// Category names what kind of failure a model call ended with. "Fix the setup"
// and "this model cannot do it" never share one.
type Category string

// The failure categories; probe, run and status use the same ones.
const (
	CredentialConfig      Category = "CredentialConfig"
	ProviderUnsupported   Category = "ProviderUnsupported"
	ToolCallShapeMismatch Category = "ToolCallShapeMismatch"
	ModelQuality          Category = "ModelQuality"
	RateLimited           Category = "RateLimited"
	QuotaExceeded         Category = "QuotaExceeded"
	ContextLength         Category = "ContextLength"
	ContentFilter         Category = "ContentFilter"
	Timeout               Category = "Timeout"
	Network               Category = "Network"
	Overloaded            Category = "Overloaded"
	EmptyResponse         Category = "EmptyResponse"
	TruncatedStream       Category = "TruncatedStream"
	TextToolCall          Category = "TextToolCall"
	// Stopped: the run ended in the middle of the call. It says what a call cost,
	// and never why a run ended.
	Stopped Category = "Stopped"
)

// Error is a failed model call.
type Error struct {
	Category Category
	// Message is for people; it never holds a key or a header.
	Message string
	// Retryable says that the same request may succeed when sent again.
	Retryable bool
	// RetryAfter is what the server asked for; 0 when it did not.
	RetryAfter time.Duration
	// ContextWindow is how many tokens the model takes, where a refusal as
	// ContextLength says so; else 0.
	ContextWindow int
	// Status is the HTTP status, 0 when there was none.
	Status int
	// Hint is for the model: what it did wrong, where sending the same request
	// again would lead to the same reply. Empty where it did nothing wrong.
	Hint string
	// Adapted says what the provider sends otherwise from here on, since the server
	// refused it as it was: the next attempt is another request and worth making,
	// whatever Retryable says of this one. Else it is empty.
	Adapted string
	// Usage is what the call cost all the same: as the server said, or estimated
	// where it had the request and could not say any more. Zero where it never
	// had it, or refused it.
	Usage Usage
	// Err is the cause, if any.
	Err error
}

// Error implements error.
func (e *Error) Error() string { return string(e.Category) + ": " + e.Message }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }
