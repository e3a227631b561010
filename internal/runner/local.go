package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/harness/transcript"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/sandboxd/engine"
)

// maxInputBytes bounds a manifest, a registry and a prompt.
const maxInputBytes = 1 << 20

// Local is a run without a cluster.
type Local struct {
	// TaskFile is an AgentTask manifest, RegistryFile a registry document.
	TaskFile, RegistryFile string
	// Workspace is the folder that tools work in.
	Workspace string
	// PromptFile takes the place of spec.promptFrom.
	PromptFile string
	// TranscriptFile must not exist yet; empty makes one in the temporary folder.
	TranscriptFile string
	// Progress is told where the run stands; it may be nil.
	Progress func(harness.Progress)
}

// UsageError is a fault of what the user gave, found before anything ran.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// Run runs the task and gives its result and where the transcript is.
func (l Local) Run(ctx context.Context) (harness.Result, string, error) {
	at, err := LoadTask(l.TaskFile)
	if err != nil {
		return harness.Result{}, "", &UsageError{err}
	}
	cfg, done, err := l.config(ctx, at)
	if err != nil {
		return harness.Result{}, "", err
	}
	res := harness.Run(ctx, *cfg)
	return res, cfg.Transcript.Path(), done()
}

func (l Local) config(ctx context.Context, at *v1alpha1.AgentTask) (*harness.Config, func() error, error) {
	reg, err := LoadRegistry(l.RegistryFile)
	if err != nil {
		return nil, nil, &UsageError{err}
	}
	prompt, err := l.prompt(at)
	if err != nil {
		return nil, nil, &UsageError{err}
	}
	task, err := taskOf(at, prompt)
	if err != nil {
		return nil, nil, &UsageError{err}
	}
	need := models.Need{AllScopes: true, Priced: !task.Limits.CostUSD.IsZero()}
	if _, err := reg.Route(selectorOf(at), need); err != nil {
		return nil, nil, &UsageError{fmt.Errorf("%s: %w", l.RegistryFile, err)}
	}
	values, variables := secrets(reg, os.Getenv)
	if err := l.prepare(ctx, at); err != nil {
		return nil, nil, err
	}
	exec, err := engine.New(l.Workspace, engine.Options{Env: without(os.Environ(), variables)})
	if err != nil {
		return nil, nil, err
	}
	tools, err := toolSet(exec, task)
	if err != nil {
		return nil, nil, &UsageError{errors.Join(err, exec.Close())}
	}
	path := l.TranscriptFile
	if path == "" {
		dir, err := os.MkdirTemp("", "sampan-")
		if err != nil {
			return nil, nil, errors.Join(err, exec.Close())
		}
		path = filepath.Join(dir, at.Name+".jsonl")
	}
	w, err := transcript.Create(path, transcript.Options{Secrets: values})
	if err != nil {
		return nil, nil, errors.Join(err, exec.Close())
	}
	conn := connector{taskName: at.Name, env: os.Getenv, scriptFile: localScript(l.RegistryFile)}
	cfg := &harness.Config{
		Task: task, Tools: tools, Executor: exec, Transcript: w, Progress: l.Progress,
		Models: &harness.RegistryRouter{Registry: reg, Selector: selectorOf(at), Need: need, Connect: conn.connect},
	}
	return cfg, func() error { return errors.Join(w.Close(), exec.Close()) }, nil
}

// prepare checks out the task's repository where the workspace is empty, as a
// pod would. A workspace with something in it is the user's and is left alone.
func (l Local) prepare(ctx context.Context, at *v1alpha1.AgentTask) error {
	if err := os.MkdirAll(l.Workspace, 0o755); err != nil {
		return &UsageError{fmt.Errorf("making the workspace: %w", err)}
	}
	src := at.Spec.Sandbox.Template.Workspace.Git
	none, err := empty(l.Workspace)
	if err != nil || !none || src.URL == "" {
		return err
	}
	return checkout(ctx, src, l.Workspace, os.Getenv(podspec.EnvGitUsername), os.Getenv(podspec.EnvGitPassword))
}

func (l Local) prompt(at *v1alpha1.AgentTask) (string, error) {
	if l.PromptFile != "" {
		data, err := readBounded(l.PromptFile)
		return string(data), err
	}
	if at.Spec.Prompt == "" {
		return "", errNoPrompt
	}
	return at.Spec.Prompt, nil
}

// toolSet makes the tools of a task.
func toolSet(exec tool.Executor, task harness.Task) (harness.Tools, error) {
	set, err := tool.NewSet(exec, task.Tools, tool.Options{ToolTimeout: task.Limits.Tool})
	if err != nil {
		return nil, fmt.Errorf("spec.tools.allowed: %w", err)
	}
	return set, nil
}

// without drops variables from an environment: what tools run must not see keys.
func without(env, names []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(names, name) || name == podspec.EnvGitPassword
	})
}
