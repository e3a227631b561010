// Package local runs a task on a laptop, without a cluster.
package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/runner/recorded"
	"github.com/sampan-dev/sampan/internal/runner/workspace"
	"github.com/sampan-dev/sampan/internal/sandbox/client"
	"github.com/sampan-dev/sampan/internal/sandbox/engine"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// socketTimeout bounds the wait for a sandbox server.
const socketTimeout = 10 * time.Second

// errNoPrompt says that a task manifest has no prompt that can be read here.
var errNoPrompt = errors.New("spec.promptFrom needs a cluster; give the text with --prompt-file")

// Runner is a run without a cluster.
type Runner struct {
	// TaskFile is an AgentTask manifest, RegistryFile a registry document.
	TaskFile, RegistryFile string
	// Workspace is the folder that tools work in.
	Workspace string
	// PromptFile takes the place of spec.promptFrom.
	PromptFile string
	// TranscriptFile must not exist yet; empty makes one in the temporary folder.
	TranscriptFile string
	// ResumeFile is the transcript of an earlier process to go on with; it takes
	// the place of TranscriptFile.
	ResumeFile string
	// RecordDir is a folder that keeps what the task does, in place of TranscriptFile: its
	// transcript, and its workspace turn by turn. What it has of the task is gone on with.
	RecordDir string
	// From is a task of the record to go on from, as TASK or TASK@TURN.
	From string
	// Notice is told what a checkpoint leaves out, and why none is taken any more; it
	// may be nil.
	Notice func(string)
	// SandboxSocket is a sandbox server's; tools work there, and not in Workspace.
	SandboxSocket string
	// OutputDir is where the outputs of the task go; empty takes none.
	OutputDir string
	// Outputs is told of them; it may be nil.
	Outputs func([]v1alpha1.OutputStatus)
	// Program is the executable of agent-runner: a second process of it guards the
	// run and kills what commands started, should this one be killed. Without it,
	// or as PID 1, whose end is that of its container, there is no guard.
	Program string
	// WrapUp, once closed, asks the run to come to an end; it may be nil.
	WrapUp <-chan struct{}
	// Progress is told where the run stands; it may be nil.
	Progress func(harness.Progress)
}

// Run runs the task and gives its result and where the transcript is.
func (l Runner) Run(ctx context.Context) (harness.Result, string, error) {
	at, err := runner.LoadTask(l.TaskFile)
	if err != nil {
		return harness.Result{}, "", &runner.UsageError{Err: err}
	}
	if err := errors.Join(l.checkRecord(at.Name), l.takeOrigin(at)); err != nil {
		return harness.Result{}, "", &runner.UsageError{Err: err}
	}
	var p place
	cfg, done, err := l.config(ctx, at, &p)
	if err != nil {
		return harness.Result{}, "", errors.Join(err, removeKept(p.repo))
	}
	res := p.journal.Run(ctx, p.keeper, *cfg, func(res harness.Result) bool { return l.leavesOutputs(at, res) && !p.journal.Told(res) })
	err = done()
	l.takeOutputs(ctx, at, &p, res)
	path := p.journal.Writer.Path()
	if l.RecordDir != "" {
		path = filepath.Join(l.RecordDir, "tasks", recordNamespace, at.Name, "log")
	}
	return res, path, errors.Join(err, removeKept(p.repo))
}

// place is where a run works, and what is kept of it.
type place struct {
	journal *recorded.Journal
	repo    workspace.Repository
	// base is the commit that the workspace was checked out at, as far as that is known.
	base string
	// keeper takes checkpoints, nil where none are taken, and restored says what was
	// restored, nil where nothing was.
	keeper   *recorded.Keeper
	restored *harness.Restored
}

