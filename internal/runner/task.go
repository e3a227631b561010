package runner

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/runner/workspace"
)

// TaskOf turns an AgentTask into what the harness runs.
func TaskOf(at *v1alpha1.AgentTask, prompt string) (harness.Task, error) {
	spec := at.Spec
	task := harness.Task{
		Name: at.Name, Prompt: prompt, SystemPrompt: spec.SystemPrompt,
		Limits: harness.Limits{
			Turns:       int(cmp.Or(spec.Limits.Turns, v1alpha1.DefaultTurns)),
			Active:      ActiveTime(at),
			InputTokens: spec.Limits.InputTokens, OutputTokens: spec.Limits.OutputTokens,
			Tool: seconds(cmp.Or(spec.Limits.ToolSeconds, v1alpha1.DefaultToolSeconds)),
		},
	}
	for _, name := range spec.Tools.Allowed {
		task.Tools = append(task.Tools, string(name))
	}
	cost, err := costLimit(spec.Limits.CostUSD)
	if err != nil {
		return task, fmt.Errorf("spec.limits.costUSD: %w", err)
	}
	task.Limits.CostUSD = cost
	for _, v := range spec.Verify {
		task.Verify = append(task.Verify, harness.Verification{
			Name: v.Name, Command: v.Command, Timeout: seconds(cmp.Or(v.TimeoutSeconds, v1alpha1.DefaultVerifySeconds)),
			Separate: v.Isolation == v1alpha1.VerificationSeparate,
		})
	}
	return task, nil
}

// costLimit reads limits.costUSD; 0 is no limit, which is why it cannot be
// written: who writes it means the opposite.
func costLimit(s string) (decimal.Decimal, error) {
	if s == "" {
		return decimal.Zero, nil
	}
	cost, err := decimal.NewFromString(s)
	switch {
	case err != nil:
		return decimal.Zero, fmt.Errorf("%q is not a decimal number", s)
	case !cost.IsPositive():
		return decimal.Zero, fmt.Errorf("%q must be more than 0; leave it out for no limit", s)
	}
	return cost, nil
}

// NotBlank refuses a prompt that says nothing; a model would make something up
// and call it done.
func NotBlank(prompt, from string) (string, error) {
	if strings.TrimSpace(prompt) == "" {
		return "", fmt.Errorf("%s: the prompt is blank; write there what the agent has to do", from)
	}
	return prompt, nil
}

// SelectorOf is what a task wants to be routed to.
func SelectorOf(at *v1alpha1.AgentTask) models.Selector {
	m := at.Spec.Model
	return models.Selector{Name: m.Name, Group: m.Group, Role: m.Role}
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

// ActiveTime is how long a task may be active.
func ActiveTime(at *v1alpha1.AgentTask) time.Duration {
	return seconds(cmp.Or(at.Spec.Limits.ActiveSeconds, v1alpha1.DefaultActiveSeconds))
}

// ToolSet makes the tools of a task.
func ToolSet(exec tool.Executor, task harness.Task) (harness.Tools, error) {
	set, err := tool.NewSet(exec, task.Tools, tool.Options{ToolTimeout: task.Limits.Tool})
	if err != nil {
		return nil, fmt.Errorf("spec.tools.allowed: %w", err)
	}
	return set, nil
}

// ReportCheckout gives what reports a checkout where the run is reported that
// comes after it.
func ReportCheckout(to *harness.Reporter) func(workspace.Step) {
	return func(s workspace.Step) {
		to.Tell(harness.Progress{Phase: harness.PhaseCheckout, Activity: s.String(), Time: time.Now()})
	}
}

// UsageError is a fault of what the user gave, found before anything ran.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *UsageError) Unwrap() error { return e.Err }
