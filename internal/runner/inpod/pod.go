// Package inpod runs tasks in the pod of a Sandbox: it follows the Sandbox, drives
// the task that claims it, and reports to the task's status.
package inpod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/shopspring/decimal"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/runner/recorded"
	"github.com/sampan-dev/sampan/internal/sandbox/client"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// shutdownTimeout bounds the sandbox's farewell; the operator ends it after that.
const shutdownTimeout = 15 * time.Second

// Causes of a run's end that come from outside of it.
var (
	errSuspended = fmt.Errorf("spec.state is Suspended: %w", harness.ErrSuspended)
	errCancelled = fmt.Errorf("spec.state is Cancelled: %w", harness.ErrCancelled)
	// errFenced: the task belongs to another pod now, so nothing is reported.
	errFenced = fmt.Errorf("%w: the task belongs to another pod", harness.ErrInterrupted)
)

// Runner is a runner in its pod.
type Runner struct {
	name, uid, namespace, sandbox string
	// attempt that the pod was made for; 0 in a named Sandbox.
	attempt  int32
	scopes   []string
	api      *api
	exec     *client.Client
	registry *models.Registry
	env      runner.Environment
	// log is where every task's transcript goes, as kubectl logs shows it.
	log counted
	// guests are those who reach the sandbox by way of the API server.
	guests *guests
	// ran is the task that ran last in this pod.
	ran types.UID
	// preparing has a place for who prepares the workspace; ready is set once it was.
	preparing chan struct{}
	ready     atomic.Bool
	// prepared: the workspace was checked out, and tools may have run since.
	prepared bool
	// base is the commit that it was checked out at, as far as that is known.
	base string
	// keeping keeps the workspace of a named Sandbox from one pod to the next.
	keeping *keeping
	// rate of the models is that of all tasks, one after the other.
	rate *broker.Rate
}

// counted counts what is written through it.
type counted struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// New reads what the operator gave the pod.
func New() (*Runner, error) {
	p := &Runner{guests: newGuests(), rate: broker.NewRate(), preparing: make(chan struct{}, 1), log: counted{w: os.Stdout}, name: os.Getenv(podapi.EnvPodName), uid: os.Getenv(podapi.EnvPodUID), namespace: os.Getenv(podapi.EnvNamespace), sandbox: os.Getenv(podapi.EnvSandboxName)}
	if p.name == "" || p.namespace == "" || p.sandbox == "" {
		return nil, fmt.Errorf("%s, %s and %s must be set: this is no pod of Sampan", podapi.EnvPodName, podapi.EnvNamespace, podapi.EnvSandboxName)
	}
	if s := os.Getenv(podapi.EnvAttempt); s != "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", podapi.EnvAttempt, err)
		}
		p.attempt = int32(n)
	}
	if s := os.Getenv(podapi.EnvScopes); s != "" {
		p.scopes = strings.Split(s, ",")
	}
	// Before anything speaks TLS: Go reads the bundle once, at the first use.
	if err := writeTrust(filepath.Join(podapi.InputDir, podapi.TrustFile), podapi.TrustBundle, systemBundles); err != nil {
		return nil, err
	}
	reg, err := runner.LoadClusterRegistry(filepath.Join(podapi.InputDir, podapi.RegistryFile))
	if err != nil {
		return nil, err
	}
	p.registry = reg
	p.env = runner.TakeSecrets(reg)
	if p.api, err = newAPI(p.namespace); err != nil {
		return nil, err
	}
	p.exec = client.New(podapi.SocketPath)
	p.keeping = newKeeping(p.uid)
	return p, nil
}

// Run runs the tasks that claim the Sandbox: one for a Sandbox that was made
// for it, else one after the other, until ctx ends. It gives the exit code.
func (p *Runner) Run(ctx context.Context) (int, error) {
	w := newWatcher(ctx, p)
	called, hangUp := context.WithCancel(ctx)
	defer hangUp()
	go func() {
		if err := p.beCalled(called, w); err != nil {
			_, _ = fmt.Fprintln(text.NewLogWriter(os.Stderr), err) // the task goes on
		}
	}()
	kept := p.keep(ctx, w)
	defer kept()
	var last v1alpha1.TaskReference
	for {
		sb, err := w.claimed(ctx, last)
		if errors.Is(err, errSuspending) {
			p.rest(ctx, w)
			continue
		}
		if err != nil {
			return harness.Cancelled.ExitCode(), nil // told to stop while idle
		}
		last = p.holder(sb)
		res, err := p.runTask(ctx, w, sb)
		switch {
		case podapi.OwnerTask(sb) != nil || ctx.Err() != nil:
		case errors.Is(err, errReleased):
			last = v1alpha1.TaskReference{} // the same attempt may claim it again
			continue
		case err == nil:
			if err = p.empty(ctx); err == nil {
				if !suspending(w.sandbox()) { // else the last one is taken at once
					p.takePassing(ctx)
				}
				p.guests.open()
				continue
			}
		}
		// A result that could not be reported is in the termination message, which only the
		// end of this container brings to the operator.
		return res.Reason.ExitCode(), errors.Join(err, p.shutdown(ctx, sb, res.Reason))
	}
}

