// Package run runs the trials of an eval: an agent in a box, and then, when nothing of it is
// left, the tests in another one.
package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sampan-dev/sampan/internal/eval/box"
	"github.com/sampan-dev/sampan/internal/eval/harbor"
	"github.com/sampan-dev/sampan/internal/eval/outcome"
	"github.com/sampan-dev/sampan/internal/eval/tree"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// The agents. Oracle runs the reference solution, Nop does nothing: a suite whose tasks the
// one does not pass, or the other does, is broken.
const (
	Model  = "model"
	Oracle = "oracle"
	Nop    = "nop"
)

// Agents are all of them.
var Agents = []string{Model, Oracle, Nop}

// Eval is a suite, and who has to pass it how often.
type Eval struct {
	Tasks []harbor.Task
	// Agent is one of Agents; Models are ids of the registry, for Model.
	Agent  string
	Models []string
	// Registry is a registry document.
	Registry string
	Repeats  int
	// Parallel is how many trials run at a time.
	Parallel int
	// Out is a folder that keeps the outcomes.
	Out string
	// Expose are folders of this machine that boxes have, read-only, where they are here.
	Expose []string
	// Env is in the environment of all commands in boxes, as NAME=VALUE; a task's own
	// variables come after it.
	Env []string
	// Program is the executable of agent-runner.
	Program string
	// Warn is told of what ends no eval, by several goroutines; it may be nil.
	Warn func(words string)
	// Version is that of agent-runner.
	Version string
	// Done is told of every trial that has ended, one at a time; it may be nil.
	Done func(o outcome.Outcome, kept bool)
}

// maxAttempts is how often a trial is run whose failure says nothing of the model.
const maxAttempts = 3

// Run runs every trial that Out has no outcome of, and gives all outcomes in the order of
// tasks, models and repeats.
func (e Eval) Run(ctx context.Context) ([]outcome.Outcome, error) {
	unlock, err := lock(e.Out)
	if err != nil {
		return nil, err
	}
	all, err := e.run(ctx)
	return all, errors.Join(err, unlock())
}

func (e Eval) run(ctx context.Context) ([]outcome.Outcome, error) {
	if err := e.clear(e.work()); err != nil { // what a process left that was killed
		return nil, err
	}
	all, missing, err := e.kept()
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		if err := e.tryBox(ctx); err != nil {
			return nil, err
		}
	}
	var mu sync.Mutex
	tell := func(o outcome.Outcome, kept bool) {
		mu.Lock()
		defer mu.Unlock()
		if e.Done != nil {
			e.Done(o, kept)
		}
	}
	for i := range all {
		if !slices.ContainsFunc(missing, func(m trial) bool { return m.index == i }) {
			tell(all[i], true)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, e.Parallel))
	for _, t := range missing {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			o, err := e.try(ctx, t)
			if err != nil {
				return fmt.Errorf("%s: %w", t.Trial, err)
			}
			all[t.index] = *o
			tell(*o, false)
			return nil
		})
	}
	err = group.Wait()
	return all, errors.Join(err, e.clear(e.work()))
}

// tryBox says why this machine gives no box, before every trial does.
func (e Eval) tryBox(ctx context.Context) error {
	b, err := box.Start(ctx, e.Program, box.Spec{Empty: []string{"/app"}, Workspace: "/app"})
	if err != nil {
		return fmt.Errorf("no trial can run on this machine: %w", err)
	}
	return b.Close()
}

// trial is one that has to be run.
type trial struct {
	outcome.Trial
	task  harbor.Task
	index int
	// settings is a digest; see Eval.settings.
	settings string
}

