package harness

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// TestEnds runs one task to each end. Time is virtual.
func TestEnds(t *testing.T) {
	loop := calls(call("", "write", `{"a":1}`))
	failing := func(context.Context, tool.ExecRequest) (*tool.ExecResult, error) { return exits(1, "FAIL: TestX"), nil }
	verify := []Verification{{Name: "tests", Command: "go test ./..."}}
	tests := map[string]struct {
		replies  []reply
		setup    func(f *fixture)
		want     End
		category llm.Category
		message  string
	}{
		"done": {replies: []reply{says(" All done. ")}, want: Completed, message: "All done."},
		"done and verified": {
			replies: []reply{calls(call("1", "write", "{}")), says("ok")},
			setup:   func(f *fixture) { f.Task.Verify = verify },
			want:    Completed, message: "ok",
		},
		"verification fails to the last turn": {
			replies: []reply{says("done"), calls(call("", "write", "{}"))},
			setup: func(f *fixture) {
				f.Task.Verify, f.exec.exec, f.Task.Limits.Turns = verify, failing, 2
			},
			want: VerificationFailed, message: "The limit of 2 turns was reached and verification \"tests\" still failed.",
		},
		"done over and over without doing anything": {
			replies: []reply{says("done")},
			setup:   func(f *fixture) { f.Task.Verify, f.exec.exec = verify, failing },
			want:    VerificationFailed,
		},
		"turn limit": {
			replies: []reply{calls(call("", "read", `1`)), calls(call("", "read", `2`)), calls(call("", "read", `3`))},
			setup:   func(f *fixture) { f.Task.Limits.Turns = 3 },
			want:    MaxTurns, message: "The limit of 3 turns was reached before the model was done.",
		},
		"turn limit of one": {
			replies: []reply{calls(call("", "read", `1`))},
			setup:   func(f *fixture) { f.Task.Limits.Turns = 1 },
			want:    MaxTurns, message: "The limit of 1 turn was reached before the model was done.",
		},
		"active time, in a model call": {
			replies: []reply{hangs()},
			setup:   func(f *fixture) { f.Task.Limits.Active = 5 * time.Second },
			want:    DeadlineExceeded,
		},
		"active time, in a tool": {
			replies: []reply{calls(call("1", "write", "{}"))},
			setup: func(f *fixture) {
				f.Task.Limits.Active = 5 * time.Second
				f.tools.run = func(ctx context.Context, _ llm.ToolCall) (ToolResult, error) {
					<-ctx.Done()
					return ToolResult{}, ctx.Err()
				}
			},
			want: DeadlineExceeded,
		},
		"active time, in a verification": {
			replies: []reply{says("done")},
			setup: func(f *fixture) {
				f.Task.Limits.Active, f.Task.Verify = 5*time.Second, verify
				f.exec.exec = func(ctx context.Context, _ tool.ExecRequest) (*tool.ExecResult, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			},
			want: DeadlineExceeded,
		},
		"input tokens": {
			replies: []reply{loop},
			setup:   func(f *fixture) { f.Task.Limits.InputTokens = 450 },
			want:    BudgetExceeded,
		},
		"output tokens": {
			replies: []reply{loop},
			setup:   func(f *fixture) { f.Task.Limits.OutputTokens = 50 },
			want:    BudgetExceeded,
		},
		"cost": {
			replies: []reply{loop},
			setup: func(f *fixture) {
				f.Task.Limits.CostUSD = decimal.RequireFromString("0.0005")
				m := model("m", f.provider)
				m.Pricing = &models.Pricing{InputPerMTok: decimal.NewFromInt(1), OutputPerMTok: decimal.NewFromInt(2)}
				f.Models = broker.FixedRouter{m}
			},
			want: BudgetExceeded,
		},
		"loop": {replies: []reply{loop}, want: LoopDetected},
		"nothing but empty replies": {
			replies: []reply{says(" \n")}, want: EmptyResponse,
		},
		"nothing but reasoning": {
			replies: []reply{respond(llm.Response{Message: llm.Message{Role: llm.RoleAssistant, Reasoning: "hm"}, FinishReason: llm.FinishStop})},
			want:    EmptyResponse,
		},
		"announced calls that never come": {
			replies: []reply{respond(llm.Response{Message: llm.Message{Role: llm.RoleAssistant, Content: "I will."}, FinishReason: llm.FinishToolCalls})},
			want:    EmptyResponse,
		},
		"empty bodies": {
			replies: []reply{fails(&llm.Error{Category: llm.EmptyResponse, Message: "no choices", Retryable: true})},
			want:    EmptyResponse,
		},
		"task longer than the window": {
			replies: []reply{says("never")},
			setup: func(f *fixture) {
				f.Task.Prompt = strings.Repeat("word ", 4000)
				m := model("m", f.provider)
				m.ContextWindow, m.MaxOutputTokens = 2048, 256
				f.Models = broker.FixedRouter{m}
			},
			want: ContextExhausted,
		},
		"server refuses the length for good": {
			replies: []reply{fails(&llm.Error{Category: llm.ContextLength, Message: "too long"})},
			want:    ContextExhausted,
		},
		"server overloaded": {
			replies: []reply{fails(&llm.Error{Category: llm.Overloaded, Message: "503", Retryable: true})},
			want:    ModelUnavailable, category: llm.Overloaded, message: "No model answered. m: Overloaded: 503",
		},
		"wrong key": {
			replies: []reply{fails(&llm.Error{Category: llm.CredentialConfig, Message: "401"})},
			want:    ModelUnavailable, category: llm.CredentialConfig,
		},
		"call timeout": {
			replies: []reply{hangs()},
			want:    ModelUnavailable, category: llm.Timeout,
		},
		"content filter": {
			replies: []reply{respond(llm.Response{Message: llm.Message{Content: "half"}, FinishReason: llm.FinishContentFilter})},
			want:    ModelUnavailable, category: llm.ContentFilter,
		},
		"no candidate": {
			replies: []reply{says("never")},
			setup:   func(f *fixture) { f.Models = broker.FixedRouter{} },
			want:    ModelUnavailable, category: llm.ProviderUnsupported,
		},
		"sandbox lost in a tool": {
			replies: []reply{calls(call("1", "write", "{}"), call("2", "read", "{}"))},
			setup: func(f *fixture) {
				f.tools.run = func(context.Context, llm.ToolCall) (ToolResult, error) { return ToolResult{}, errGone }
			},
			want: SandboxLost,
		},
		"sandbox lost in a verification": {
			replies: []reply{says("done")},
			setup: func(f *fixture) {
				f.Task.Verify = verify
				f.exec.exec = func(context.Context, tool.ExecRequest) (*tool.ExecResult, error) { return nil, errGone }
			},
			want: SandboxLost,
		},
		"sandbox lost before the start": {
			replies: []reply{says("never")},
			setup:   func(f *fixture) { f.exec.err = errGone },
			want:    SandboxLost,
		},
		"provider panics": {
			replies: []reply{func(context.Context, llm.Request) (*llm.Response, error) { panic("boom") }},
			want:    Internal,
		},
		"router panics": {
			replies: []reply{says("never")},
			setup:   func(f *fixture) { f.Models = panickingRouter{} },
			want:    Internal, message: "The harness failed: boom",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(script(tc.replies...))
				if tc.setup != nil {
					tc.setup(f)
				}
				res := f.run(t, t.Context())
				if res.Reason != tc.want || res.Category != tc.category {
					t.Errorf("ended %s (%q), want %s (%q); message: %s", res.Reason, res.Category, tc.want, tc.category, res.Message)
				}
				if tc.message != "" && res.Message != tc.message {
					t.Error(cmp.Diff(tc.message, res.Message))
				}
				if res.Message == "" {
					t.Error("no message")
				}
			})
		})
	}
}