// shutdown ends the sandbox container of a Sandbox that has done its task, so
// that the pod ends and its log stays. A run can be over before the sandbox's
// server is there: it is waited for, unless the pod is going away anyway.
func (p *Runner) shutdown(ctx context.Context, sb *v1alpha1.Sandbox, end harness.End) error {
	if podapi.OwnerTask(sb) == nil {
		return nil
	}
	going := ctx.Err() != nil || end == harness.SandboxLost
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if !going {
		if err := p.exec.WaitReady(ctx); err != nil {
			return err
		}
	}
	return p.exec.Shutdown(ctx)
}

// runTask runs one attempt of a task and reports it.
func (p *Runner) runTask(ctx context.Context, w *watcher, sb *v1alpha1.Sandbox) (harness.Result, error) {
	p.guests.occupy(true)
	defer p.guests.occupy(false)
	ref := p.holder(sb)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	budget := newAllowance()
	go func() {
		if _, err := w.await(ctx, suspending); err == nil {
			cancel(errSuspending)
		}
	}()
	task, err := w.task(ctx, ref, cancel, budget.note)
	if errors.Is(err, errReleased) || errors.Is(err, errSuspending) { // the same attempt may begin later
		return harness.Result{Reason: harness.Cancelled}, errReleased
	}
	if err != nil {
		return harness.Result{Reason: harness.Cancelled}, nil
	}
	b, err := priorUsageOf(task.Status.Progress)
	if err != nil {
		return harness.Result{Reason: harness.Internal}, err
	}
	ticker := time.NewTicker(contactInterval)
	defer ticker.Stop()
	go keepContact(ctx, func(ctx context.Context) error {
		_, err := get[v1alpha1.Sandbox](ctx, p.api, "sandboxes", p.sandbox)
		return err
	}, ticker.C, cancel)
	rep := newReporter(p.api, task, p.name, b)
	rep.logged = p.log.n
	budget.cost, budget.ask = rep.cost, rep.request
	reporting, stop := context.WithCancel(context.WithoutCancel(ctx))
	go rep.run(reporting)
	res, reason := p.drive(ctx, sb, task, rep, budget, cancel)
	stop()
	<-rep.done
	if errors.Is(context.Cause(ctx), errFenced) {
		return res, nil
	}
	return res, rep.finish(ctx, res, reason)
}

// drive prepares the workspace and runs the harness. The reason is the one of
// the status: an end of the harness, or what stood in the way of a run.
func (p *Runner) drive(ctx context.Context, sb *v1alpha1.Sandbox, at *v1alpha1.AgentTask, rep *reporter, budget *allowance, cancel context.CancelCauseFunc) (harness.Result, string) {
	task, err := p.taskFor(at)
	if err == nil && p.attempt == 0 { // the pod may have waited for longer than the keys last
		err = p.env.Reread(filepath.Join(podapi.InputDir, podapi.KeyDir))
	}
	if err != nil {
		return failed(harness.Internal, err), v1alpha1.ReasonInternal
	}
	recording, stop := recorded.Graceful(ctx, recorded.Grace)
	defer stop()
	j, err := p.openJournal(recording, at, rep, cancel, transcript.Options{Secrets: p.secretsOf(at, task)})
	switch {
	case ctx.Err() != nil:
		res := harness.Stopped(ctx)
		return res, reasonOf(ctx, res)
	case errors.Is(err, record.ErrNotFound): // of the task that this one goes on from
		return failed(harness.Internal, err), v1alpha1.ReasonCheckpointNotFound
	case errors.As(err, new(*recorded.UnusableError)):
		return failed(harness.Internal, err), v1alpha1.ReasonWorkspaceFailed
	case err != nil && os.Getenv(podapi.EnvRecordURL) != "":
		// Another pod may reach it: with another token, or when it was mended.
		return failed(harness.Cancelled, err), v1alpha1.ReasonInterrupted
	case err != nil:
		return failed(harness.Internal, err), v1alpha1.ReasonInternal
	}
	res, reason := p.run(ctx, sb, at, task, rep, budget, j)
	if err := j.Writer.Close(); err != nil && res.Reason == harness.Completed {
		return failed(harness.Internal, fmt.Errorf("closing the transcript: %w", err)), v1alpha1.ReasonInternal
	}
	return res, reason
}

