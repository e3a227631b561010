// Package harness is the agent loop: think, act, observe, until the model is
// done and the proof holds, or a limit stops it. It knows nothing of Kubernetes.
package harness

import (
	"time"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
)

// End is the reason a run stopped. Only Completed is success.
type End string

// The ends of a run.
const (
	// Completed: the model finished by itself and every verification passed.
	Completed End = "Completed"
	// VerificationFailed: a verification still failed when the run had no turns
	// or budget left to fix it, or when the model called it done again and
	// again without touching anything.
	VerificationFailed End = "VerificationFailed"
	// MaxTurns: the turn limit was reached.
	MaxTurns End = "MaxTurns"
	// DeadlineExceeded: the time limit was reached.
	DeadlineExceeded End = "DeadlineExceeded"
	// BudgetExceeded: the token or cost limit was reached, or the next call could have passed it.
	BudgetExceeded End = "BudgetExceeded"
	// LoopDetected: the same call gave the same result over and over, also after a notice.
	LoopDetected End = "LoopDetected"
	// EmptyResponse: the model kept answering with nothing.
	EmptyResponse End = "EmptyResponse"
	// ContextExhausted: the conversation no longer fits and could not be compacted.
	ContextExhausted End = "ContextExhausted"
	// ModelUnavailable: no candidate model could be reached or would answer.
	ModelUnavailable End = "ModelUnavailable"
	// SandboxLost: the executor is gone.
	SandboxLost End = "SandboxLost"
	// Cancelled: the run was stopped from outside; the message says why.
	Cancelled End = "Cancelled"
	// VerificationPending: the model finished and every Shared verification passed; the
	// Separate ones are to run elsewhere. No process goes on with the agent meanwhile.
	VerificationPending End = "VerificationPending"
	// VerificationRejected: a Separate verification failed; the agent is to go on.
	VerificationRejected End = "VerificationRejected"
	// Internal: the harness itself failed.
	Internal End = "Internal"
)

// exitCodes are part of the interface of agent-runner: scripts branch on them.
// 2 is left to wrong usage, and everything from 126 on to shells and signals.
var exitCodes = map[End]int{
	Completed: 0, Internal: 1, VerificationFailed: 3, MaxTurns: 4, DeadlineExceeded: 5, BudgetExceeded: 6,
	LoopDetected: 7, EmptyResponse: 8, ContextExhausted: 9, ModelUnavailable: 10, SandboxLost: 11, Cancelled: 12,
	VerificationPending: 13, VerificationRejected: 14,
}

// ExitCode is what a process that ran the task exits with: 0 for Completed
// alone, and a number of its own for every other end.
func (e End) ExitCode() int {
	if code, ok := exitCodes[e]; ok {
		return code
	}
	return exitCodes[Internal]
}

// Defaults of Limits and Verification.
const (
	DefaultTurns         = 100
	DefaultToolTimeout   = 10 * time.Minute
	DefaultVerifyTimeout = 10 * time.Minute
)

// Task is what to do and when to stop.
type Task struct {
	// Name is for people and the transcript.
	Name   string
	Prompt string
	// SystemPrompt is added to the built-in one.
	SystemPrompt string
	// Tools names the tools to offer; empty is all of them.
	Tools  []string
	Limits Limits
	Verify []Verification
}

// Limits are hard stops; 0 (or a zero decimal) is no limit unless said otherwise.
type Limits struct {
	// Turns is how many model calls a run may make; 0 is DefaultTurns.
	Turns        int
	Active       time.Duration
	InputTokens  int64
	OutputTokens int64
	CostUSD      decimal.Decimal
	// Tool caps one tool call; 0 is DefaultToolTimeout.
	Tool time.Duration
}

// Verification is a command that must exit 0 for the run to count as done.
type Verification struct {
	Name    string
	Command string
	// Timeout 0 is DefaultVerifyTimeout.
	Timeout time.Duration
	// Files are there while the command runs and at no other time, in the folder that
	// VERIFY_FILES names.
	Files map[string][]byte
	// Separate: it is run by another process, in a sandbox that has nothing of this one's
	// but the files of the workspace. It comes after those that are not.
	Separate bool
}

// Result is how a run ended. What it says is in the transcript.
type Result struct {
	Reason End `json:"reason"`
	// Category is set with ModelUnavailable.
	Category llm.Category `json:"category,omitempty"`
	// Message is the model's final reply for Completed, else what stopped the run, for people.
	Message       string               `json:"message"`
	Verifications []VerificationResult `json:"verifications,omitempty"`
	Progress      Progress             `json:"progress"`
	Transcript    TranscriptSummary    `json:"transcript"`
}

// VerificationResult is how a verification last went.
type VerificationResult struct {
	Name   string `json:"name"`
	Passed bool   `json:"passed"`
	// ExitCode is nil when the command did not exit by itself.
	ExitCode *int `json:"exitCode,omitempty"`
	// Message is the tail of its output, bounded.
	Message string `json:"message,omitempty"`
}

// Phase is what kind of step a run is in.
type Phase string

// The phases.
const (
	// PhaseStarting: the run begins, or goes on with an earlier process's.
	PhaseStarting Phase = "Starting"
	// PhaseCheckout: the workspace is being filled; the harness itself never does that.
	PhaseCheckout Phase = "Checkout"
	// PhaseThinking: a model call is under way.
	PhaseThinking Phase = "Thinking"
	// PhaseWaiting: a model call failed and is made again after a wait.
	PhaseWaiting Phase = "Waiting"
	// PhaseTool: tool calls are under way.
	PhaseTool Phase = "Tool"
	// PhaseVerifying: a verification is under way.
	PhaseVerifying Phase = "Verifying"
)

// Progress is where a run stands.
type Progress struct {
	// Model is the registry id of the model that answered last.
	Model           string          `json:"model"`
	Turns           int             `json:"turns"`
	ToolCalls       int             `json:"toolCalls"`
	FailedToolCalls int             `json:"failedToolCalls"`
	Usage           llm.Usage       `json:"usage"`
	CostUSD         decimal.Decimal `json:"costUSD"`
	// Phase is what kind of step the run is in; empty once it has ended.
	Phase Phase `json:"phase,omitempty"`
	// Activity says in a few words what is going on ("bash: go test ./..."),
	// on one line and safe to be shown. It is for people; Phase is for programs.
	Activity string    `json:"activity,omitempty"`
	Time     time.Time `json:"time"`
	// Transcript counts what is on disk, never less than what this Progress reports.
	Transcript TranscriptSummary `json:"transcript"`
}

// TranscriptSummary points at what has been written.
type TranscriptSummary struct {
	Events int64 `json:"events"`
	Bytes  int64 `json:"bytes"`
	// Digest is "sha256:" and the hex digest of all bytes written so far.
	Digest string `json:"digest"`
}
