package transcript

import (
	"encoding/json"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
)

// Data is implemented by the data structs of events; it keeps a struct from
// being written under another type's name.
type Data interface{ EventType() Type }

// RunStarted is the first event: all that the conversation begins with.
type RunStarted struct {
	Task string `json:"task"`
	// SystemPrompt and Prompt are the first two messages, word for word. Those of
	// From come in between, and Prompt is empty there if nothing comes after them.
	SystemPrompt string `json:"systemPrompt"`
	Prompt       string `json:"prompt"`
	// From is set where the run goes on from another one.
	From *Origin `json:"from,omitempty"`
	// Models are the registry ids of the candidates, in order.
	Models []string       `json:"models"`
	Tools  []ToolSpec     `json:"tools,omitempty"`
	Limits Limits         `json:"limits"`
	Verify []Verification `json:"verify,omitempty"`
}

// Origin is the state of another run that a run begins with.
type Origin struct {
	// Task is that run's, UID the task's, empty without a cluster.
	Task string `json:"task"`
	UID  string `json:"uid,omitempty"`
	// Turn is its last turn that counts, Events the number of the last event of its
	// transcript that does, and Digest the summary digest up to that.
	Turn   int    `json:"turn"`
	Events int64  `json:"events"`
	Digest string `json:"digest"`
	// Messages are its conversation up to there, without the system prompt.
	Messages []llm.Message `json:"messages"`
	// Prompt is what it was last told to do.
	Prompt string `json:"prompt"`
	// Notice is what the harness says of the change. With what the run is to do, where that is
	// not the first message, it is the message after those.
	Notice string `json:"notice"`
}

// ToolSpec is a tool as the model was told of it.
type ToolSpec struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
}

// Limits are the run's hard stops; absent is none.
type Limits struct {
	Turns         int    `json:"turns,omitempty"`
	ActiveSeconds int64  `json:"activeSeconds,omitempty"`
	InputTokens   int64  `json:"inputTokens,omitempty"`
	OutputTokens  int64  `json:"outputTokens,omitempty"`
	CostUSD       string `json:"costUSD,omitempty"`
	ToolSeconds   int64  `json:"toolSeconds,omitempty"`
}

// RunResumed says that another process went on with the run from here.
type RunResumed struct {
	// FromSeq is the last event that was read.
	FromSeq int64 `json:"fromSeq"`
	// FromDigest is the summary digest up to FromSeq.
	FromDigest string `json:"fromDigest,omitempty"`
	// Messages is the length of the rebuilt conversation.
	Messages int `json:"messages"`
}

// Request says that a model call was about to be made.
type Request struct {
	// Model is the registry id, Upstream the id that the server knows.
	Model    string `json:"model"`
	Upstream string `json:"upstream"`
	Messages int    `json:"messages"`
	// EstimatedInputTokens is our estimate; the server's count is in the response.
	EstimatedInputTokens int64 `json:"estimatedInputTokens"`
	MaxOutputTokens      int   `json:"maxOutputTokens,omitempty"`
}

// Response is the model's reply.
type Response struct {
	// Model is the registry id; ServedBy is what the server called itself.
	Model    string `json:"model"`
	ServedBy string `json:"servedBy,omitempty"`
	// Message is the reply, in neutral form.
	Message      llm.Message      `json:"message"`
	FinishReason llm.FinishReason `json:"finishReason"`
	Usage        llm.Usage        `json:"usage"`
	// CostUSD is of this call alone.
	CostUSD       decimal.Decimal `json:"costUSD"`
	LatencyMillis int64           `json:"latencyMillis"`
	// Kept is false where the reply did not become part of the conversation
	// (an empty one).
	Kept bool `json:"kept"`
	// Notes say what was repaired in the reply: arguments repaired, a call
	// salvaged from text, an id made unique. Message is the repaired one.
	Notes []string `json:"notes,omitempty"`
}

// ToolCall says that a call was about to be run.
type ToolCall struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// ToolResult is the answer to a call, as the model sees it.
type ToolResult struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Content string `json:"content"`
	IsError bool   `json:"isError,omitempty"`
	// Synthetic is true where the tool did not give the answer: the run was
	// cancelled, the call was cut off, or the process died in the middle.
	Synthetic      bool  `json:"synthetic,omitempty"`
	DurationMillis int64 `json:"durationMillis"`
}

// Retry says that a model call failed, and whether it is sent again.
type Retry struct {
	Model string `json:"model"`
	// Attempt is the one that failed, from 1.
	Attempt  int          `json:"attempt"`
	Category llm.Category `json:"category"`
	Message  string       `json:"message"`
	// WaitMillis is the pause before the next attempt.
	WaitMillis int64 `json:"waitMillis"`
	// Adapted says what is sent otherwise from here on, where the server refused
	// the form of the request.
	Adapted string `json:"adapted,omitempty"`
	// GaveUp is true where no attempt with this model follows for now: another
	// model takes over, the conversation is cut down, or the run ends.
	GaveUp bool `json:"gaveUp,omitempty"`
	// Usage and CostUSD are what the failed call cost all the same, estimated
	// where the server could not say it any more; absent where it cost nothing.
	Usage         *llm.Usage       `json:"usage,omitempty"`
	CostUSD       *decimal.Decimal `json:"costUSD,omitempty"`
	LatencyMillis int64            `json:"latencyMillis,omitempty"`
}

