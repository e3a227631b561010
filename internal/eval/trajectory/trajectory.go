// Package trajectory gives transcripts in ATIF, the Agent Trajectory Interchange Format that
// Harbor and tools around it read (harborframework.com, version 1.6).
package trajectory

import (
	"encoding/json"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/transcript"
	"github.com/sampan-dev/sampan/internal/version"
)

// SchemaVersion is the version of the format.
const SchemaVersion = "ATIF-v1.6"

// Trajectory is a run.
type Trajectory struct {
	SchemaVersion string       `json:"schema_version"`
	SessionID     string       `json:"session_id"`
	Agent         Agent        `json:"agent"`
	Steps         []Step       `json:"steps"`
	FinalMetrics  FinalMetrics `json:"final_metrics"`
}

// Agent is who ran.
type Agent struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	ModelName string `json:"model_name,omitempty"`
}

// Step is a message, with the calls of an agent and what came of them.
type Step struct {
	// StepID counts from 1.
	StepID    int    `json:"step_id"`
	Timestamp string `json:"timestamp"`
	// Source is system, user or agent.
	Source      string       `json:"source"`
	Message     string       `json:"message"`
	ModelName   string       `json:"model_name,omitempty"`
	Reasoning   string       `json:"reasoning_content,omitempty"`
	ToolCalls   []ToolCall   `json:"tool_calls,omitempty"`
	Observation *Observation `json:"observation,omitempty"`
	Metrics     *Metrics     `json:"metrics,omitempty"`
}

// ToolCall is one call.
type ToolCall struct {
	ID        string         `json:"tool_call_id"`
	Name      string         `json:"function_name"`
	Arguments map[string]any `json:"arguments"`
}

// Observation is what came of the calls of a step.
type Observation struct {
	Results []Result `json:"results"`
}

// Result is what came of one call.
type Result struct {
	CallID  string `json:"source_call_id"`
	Content string `json:"content"`
}

// Metrics are of one model call.
type Metrics struct {
	PromptTokens     int64   `json:"prompt_tokens"`
	CompletionTokens int64   `json:"completion_tokens"`
	CachedTokens     int64   `json:"cached_tokens,omitempty"`
	CostUSD          float64 `json:"cost_usd"`
}

// FinalMetrics are of the run.
type FinalMetrics struct {
	PromptTokens     int64   `json:"total_prompt_tokens"`
	CompletionTokens int64   `json:"total_completion_tokens"`
	CachedTokens     int64   `json:"total_cached_tokens"`
	CostUSD          float64 `json:"total_cost_usd"`
	Steps            int     `json:"total_steps"`
}

// Of gives the trajectory of a run's events.
func Of(events []transcript.Event) (*Trajectory, error) {
	t := &Trajectory{SchemaVersion: SchemaVersion, Agent: Agent{Name: "sampan", Version: version.String()}}
	for _, e := range events {
		data, err := e.Decode()
		if err != nil {
			return nil, err
		}
		t.add(e.Time, data)
	}
	t.FinalMetrics.Steps = len(t.Steps)
	return t, nil
}

func (t *Trajectory) add(at time.Time, data any) {
	switch d := data.(type) {
	case *transcript.RunStarted:
		t.SessionID = d.Task
		t.step(at, "system", d.SystemPrompt)
		if d.From != nil {
			for _, m := range d.From.Messages {
				t.message(at, m)
			}
		}
		t.step(at, "user", d.Prompt)
	case *transcript.Response:
		if t.Agent.ModelName = d.Model; !d.Kept {
			return
		}
		s := t.message(at, d.Message)
		s.ModelName = d.Model
		s.Metrics = &Metrics{d.Usage.InputTokens, d.Usage.OutputTokens, d.Usage.CachedInputTokens, d.CostUSD.InexactFloat64()}
	case *transcript.ToolResult:
		t.observe(d.ID, d.Content)
	case *transcript.Notice:
		t.step(at, "user", d.Text)
	case *transcript.RunEnded:
		u := d.Usage
		t.FinalMetrics = FinalMetrics{PromptTokens: u.InputTokens, CompletionTokens: u.OutputTokens, CachedTokens: u.CachedInputTokens, CostUSD: d.CostUSD.InexactFloat64()}
	}
}

// step adds a step; one without words and calls is none.
func (t *Trajectory) step(at time.Time, source, message string) *Step {
	if message == "" && source != "agent" {
		return nil
	}
	t.Steps = append(t.Steps, Step{StepID: len(t.Steps) + 1, Timestamp: at.UTC().Format(time.RFC3339Nano), Source: source, Message: message})
	return &t.Steps[len(t.Steps)-1]
}

// message adds a message of a conversation.
func (t *Trajectory) message(at time.Time, m llm.Message) *Step {
	switch m.Role {
	case llm.RoleTool:
		t.observe(m.ToolCallID, m.Content)
		return nil
	case llm.RoleSystem, llm.RoleUser:
		return t.step(at, string(m.Role), m.Content)
	case llm.RoleAssistant:
	}
	s := t.step(at, "agent", m.Content)
	s.Reasoning = m.Reasoning
	for _, c := range m.ToolCalls {
		args := map[string]any{}
		if json.Unmarshal([]byte(c.Arguments), &args) != nil || args == nil {
			args = map[string]any{"arguments": c.Arguments} // the format wants an object
		}
		s.ToolCalls = append(s.ToolCalls, ToolCall{c.ID, c.Name, args})
	}
	return s
}

// observe adds a result to the step that has its call.
func (t *Trajectory) observe(id, content string) {
	for i := len(t.Steps) - 1; i >= 0; i-- {
		s := &t.Steps[i]
		for _, c := range s.ToolCalls {
			if c.ID == id {
				if s.Observation == nil {
					s.Observation = &Observation{}
				}
				s.Observation.Results = append(s.Observation.Results, Result{id, content})
				return
			}
		}
	}
}