// run prepares the workspace and runs the harness, with a transcript that is open.
func (p *Runner) run(ctx context.Context, sb *v1alpha1.Sandbox, at *v1alpha1.AgentTask, task harness.Task, rep *reporter, budget *allowance, j *recorded.Journal) (harness.Result, string) {
	task.Limits.Active += j.Standing.Active // what is left is left from here on
	if usedUp := rep.prior.remaining(&task.Limits); usedUp != "" && !verifying(at) {
		return failed(harness.BudgetExceeded, fmt.Errorf("limits.%s was used up by earlier attempts", usedUp)), v1alpha1.ReasonBudgetExceeded
	}
	keeper, restored, err := p.restore(ctx, sb, rep, j)
	var preTool bool
	if err == nil {
		preTool, err = p.prepare(ctx, sb, rep)
	}
	switch {
	case ctx.Err() != nil:
		res := harness.Stopped(ctx)
		return res, reasonOf(ctx, res)
	case err != nil:
		return failed(harness.Internal, err), v1alpha1.ReasonWorkspaceFailed
	}
	if !j.Standing.Ended && !verifying(at) { // what has been proven stays as it is until its outputs are taken
		p.guests.open()
	}
	p.ran = at.UID
	sandbox, exec := p.executor(ctx, at, preTool)
	tools, err := runner.ToolSet(p.proving(at), task)
	if err != nil {
		return failed(harness.Internal, err), v1alpha1.ReasonInternal
	}
	conn := runner.Connector{TaskName: at.Name, Env: p.env.Get, ScriptFile: func(m models.Provider) string {
		return filepath.Join(podapi.InputDir, podapi.ScriptFile(m.Name))
	}}
	config := harness.Config{
		Task: task, Tools: tools, Rate: p.rate, Executor: exec, Ready: sandbox.wait, Reporter: rep.progress, Restored: restored, Verifying: verifying(at),
		Models: &broker.RegistryRouter{
			Registry: p.registry, Selector: runner.SelectorOf(at), Connect: conn.Connect,
			Need: models.Need{Scopes: p.scopes, Priced: !task.Limits.CostUSD.IsZero()},
		},
	}
	if at.Status.Budget.GrantedUSD != "" {
		config.Allow = func(ctx context.Context, upTo decimal.Decimal) error {
			return budget.allow(ctx, upTo.Add(rep.before()))
		}
	}
	res := j.Run(ctx, keeper, config, func(res harness.Result) bool { return leavesOutputs(at, res) && !j.Told(res) })
	p.guests.close(errProving)
	if leavesOutputs(at, res) {
		res = p.leave(ctx, sb, rep, j, res, lostWorkspace(sb, j.Told(res), j.EndedElsewhere(res, restored)))
	}
	if res.Reason == harness.SandboxLost && errors.Is(sandbox.failure(), client.ErrProtocolMismatch) {
		return res, v1alpha1.ReasonProtocolMismatch
	}
	if res.Reason == harness.Cancelled && ctx.Err() == nil && budget.paused() {
		return res, v1alpha1.ReasonBudgetSpent
	}
	return res, reasonOf(ctx, res)
}

// reasonOf names the end in the status. Who stopped a run decides what its
// stop means.
func reasonOf(ctx context.Context, res harness.Result) string {
	if res.Reason != harness.Cancelled {
		return string(res.Reason)
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errSuspended):
		return v1alpha1.ReasonSuspended
	case errors.Is(cause, errCancelled):
		return v1alpha1.ReasonCancelled
	}
	return v1alpha1.ReasonInterrupted
}

func failed(end harness.End, err error) harness.Result {
	return harness.Result{Reason: end, Message: err.Error()}
}

func (p *Runner) transcriptPath(at *v1alpha1.AgentTask) string {
	return filepath.Join(podapi.StateDir, fmt.Sprintf("%s-%d.jsonl", at.UID, at.Status.Attempt))
}

// executor is the sandbox for the loop itself, and the wait for it. How long
// that may take, with an image to be pulled, is for the task's own time limit and
// for the operator, which names the cause.
func (p *Runner) executor(ctx context.Context, at *v1alpha1.AgentTask, preTool bool) (*starting, harness.Executor) {
	answered := p.exec.Answered()
	s := start(ctx, p.exec.WaitReady)
	exec := p.proving(at)
	// Where the server has not answered, no tool has run in this pod, though the workspace
	// may have come from an earlier one.
	if preTool || !answered {
		return s, &preToolFS{Executor: exec, dir: podapi.WorkspaceDir}
	}
	return s, exec
}

// emptyTimeout bounds the end of what a task has left in the sandbox.
const emptyTimeout = 30 * time.Second

// empty ends what a task has left running in the sandbox, so that the next one
// begins with nothing but the server. A runner that cannot do so ends, and its pod
// with it.
func (p *Runner) empty(ctx context.Context) error {
	if !p.exec.Answered() {
		return nil // then no tool has run: the task ended while the sandbox was still starting
	}
	ctx, cancel := context.WithTimeout(ctx, emptyTimeout)
	defer cancel()
	if err := p.exec.StopAll(ctx); err != nil {
		return fmt.Errorf("ending what the task has left running: %w", err)
	}
	return nil
}
