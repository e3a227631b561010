package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// TestAnyRun throws everything at the loop in random order and checks from the
// record alone what must hold of every run, whatever happens to it.
func TestAnyRun(t *testing.T) {
	ends := map[End]int{}
	for seed := range uint64(400) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			f := randomFixture(rng)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if rng.IntN(6) == 0 {
				time.AfterFunc(time.Duration(rng.IntN(20))*time.Second, func() { cancel(ErrCancelled) })
			}
			res := f.run(t, ctx)
			ends[res.Reason]++
			pass(time.Second) // lets a provider that did not listen come back
			checkSuccess(t, f, res)
			if res.Progress.Turns > f.Task.Limits.Turns {
				t.Errorf("%d turns of %d", res.Progress.Turns, f.Task.Limits.Turns)
			}
			if t.Failed() {
				t.Logf("seed %d ended %s: %s\n%s", seed, res.Reason, res.Message, f.out.String())
			}
		})
		if t.Failed() {
			return
		}
	}
	t.Log(ends)
	if ends[Completed] < 20 || len(ends) < 8 {
		t.Errorf("the runs are too much alike: %v", ends)
	}
}

// checkSuccess: Completed if and only if the last reply is one by which the
// model finished by itself, and after it every verification passed.
func checkSuccess(t *testing.T, f *fixture, res Result) {
	t.Helper()
	var last *transcript.Response
	passed, failed := 0, 0
	for _, d := range f.events(t) {
		switch d := d.(type) {
		case *transcript.Response:
			last, passed, failed = d, 0, 0
		case *transcript.Verification:
			if d.Passed && d.ExitCode != nil && *d.ExitCode == 0 {
				passed++
			} else {
				failed++
			}
		}
	}
	finished := last != nil && len(last.Message.ToolCalls) == 0 && last.Message.Content != "" && last.FinishReason == llm.FinishStop
	proven := failed == 0 && passed == len(f.Task.Verify)
	if res.Reason == Completed && (!finished || !proven) {
		t.Errorf("completed with last reply %+v, %d passed and %d failed of %d", last, passed, failed, len(f.Task.Verify))
	}
	for _, v := range res.Verifications {
		if res.Reason == Completed && !v.Passed {
			t.Errorf("completed with %+v", v)
		}
	}
}

func randomFixture(rng *rand.Rand) *fixture {
	pick := func(n int) bool { return rng.IntN(n) == 0 }
	random := func(ctx context.Context, req llm.Request) (*llm.Response, error) {
		pass(time.Duration(rng.IntN(500)) * time.Millisecond)
		switch rng.IntN(16) {
		case 0, 1, 2:
			return says("done")(ctx, req)
		case 3:
			return says("")(ctx, req)
		case 4:
			return respond(llm.Response{Message: llm.Message{Content: "I am in the"}, FinishReason: llm.FinishLength})(ctx, req)
		case 5:
			return respond(llm.Response{Message: llm.Message{Content: "I will"}, FinishReason: llm.FinishToolCalls})(ctx, req)
		case 6:
			if pick(4) {
				return respond(llm.Response{Message: llm.Message{Content: "no"}, FinishReason: llm.FinishContentFilter})(ctx, req)
			}
			return nil, &llm.Error{Category: llm.Overloaded, Message: "503", Retryable: true}
		case 7:
			return nil, &llm.Error{Category: llm.TruncatedStream, Message: "cut", Retryable: pick(2)}
		case 8:
			if pick(6) {
				return nil, nil
			}
			return hangs()(ctx, req)
		}
		cs := make([]llm.ToolCall, 1+rng.IntN(4))
		for i := range cs {
			name := []string{"read", "read", "write", "unknown"}[rng.IntN(4)]
			cs[i] = call([]string{"", "same", fmt.Sprint(rng.Int())}[rng.IntN(3)], name, []string{"{}", `{"x":`, fmt.Sprint(rng.Int())}[rng.IntN(3)])
		}
		return respond(llm.Response{
			Message:      llm.Message{Content: []string{"", "Let me see."}[rng.IntN(2)], ToolCalls: cs},
			FinishReason: []llm.FinishReason{llm.FinishStop, llm.FinishToolCalls, llm.FinishLength}[rng.IntN(3)],
		})(ctx, req)
	}
	f := newFixture(script(random))
	f.CallTimeout = 5 * time.Second
	m := model("m", f.provider)
	m.Pricing = &models.Pricing{InputPerMTok: decimal.NewFromInt(3), OutputPerMTok: decimal.NewFromInt(9)}
	m.ContextWindow, m.MaxOutputTokens = 1500+rng.IntN(8000), 200
	other := m
	other.ID = "other"
	f.Models = broker.FixedRouter{m, other}
	f.Task.Limits.Turns = 1 + rng.IntN(30)
	if pick(3) {
		f.Task.Limits.Active = time.Duration(1+rng.IntN(60)) * time.Second
	}
	if pick(4) {
		f.Task.Limits.CostUSD = decimal.New(int64(1+rng.IntN(50)), -4)
	}
	for i := range rng.IntN(3) {
		f.Task.Verify = append(f.Task.Verify, Verification{Name: fmt.Sprint("v", i), Command: "x"})
	}
	f.exec.exec = func(context.Context, tool.ExecRequest) (*tool.ExecResult, error) {
		switch rng.IntN(8) {
		case 0:
			return &tool.ExecResult{TimedOut: true}, nil
		case 1:
			return exits(1, "no"), nil
		case 2:
			if pick(4) {
				return nil, errGone
			}
		}
		return exits(0, "yes"), nil
	}
	f.tools.run = func(ctx context.Context, c llm.ToolCall) (ToolResult, error) {
		switch len(c.Arguments) % 7 {
		case 3:
			panic("boom")
		case 4:
			return ToolResult{Content: "bad", IsError: true}, nil
		}
		if c.ID != "" && c.ID[0] == '7' {
			return ToolResult{}, errGone
		}
		return ToolResult{Content: c.Arguments + string(make([]byte, 1000))}, nil
	}
	return f
}
