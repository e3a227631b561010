package trajectory

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/transcript"
)

func TestTrajectory(t *testing.T) {
	var events []transcript.Event
	for _, d := range []transcript.Data{
		transcript.RunStarted{Task: "fix", SystemPrompt: "You are.", Prompt: "Fix it."},
		transcript.Response{Model: "m", Kept: false, Message: llm.Message{Role: llm.RoleAssistant}},
		transcript.Response{
			Model: "m", Kept: true, Usage: llm.Usage{InputTokens: 7, OutputTokens: 3}, CostUSD: decimal.RequireFromString("0.5"),
			Message: llm.Message{Role: llm.RoleAssistant, Reasoning: "Hm.", ToolCalls: []llm.ToolCall{{ID: "a", Name: "bash", Arguments: `{"command":"ls"}`}, {ID: "b", Name: "bash", Arguments: "not JSON"}}},
		},
		transcript.ToolResult{ID: "b", Content: "bad"},
		transcript.ToolResult{ID: "a", Content: "x"},
		transcript.Notice{Text: "Wrap up."},
		transcript.Response{Model: "m", Kept: true, Message: llm.Message{Role: llm.RoleAssistant, Content: "Done."}},
		transcript.RunEnded{Usage: llm.Usage{InputTokens: 7, OutputTokens: 3}, CostUSD: decimal.RequireFromString("0.5")},
	} {
		data, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, transcript.Event{Seq: int64(len(events) + 1), Time: time.Unix(0, 0), Type: d.EventType(), Data: data})
	}
	got, err := Of(events)
	if err != nil {
		t.Fatal(err)
	}
	want := &Trajectory{
		SchemaVersion: "ATIF-v1.6", SessionID: "fix", Agent: Agent{Name: "sampan", ModelName: "m"},
		Steps: []Step{
			{StepID: 1, Source: "system", Message: "You are."},
			{StepID: 2, Source: "user", Message: "Fix it."},
			{
				StepID: 3, Source: "agent", ModelName: "m", Reasoning: "Hm.",
				ToolCalls:   []ToolCall{{"a", "bash", map[string]any{"command": "ls"}}, {"b", "bash", map[string]any{"arguments": "not JSON"}}},
				Observation: &Observation{[]Result{{"b", "bad"}, {"a", "x"}}},
				Metrics:     &Metrics{PromptTokens: 7, CompletionTokens: 3, CostUSD: 0.5},
			},
			{StepID: 4, Source: "user", Message: "Wrap up."},
			{StepID: 5, Source: "agent", Message: "Done.", ModelName: "m", Metrics: &Metrics{}},
		},
		FinalMetrics: FinalMetrics{PromptTokens: 7, CompletionTokens: 3, CostUSD: 0.5, Steps: 5},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Step{}, "Timestamp"), cmpopts.IgnoreFields(Agent{}, "Version")); diff != "" {
		t.Error(diff)
	}
	if got.Agent.Version == "" || got.Steps[0].Timestamp != "1970-01-01T00:00:00Z" {
		t.Errorf("%+v", got.Agent)
	}
}