type panickingRouter struct{}

func (panickingRouter) Candidates(context.Context, broker.Need) ([]broker.Model, error) {
	panic("boom")
}

// TestExitCodes: one number for each end, 0 for success alone.
func TestExitCodes(t *testing.T) {
	seen := map[int]End{}
	for _, e := range []End{
		Completed, VerificationFailed, VerificationPending, VerificationRejected, MaxTurns, DeadlineExceeded, BudgetExceeded, LoopDetected,
		EmptyResponse, ContextExhausted, ModelUnavailable, SandboxLost, Cancelled, Internal,
	} {
		code := e.ExitCode()
		if other, dup := seen[code]; dup {
			t.Errorf("%s and %s share exit code %d", e, other, code)
		}
		if (code == 0) != (e == Completed) || code == 2 || code > 125 {
			t.Errorf("%s has exit code %d", e, code)
		}
		seen[code] = e
	}
	if End("?").ExitCode() == 0 {
		t.Error("an unknown end exits 0")
	}
}

// TestCancel: whatever the run is doing, and whether or not that listens, the
// run ends within a second, with every call answered.
func TestCancel(t *testing.T) {
	deaf := func() { pass(time.Hour) }
	tests := map[string]struct {
		replies []reply
		setup   func(f *fixture)
		cause   error
		want    End
		answers int
	}{
		"in a model call": {replies: []reply{hangs()}, cause: ErrCancelled, want: Cancelled},
		"in a model call that does not listen": {
			replies: []reply{func(context.Context, llm.Request) (*llm.Response, error) { deaf(); return nil, nil }},
			cause:   ErrCancelled, want: Cancelled,
		},
		"in a wait before a retry": {
			replies: []reply{fails(&llm.Error{Category: llm.RateLimited, Retryable: true, RetryAfter: 50 * time.Second})},
			cause:   ErrCancelled, want: Cancelled,
		},
		"in a tool": {
			replies: []reply{calls(call("1", "write", "{}"), call("2", "write", "{}"), call("3", "read", "{}"))},
			setup: func(f *fixture) {
				f.tools.run = func(ctx context.Context, _ llm.ToolCall) (ToolResult, error) {
					<-ctx.Done()
					return ToolResult{}, ctx.Err()
				}
			},
			cause: ErrCancelled, want: Cancelled, answers: 3,
		},
		"in tools that do not listen": {
			replies: []reply{calls(call("1", "read", "{}"), call("2", "read", "{}"))},
			setup: func(f *fixture) {
				f.tools.run = func(context.Context, llm.ToolCall) (ToolResult, error) { deaf(); return ToolResult{}, nil }
			},
			cause: ErrCancelled, want: Cancelled, answers: 2,
		},
		"in a verification": {
			replies: []reply{says("done")},
			setup: func(f *fixture) {
				f.Task.Verify = []Verification{{Name: "v", Command: "x"}}
				f.exec.exec = func(context.Context, tool.ExecRequest) (*tool.ExecResult, error) { deaf(); return nil, nil }
			},
			cause: ErrCancelled, want: Cancelled,
		},
		"sandbox found lost by the caller": {replies: []reply{hangs()}, cause: ErrSandboxLost, want: SandboxLost},
		"without a cause":                  {replies: []reply{hangs()}, want: Cancelled},
		"deadline of the caller":           {replies: []reply{hangs()}, cause: context.DeadlineExceeded, want: DeadlineExceeded},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(script(tc.replies...))
				if tc.setup != nil {
					tc.setup(f)
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				var cancelled time.Time
				time.AfterFunc(10*time.Second, func() { cancelled = time.Now(); cancel(tc.cause) })
				res := f.run(t, ctx)
				if took := time.Since(cancelled); cancelled.IsZero() || took > soon() {
					t.Errorf("ended %s after the cancellation", took)
				}
				if res.Reason != tc.want {
					t.Errorf("ended %s, want %s: %s", res.Reason, tc.want, res.Message)
				}
				results := find[transcript.ToolResult](t, f)
				if len(results) != tc.answers {
					t.Errorf("%d results, want %d", len(results), tc.answers)
				}
				for _, r := range results {
					if !r.Synthetic || !r.IsError {
						t.Errorf("result is not a synthetic error: %+v", r)
					}
				}
				pass(2 * time.Hour) // lets what did not listen come back
			})
		})
	}
}
