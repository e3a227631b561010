package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sampan-dev/sampan/internal/eval/box"
	"github.com/sampan-dev/sampan/internal/eval/harbor"
	"github.com/sampan-dev/sampan/internal/eval/outcome"
	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// Files of a trial.
const (
	transcriptFile = "transcript.jsonl"
	trajectoryFile = "trajectory.json"
	verifierLog    = "verifier.log"
)

// attempt runs a trial once.
type attempt struct {
	eval Eval
	trial
	// dir keeps what is left of the trial; work is gone after it.
	dir, work string
	outcome   outcome.Outcome
	// again: the failure says nothing of the model, and the trial may be run once more.
	again bool
}

func attemptOf(e Eval, t trial, dir string) *attempt {
	return &attempt{
		eval: e, trial: t, dir: dir, work: filepath.Join(e.work(), fmt.Sprint(t.index)),
		outcome: outcome.Outcome{Trial: t.Trial, TaskDigest: t.task.Digest, SettingsDigest: t.settings, Result: outcome.Failed, Started: now()},
	}
}

func now() time.Time { return time.Now().UTC() }

// errSetup marks what is wrong with this machine, or with what is between it and the model.
var errSetup = errors.New("setting the trial up")

// run runs the agent and then the tests. An error ends the whole eval.
func (a *attempt) run(ctx context.Context) error {
	err := a.phases(ctx)
	var setup *setupError
	var lost *lostError
	switch {
	case errors.As(err, &setup):
		a.failed(outcome.Errored, outcome.SetupFailed, setup.Error())
		a.again = true
		return nil
	case errors.As(err, &lost):
		a.failed(outcome.Errored, outcome.SetupFailed, lost.Error())
		a.again = true
		return nil
	case err != nil:
		return err
	}
	if now, err := harbor.Digest(a.task.Dir); err != nil || now != a.task.Digest {
		a.again = false
		a.failed(outcome.Errored, outcome.TaskChanged, "a file of the task was changed while the trial ran")
	}
	return nil
}

// lostError is the loss of a box that was ready: a command in it can bring it about.
type lostError struct{ err error }

func (e *lostError) Error() string { return "the box was lost: " + e.err.Error() }

// setupError is errSetup with its cause.
type setupError struct{ err error }

func (e *setupError) Error() string { return errSetup.Error() + ": " + e.err.Error() }

func (a *attempt) failed(result outcome.Result, reason, message string) {
	a.outcome.Result, a.outcome.Reason, a.outcome.Message = result, reason, message
}

func (a *attempt) phases(ctx context.Context) error {
	for _, dir := range []string{a.workspace(), a.logs()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := a.task.Fill(a.workspace()); err != nil {
		return err
	}
	began := now()
	err := a.act(ctx)
	a.outcome.AgentSeconds = now().Sub(began).Seconds()
	if err != nil || a.again || a.outcome.Result == outcome.Errored {
		return err
	}
	// The agent may have taken the right to enter it.
	if err := os.Chmod(a.workspace(), 0o755); err != nil {
		return err
	}
	began = now()
	err = a.verify(ctx)
	a.outcome.VerifierSeconds = now().Sub(began).Seconds()
	return err
}

func (a *attempt) workspace() string { return filepath.Join(a.work, "workspace") }

// logs is /logs/verifier; the agent's box has another one.
func (a *attempt) logs() string { return filepath.Join(a.work, "verifier") }

// act lets the agent work, and returns when no process of it is left.
func (a *attempt) act(ctx context.Context) error {
	switch a.eval.Agent {
	case Nop:
		return nil
	case Oracle:
		return a.solve(ctx)
	}
	spec := a.spec(a.task.AgentOffline)
	spec.Empty = append(spec.Empty, "/logs/verifier")
	return a.in(ctx, spec, a.model)
}

// solve runs the reference solution.
func (a *attempt) solve(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(a.task.Solution(), "solve.sh")); err != nil {
		return fmt.Errorf("the task has no solution for the oracle: %w", err)
	}
	spec := a.spec(a.task.AgentOffline, a.task.SolutionEnv)
	spec.Mounts = append(spec.Mounts, box.Mount{Source: a.task.Solution(), Target: "/solution", ReadOnly: true})
	return a.in(ctx, spec, func(ctx context.Context, b *box.Box) error {
		got, err := a.exec(ctx, b, script("/solution/solve.sh"), a.task.AgentTimeout)
		if err != nil {
			return err
		}
		a.outcome.AgentEnd = "Completed"
		if got.ExitCode == nil || *got.ExitCode != 0 {
			a.outcome.AgentEnd = outcome.SolutionFailed
			a.outcome.Message = text(got)
		}
		return nil
	})
}

// in starts a box and ends it, whatever happens in it.
func (a *attempt) in(ctx context.Context, spec box.Spec, do func(context.Context, *box.Box) error) error {
	b, err := box.Start(ctx, a.eval.Program, spec)
	if err != nil {
		return &setupError{err}
	}
	err = do(ctx, b)
	if left := b.Close(); left != nil {
		a.eval.warn(fmt.Errorf("%s: a box left something behind: %w", a.Trial, left))
	}
	return err
}

// spec is what every box of the trial has.
func (a *attempt) spec(offline bool, env ...map[string]string) box.Spec {
	s := box.Spec{
		Mounts:    []box.Mount{{Source: a.workspace(), Target: a.task.Workdir}},
		Empty:     []string{"/logs/agent", "/logs/artifacts"},
		Workspace: a.task.Workdir, NoNetwork: offline, Env: slices.Clone(a.eval.Env),
	}
	for _, dir := range a.eval.Expose {
		s.Mounts = append(s.Mounts, box.Mount{Source: dir, Target: dir, ReadOnly: true})
	}
	for _, vars := range append([]map[string]string{a.task.Env}, env...) {
		for _, name := range slices.Sorted(maps.Keys(vars)) {
			s.Env = append(s.Env, name+"="+vars[name])
		}
	}
	return s
}

// script runs a script as its first line says, or with bash.
func script(path string) string {
	return fmt.Sprintf("if [ -x %[1]s ]; then exec %[1]s; else exec bash %[1]s; fi", path)
}

const (
	// serverTimeout bounds the wait for a server that has started, execSlack what it may
	// take to end a command.
	serverTimeout = time.Minute
	execSlack     = 2 * time.Minute
	outputBytes   = 256 << 10
)

// exec runs a command with nothing beside it.
func (a *attempt) exec(ctx context.Context, b *box.Box, command string, timeout time.Duration) (*tool.ExecResult, error) {
	c := b.Client()
	defer c.Close() //nolint:errcheck // the box ends with it
	ready, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	if err := c.WaitReady(ready); err != nil {
		return nil, &setupError{err}
	}
	ctx, cancel = context.WithTimeout(ctx, timeout+execSlack)
	defer cancel()
	got, err := c.Exec(ctx, tool.ExecRequest{Shell: command, TimeoutSeconds: timeout.Seconds(), MaxOutputBytes: outputBytes, MergeStderr: true, Isolated: true})
	if err != nil {
		return nil, &lostError{err}
	}
	return got, nil
}

// text is the end of what a command printed.
func text(got *tool.ExecResult) string {
	out := string(got.Stdout)
	if len(out) > 1000 {
		out = "…" + out[len(out)-1000:]
	}
	return out
}