// Fallback says that another model takes over.
type Fallback struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Category and Message say why; both are empty on the way back to a model
	// whose cool-down is over.
	Category llm.Category `json:"category,omitempty"`
	Message  string       `json:"message,omitempty"`
}

// Compaction says what was left out of the conversation from here on. Applied
// to the messages before it (elisions, then the drop), it gives those after it.
type Compaction struct {
	MessagesBefore int   `json:"messagesBefore"`
	MessagesAfter  int   `json:"messagesAfter"`
	TokensBefore   int64 `json:"tokensBefore"`
	TokensAfter    int64 `json:"tokensAfter"`
	ContextWindow  int   `json:"contextWindow"`
	// Elisions replace the content of messages, by index before the compaction.
	Elisions []Elision `json:"elisions,omitempty"`
	// Messages [DropFrom, DropTo) gave way to one user message, Note.
	DropFrom int    `json:"dropFrom,omitempty"`
	DropTo   int    `json:"dropTo,omitempty"`
	Note     string `json:"note,omitempty"`
	// Kept is one of those messages that stays all the same, before Note; 0 is none.
	Kept int `json:"kept,omitempty"`
}

// Elision is one message's new content.
type Elision struct {
	Message int    `json:"message"`
	Content string `json:"content"`
}

// NoticeKind names why the harness spoke to the model.
type NoticeKind string

// The kinds of notices.
const (
	NoticeSoftLimit       NoticeKind = "softLimit"
	NoticeEmptyReply      NoticeKind = "emptyReply"
	NoticeMissingToolCall NoticeKind = "missingToolCall"
	NoticeOutputLimit     NoticeKind = "outputLimit"
	// NoticePaused: the server stopped the reply in between.
	NoticePaused NoticeKind = "paused"
	// NoticeUnusableReply: a reply was of no use, and why.
	NoticeUnusableReply      NoticeKind = "unusableReply"
	NoticeLoop               NoticeKind = "loop"
	NoticeVerificationFailed NoticeKind = "verificationFailed"
	// NoticeWrapUp: the user asked the run to come to an end.
	NoticeWrapUp NoticeKind = "wrapUp"
	// NoticeWorkspaceRestored: the workspace is that of an earlier turn.
	NoticeWorkspaceRestored NoticeKind = "workspaceRestored"
)

// Notice is a user message that the harness added to the conversation.
type Notice struct {
	Kind NoticeKind `json:"kind"`
	Text string     `json:"text"`
}

// Verification is a command and, once it ran, how it went.
type Verification struct {
	Name           string `json:"name"`
	Command        string `json:"command"`
	TimeoutSeconds int64  `json:"timeoutSeconds,omitempty"`
	// Separate: it is run in another pod, on the files of a checkpoint.
	Separate bool `json:"separate,omitempty"`
	// The rest is absent in run_started.
	Passed         bool   `json:"passed,omitempty"`
	ExitCode       *int   `json:"exitCode,omitempty"`
	TimedOut       bool   `json:"timedOut,omitempty"`
	Output         string `json:"output,omitempty"`
	DurationMillis int64  `json:"durationMillis,omitempty"`
}

// RunEnded is the terminal event.
type RunEnded struct {
	// Reason is the harness's End; only Completed is success.
	Reason    string          `json:"reason"`
	Category  llm.Category    `json:"category,omitempty"`
	Message   string          `json:"message"`
	ExitCode  int             `json:"exitCode"`
	Model     string          `json:"model,omitempty"`
	Turns     int             `json:"turns"`
	ToolCalls int             `json:"toolCalls"`
	Failed    int             `json:"failedToolCalls"`
	Usage     llm.Usage       `json:"usage"`
	CostUSD   decimal.Decimal `json:"costUSD"`
	// Checkpoint is the digest of the workspace that Separate verifications run on, with
	// reason VerificationPending.
	Checkpoint string `json:"checkpoint,omitempty"`
	// Detail helps to find a bug (a stack), with reason Internal.
	Detail string `json:"detail,omitempty"`
}

// EventType implements Data.
func (RunStarted) EventType() Type { return TypeRunStarted }

// EventType implements Data.
func (RunResumed) EventType() Type { return TypeRunResumed }

// EventType implements Data.
func (Request) EventType() Type { return TypeRequest }

// EventType implements Data.
func (Response) EventType() Type { return TypeResponse }

// EventType implements Data.
func (ToolCall) EventType() Type { return TypeToolCall }

// EventType implements Data.
func (ToolResult) EventType() Type { return TypeToolResult }

// EventType implements Data.
func (Retry) EventType() Type { return TypeRetry }

// EventType implements Data.
func (Fallback) EventType() Type { return TypeFallback }

// EventType implements Data.
func (Compaction) EventType() Type { return TypeCompaction }

// EventType implements Data.
func (Notice) EventType() Type { return TypeNotice }

// EventType implements Data.
func (Verification) EventType() Type { return TypeVerification }

// EventType implements Data.
func (RunEnded) EventType() Type { return TypeRunEnded }
