package transcript

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
)

// every is one of each event, with every field set.
func every() []Data {
	usage := llm.Usage{InputTokens: 1, CachedInputTokens: 1, OutputTokens: 1, ReasoningTokens: 1, Estimated: true}
	cost, one := decimal.RequireFromString("0.01"), 1
	verify := Verification{Name: "v", Command: "c", TimeoutSeconds: 1, Separate: true, Passed: true, ExitCode: &one, TimedOut: true, Output: "o", DurationMillis: 1}
	call := llm.ToolCall{ID: "i", Name: "n", Arguments: "{}", Opaque: "{}"}
	return []Data{
		RunStarted{
			Task: "t", SystemPrompt: "s", Prompt: "p", Models: []string{"m"},
			Tools:  []ToolSpec{{Name: "n", Description: "d", Parameters: json.RawMessage(`{"type":"object"}`)}},
			Limits: Limits{Turns: 1, ActiveSeconds: 1, InputTokens: 1, OutputTokens: 1, CostUSD: "1", ToolSeconds: 1},
			Verify: []Verification{{Name: "v", Command: "c", TimeoutSeconds: 1, Separate: true}},
			From: &Origin{
				Task: "t", UID: "u", Turn: 1, Events: 1, Digest: digest(New(Options{}).sum),
				Messages: []llm.Message{{Role: llm.RoleUser, Content: "c"}}, Prompt: "c", Notice: "d",
			},
		},
		RunResumed{FromSeq: 1, FromDigest: digest(New(Options{}).sum), Messages: 1},
		Request{Model: "m", Upstream: "u", Messages: 1, EstimatedInputTokens: 1, MaxOutputTokens: 1},
		Response{
			Model: "m", ServedBy: "s", FinishReason: llm.FinishStop, Usage: usage, CostUSD: cost, LatencyMillis: 1, Kept: true, Notes: []string{"n"},
			Message: llm.Message{Role: llm.RoleAssistant, Content: "c", Reasoning: "r", ToolCalls: []llm.ToolCall{call}, ToolCallID: "i", From: "h/m", Opaque: "{}"},
		},
		ToolCall{ID: "i", Name: "n", Arguments: "{}"},
		ToolResult{ID: "i", Name: "n", Content: "c", IsError: true, Synthetic: true, DurationMillis: 1},
		Retry{Model: "m", Attempt: 1, Category: llm.Timeout, Message: "m", WaitMillis: 1, Adapted: "a", GaveUp: true, Usage: &usage, CostUSD: &cost, LatencyMillis: 1},
		Fallback{From: "a", To: "b", Category: llm.Timeout, Message: "m"},
		Compaction{
			MessagesBefore: 1, MessagesAfter: 1, TokensBefore: 1, TokensAfter: 1, ContextWindow: 1,
			Elisions: []Elision{{Message: 1, Content: "c"}}, DropFrom: 1, DropTo: 1, Note: "n", Kept: 1,
		},
		Notice{Kind: NoticeWrapUp, Text: "t"},
		verify,
		RunEnded{
			Reason: "Completed", Category: llm.Timeout, Message: "m", ExitCode: 1, Model: "m", Turns: 1, ToolCalls: 1, Failed: 1,
			Usage: usage, CostUSD: cost, Checkpoint: "c", Detail: "d",
		},
	}
}

// TestSchemaKnowsEveryField: the documented schema, which takes no field that
// it does not know, takes all that are written.
func TestSchemaKnowsEveryField(t *testing.T) {
	data, err := os.ReadFile("../../docs/schemas/transcript.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	schema, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := New(Options{Tee: &out})
	for _, d := range every() {
		allSet(t, reflect.ValueOf(d), string(d.EventType()))
		if _, err := w.Append(1, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(out.Bytes()) {
		var event map[string]any
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(event); err != nil {
			t.Errorf("%v\n%s", err, line)
		}
	}
}

// allSet makes sure that the list above keeps up with the structs.
func allSet(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	for i := range v.NumField() {
		name := path + "." + v.Type().Field(i).Name
		if path == string(TypeRunStarted) && name == path+".Verify" {
			continue
		}
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set in this test", name)
		}
	}
}