func (l Runner) config(ctx context.Context, at *v1alpha1.AgentTask, p *place) (*harness.Config, func() error, error) {
	reg, err := runner.LoadRegistry(l.RegistryFile)
	if err != nil {
		return nil, nil, &runner.UsageError{Err: err}
	}
	prompt, err := l.prompt(at)
	if err != nil {
		return nil, nil, &runner.UsageError{Err: err}
	}
	task, err := runner.TaskOf(at, prompt)
	if err != nil {
		return nil, nil, &runner.UsageError{Err: err}
	}
	need := models.Need{AllScopes: true, Priced: !task.Limits.CostUSD.IsZero()}
	if _, err := reg.Route(runner.SelectorOf(at), need); err != nil {
		return nil, nil, &runner.UsageError{Err: fmt.Errorf("%s: %w", l.RegistryFile, err)}
	}
	env := runner.TakeSecrets(reg)
	reporter := harness.NewReporter(l.Progress, nil)
	opts := transcript.Options{Secrets: env.Values()}
	closeRecord, err := l.openRecord(ctx, at, task, opts, p) // what the workspace is made of
	if err != nil {
		return nil, nil, err
	}
	exec, err := l.executor(ctx, at, env, reporter, p)
	if err != nil {
		return nil, nil, errors.Join(err, closeRecord())
	}
	tools, err := runner.ToolSet(exec, task)
	if err != nil {
		return nil, nil, &runner.UsageError{Err: errors.Join(err, exec.Close(), closeRecord())}
	}
	if l.RecordDir == "" { // a file is made for a run that begins
		w, past, err := l.transcript(task, opts)
		if err != nil {
			return nil, nil, errors.Join(err, exec.Close())
		}
		p.journal = &recorded.Journal{Writer: w, Past: past}
	}
	conn := runner.Connector{TaskName: at.Name, Env: env.Get, ScriptFile: runner.ScriptBeside(l.RegistryFile)}
	cfg := &harness.Config{
		Task: task, Tools: tools, Executor: exec, Reporter: reporter, WrapUp: l.WrapUp, Restored: p.restored,
		Models: &broker.RegistryRouter{Registry: reg, Selector: runner.SelectorOf(at), Need: need, Connect: conn.Connect},
	}
	return cfg, func() error { return errors.Join(p.journal.Writer.Close(), closeRecord(), exec.Close()) }, nil
}

// closingExecutor is an executor that the run has for itself.
type closingExecutor interface {
	tool.Executor
	Close() error
}

// executor is where tools work: a folder of this machine, or a sandbox server.
func (l Runner) executor(ctx context.Context, at *v1alpha1.AgentTask, env runner.Environment, to *harness.Reporter, p *place) (closingExecutor, error) {
	if l.SandboxSocket == "" {
		return l.engine(ctx, at, env, to, p)
	}
	c := client.New(l.SandboxSocket)
	ready, cancel := context.WithTimeout(ctx, socketTimeout)
	defer cancel()
	if err := c.WaitReady(ready); err != nil {
		err = errors.Join(err, c.Close())
		if ctx.Err() == nil {
			err = &runner.UsageError{Err: err}
		}
		return nil, err
	}
	return released{c}, nil
}

// released is a sandbox server that the next run can use.
type released struct{ *client.Client }

// releaseTimeout bounds the end of what runs in it.
const releaseTimeout = 30 * time.Second

// Close ends what runs on the server and lets it obey the next run.
func (r released) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	return errors.Join(r.Release(ctx), r.Client.Close())
}

// engine makes the workspace ready and opens it.
func (l Runner) engine(ctx context.Context, at *v1alpha1.AgentTask, env runner.Environment, to *harness.Reporter, p *place) (closingExecutor, error) {
	g, err := startGuard(l.Program)
	if err != nil {
		return nil, err
	}
	err = l.prepare(ctx, at, env, to, p)
	var e *engine.Engine
	if err == nil {
		e, err = engine.New(l.Workspace, engine.Options{Env: append(os.Environ(), g.mark()...)})
	}
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return guarded{e, g}, nil
}

// transcript begins the transcript of the run, or opens the one to go on with.
func (l Runner) transcript(task harness.Task, opts transcript.Options) (*transcript.Writer, *harness.Past, error) {
	if l.ResumeFile != "" {
		return resumeTranscript(l.ResumeFile, task, opts)
	}
	path := l.TranscriptFile
	if path == "" {
		dir, err := os.MkdirTemp("", "sampan-")
		if err != nil {
			return nil, nil, err
		}
		path = filepath.Join(dir, task.Name+".jsonl")
	}
	w, err := transcript.Create(path, opts)
	if errors.Is(err, os.ErrExist) {
		return nil, nil, &runner.UsageError{Err: fmt.Errorf("%s is there already and is never overwritten; go on with it by --resume, or name another file", path)}
	}
	return w, nil, err
}