// kept gives the outcomes that there are, and what is missing. One that was edited, or is of
// another version of its task, is an error.
func (e Eval) kept() (all []outcome.Outcome, missing []trial, err error) {
	models := e.Models
	if e.Agent != Model {
		models = []string{e.Agent}
	}
	settings, err := e.settings(models)
	if err != nil {
		return nil, nil, err
	}
	var bad []error
	for _, task := range e.Tasks {
		for _, model := range models {
			for repeat := range e.Repeats {
				t := trial{outcome.Trial{Task: task.Name, Agent: e.Agent, Model: model, Repeat: repeat + 1}, task, len(all), settings[model]}
				o, err := outcome.Read(e.Out, t.Trial)
				switch {
				case errors.Is(err, fs.ErrNotExist):
					missing = append(missing, t)
				case err != nil:
					bad = append(bad, err)
				case o.TaskDigest != task.Digest:
					bad = append(bad, fmt.Errorf("%s has an outcome of another version of the task %s; use another folder, or remove it", filepath.Join(e.Out, t.Dir()), task.Name))
				case o.Result != outcome.Errored && o.SettingsDigest != t.settings:
					bad = append(bad, fmt.Errorf("%s has an outcome of other settings (the model's entry in the registry, --env, --expose or the version of agent-runner); use another folder, or remove it", filepath.Join(e.Out, t.Dir())))
				case o.Result == outcome.Errored:
					missing = append(missing, t)
				}
				if o == nil {
					o = &outcome.Outcome{Trial: t.Trial}
				}
				all = append(all, *o)
			}
		}
	}
	return all, missing, errors.Join(bad...)
}

func (e Eval) work() string { return filepath.Join(e.Out, "work") }

// try runs a trial, again where the failure says nothing of the model, and keeps how it ended.
func (e Eval) try(ctx context.Context, t trial) (*outcome.Outcome, error) {
	dir := filepath.Join(e.Out, t.Dir())
	var o outcome.Outcome
	for attempt := 1; ; attempt++ {
		if err := e.clear(dir); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		a := attemptOf(e, t, dir)
		err := a.run(ctx)
		err = errors.Join(err, e.clear(a.work))
		if ctx.Err() != nil {
			return nil, errors.Join(context.Cause(ctx), e.clear(dir))
		}
		if err != nil {
			return nil, errors.Join(err, e.clear(dir))
		}
		o = a.outcome
		o.Attempts = attempt
		if !a.again || attempt == maxAttempts {
			break
		}
	}
	return &o, outcome.Write(e.Out, o, transcriptFile, trajectoryFile, verifierLog)
}

// CheckPrograms says which programs a task needs that are not there.
func (e Eval) CheckPrograms() error {
	var bad []error
	for _, t := range e.Tasks {
		for _, p := range t.Programs {
			if !hasProgram(p, e.Expose) {
				bad = append(bad, fmt.Errorf("the task %s needs %s (metadata.programs in %s), which is in no folder that tasks are shown; install it",
					t.Name, p, filepath.Join(t.Dir, "task.toml")))
			}
		}
	}
	return errors.Join(bad...)
}

func hasProgram(name string, exposed []string) bool {
	for _, dir := range append(slices.Clone(exposed), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/go/bin") {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// lock keeps a second eval out of a folder, which it makes.
func lock(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := transcript.Lock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), f.Close())
	}
	return f.Close, nil
}

// clear removes a folder. One that cannot be removed is put aside, and told of: what an agent
// has made in it ends no eval.
func (e Eval) clear(dir string) error {
	err := tree.Remove(dir)
	if err == nil {
		return nil
	}
	aside, asideErr := os.MkdirTemp(e.Out, "left-")
	if asideErr == nil {
		asideErr = os.Rename(dir, filepath.Join(aside, filepath.Base(dir)))
	}
	e.warn(fmt.Errorf("a folder cannot be removed, and is in %s now: %w", aside, err))
	return asideErr
}

// maxWarning bounds a warning, in bytes: paths that an agent makes are long.
const maxWarning = 500

// warn tells of what ends no eval.
func (e Eval) warn(err error) {
	if e.Warn == nil {
		return
	}
	words := err.Error()
	if len(words) > maxWarning {
		words = words[:maxWarning] + "…"
	}
	e.Warn(words)
}
