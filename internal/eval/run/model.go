package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/eval/box"
	"github.com/sampan-dev/sampan/internal/eval/outcome"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm"
)

const (
	// agentSlack is what the agent's loop may take beyond the time of its task, to end a
	// model call and to begin.
	agentSlack = 5 * time.Minute
	// stopGrace is how long it has to close its transcript.
	stopGrace = 10 * time.Second
	// maxResult bounds what it says of its end.
	maxResult = 16 << 20
)

// infrastructure are the categories of a model's failure that say nothing of the model, and
// may be another time otherwise.
var infrastructure = []llm.Category{llm.RateLimited, llm.Network, llm.Overloaded, llm.TruncatedStream}

// setup are those that say that the registry has to be mended first.
var setup = []llm.Category{llm.CredentialConfig, llm.ProviderUnsupported, llm.QuotaExceeded}

// model runs the agent's loop, in a process of its own: that of `agent-runner run`, with
// its tools in the box.
func (a *attempt) model(ctx context.Context, b *box.Box) error {
	taskFile := filepath.Join(a.work, "task.json")
	if err := a.writeTask(taskFile); err != nil {
		return err
	}
	registry, err := a.writeRegistry()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.task.AgentTimeout+agentSlack)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.eval.Program)
	cmd.Args = []string{"agent-runner", "run", "--task", taskFile, "--registry", registry, "--sandbox-socket", b.Socket,
		"--transcript", filepath.Join(a.dir, transcriptFile), "--output", "json", "--quiet"}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace
	out, said := &bounded{max: maxResult}, &bounded{max: 64 << 10}
	cmd.Stdout, cmd.Stderr = out, said
	err = cmd.Run()
	if ctx.Err() != nil {
		// An agent that does not end in time is like one that was ended: the tests decide.
		a.outcome.AgentEnd, a.outcome.Reason = string(harness.DeadlineExceeded), string(harness.DeadlineExceeded)
	}
	var res harness.Result
	if jsonErr := json.Unmarshal(out.Bytes(), &res); jsonErr != nil || res.Reason == "" {
		if ctx.Err() != nil {
			return nil
		}
		a.again = true
		a.failed(outcome.Errored, outcome.LoopLost, fmt.Sprintf("the agent's loop did not say how it ended: %v: %s", errors.Join(err, jsonErr), strings.TrimSpace(said.String())))
		return nil
	}
	a.take(res)
	if err := a.export(); err != nil {
		a.failed(outcome.Errored, outcome.LoopLost, "its transcript cannot be read: "+err.Error())
	}
	return nil
}

func (a *attempt) writeTask(path string) error {
	at := v1alpha1.AgentTask{}
	at.APIVersion, at.Kind, at.Name = v1alpha1.GroupVersion.String(), "AgentTask", "trial"
	at.Spec.Prompt = a.task.Instruction
	at.Spec.Model.Name = a.Model
	at.Spec.Limits.ActiveSeconds = int32(a.task.AgentTimeout / time.Second) //nolint:gosec // a week at most
	data, err := json.Marshal(map[string]any{"apiVersion": at.APIVersion, "kind": at.Kind, "metadata": map[string]string{"name": at.Name}, "spec": at.Spec})
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// take takes what the loop says of itself. None of it makes a trial one that is passed.
func (a *attempt) take(res harness.Result) {
	p, o := res.Progress, &a.outcome
	o.Turns, o.ToolCalls, o.FailedToolCalls, o.Usage, o.CostUSD = p.Turns, p.ToolCalls, p.FailedToolCalls, p.Usage, p.CostUSD
	o.AgentEnd, o.Category = string(res.Reason), res.Category
	switch {
	case res.Reason == harness.ModelUnavailable && slices.Contains(infrastructure, res.Category):
		a.again = true
		a.failed(outcome.Errored, string(res.Reason), res.Message)
	case res.Reason == harness.ModelUnavailable && slices.Contains(setup, res.Category):
		a.failed(outcome.Errored, string(res.Reason), res.Message)
	case res.Reason == harness.Internal:
		a.again = true
		a.failed(outcome.Errored, string(res.Reason), res.Message)
	case res.Reason == harness.SandboxLost, res.Reason == harness.ModelUnavailable && res.Category == llm.Timeout:
		// An agent can end its own sandbox, and a model that thinks without end runs into the
		// time for a reply: after the last attempt both count as failures.
		a.again = true
		a.failed(outcome.Failed, string(res.Reason), res.Message)
	}
}

// bounded keeps the first bytes of what is written to it.
type bounded struct {
	bytes.Buffer
	max int
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), max(0, b.max-b.Len()))])
	return len(p), nil
}