// resumeTranscript opens a transcript to go on with, and makes sure that it is
// of this task: another one's messages would be taken for its own.
func resumeTranscript(path string, task harness.Task, opts transcript.Options) (*transcript.Writer, *harness.Past, error) {
	past := &harness.Past{}
	w, err := transcript.Open(path, opts, past.Add)
	if err != nil {
		return nil, nil, &runner.UsageError{Err: err}
	}
	if err := sameTask(w, past, task); err != nil {
		return nil, nil, &runner.UsageError{Err: fmt.Errorf("%s cannot be resumed: %w", path, errors.Join(err, w.Close()))}
	}
	return w, past, nil
}

func sameTask(w *transcript.Writer, past *harness.Past, task harness.Task) error {
	if past.Events() == 0 {
		return errors.New("it holds no event; begin again with another file")
	}
	began, err := past.Began()
	switch {
	case err != nil:
		return err
	case began.Task != task.Name:
		return fmt.Errorf("it is of the task %q, and this is %q", began.Task, task.Name)
	case !toldBefore(began, w.Redact(task.Prompt)):
		return fmt.Errorf("the task %q had another prompt when it was begun", task.Name)
	}
	return nil
}

// toldBefore tells whether a run has begun with a prompt: one that goes on from another
// is not told again what that was told, and may be told nothing.
func toldBefore(began *transcript.RunStarted, prompt string) bool {
	from := began.From
	if from == nil || began.Prompt != "" {
		return prompt == began.Prompt
	}
	return prompt == "" || prompt == from.Prompt
}

// prepare makes the workspace of the last checkpoint, or checks out the task's
// repository, where the workspace is empty, as a pod would. A workspace with something
// in it is the user's and is left alone.
func (l Runner) prepare(ctx context.Context, at *v1alpha1.AgentTask, env runner.Environment, to *harness.Reporter, p *place) error {
	if err := os.MkdirAll(l.Workspace, 0o755); err != nil {
		return &runner.UsageError{Err: fmt.Errorf("making the workspace: %w", err)}
	}
	p.repo = workspace.Repository{
		GitSource: at.Spec.Sandbox.Template.Workspace.Git,
		User:      env.Get(podapi.EnvGitUsername), Password: env.Get(podapi.EnvGitPassword),
		Progress: runner.ReportCheckout(to),
	}
	none, err := l.fresh(at.Name, p)
	if err != nil {
		return err
	}
	if l.RecordDir != "" {
		if done, err := l.restore(ctx, at.Name, p, none); err != nil || done {
			return err
		}
	}
	if !none || p.repo.URL == "" {
		return nil
	}
	checkout := func() error { return workspace.Checkout(ctx, p.repo, l.Workspace) }
	if l.OutputDir != "" || l.RecordDir != "" {
		checkout = func() error { return checkoutKeeping(ctx, &p.repo, l.Workspace) }
	}
	if err := checkout(); err != nil {
		// The next run must not take a part of it for the user's own.
		return errors.Join(err, workspace.Clear(l.Workspace))
	}
	if p.repo.Keep != "" {
		p.base = workspace.Head(ctx, p.repo.Keep)
	}
	return nil
}

func (l Runner) prompt(at *v1alpha1.AgentTask) (string, error) {
	if l.PromptFile != "" {
		data, err := runner.ReadBounded(l.PromptFile)
		if err != nil {
			return "", err
		}
		return runner.NotBlank(string(data), l.PromptFile)
	}
	if at.Spec.Prompt == "" {
		if at.Spec.PromptFrom == (v1alpha1.PromptSource{}) {
			return "", nil // of a task that goes on from another
		}
		return "", errNoPrompt
	}
	return runner.NotBlank(at.Spec.Prompt, l.TaskFile+": spec.prompt")
}
