// Package harbor reads evals in Harbor's task format (harborframework.com): folders with a
// task.toml, an instruction.md, an environment, tests and a solution. What a run on this
// machine cannot honour is refused, with its place, and never left out silently.
package harbor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Defaults of a task that does not say.
const (
	DefaultTimeout = 10 * time.Minute
	DefaultWorkdir = "/app"
)

// maxFileBytes bounds task.toml, instruction.md and a Dockerfile.
const maxFileBytes = 1 << 20

// Task is one task of a suite.
type Task struct {
	// Name is that of its folder, Dir the folder.
	Name, Dir string
	// Instruction is what the agent is told.
	Instruction string
	// AgentTimeout and VerifierTimeout bound the agent and the tests.
	AgentTimeout, VerifierTimeout time.Duration
	// Workdir is the folder in the box that the agent works in.
	Workdir string
	// Copies fill it, in order.
	Copies []Copy
	// Env is for the agent and the tests, VerifierEnv for the tests and SolutionEnv for the
	// solution alone.
	Env, VerifierEnv, SolutionEnv map[string]string
	// AgentOffline and VerifierOffline: without a network.
	AgentOffline, VerifierOffline bool
	// Programs must be there.
	Programs []string
	// Notes say what is not as it would be in a container, as FILE:LINE: WORDS.
	Notes []string
	// Digest is of everything in Dir.
	Digest string
}

// Copy copies From, a path in Dir, to To, a path in the workdir. Both may be "." or have
// folders; of a folder the content is copied.
type Copy struct{ From, To string }

// Tests is the folder with test.sh.
func (t Task) Tests() string { return filepath.Join(t.Dir, "tests") }

// Solution is the folder with solve.sh, which may be missing.
func (t Task) Solution() string { return filepath.Join(t.Dir, "solution") }

// LoadSuite reads the tasks of a folder, or the one task that it is. Errors name every
// task that cannot be run here, and why, one a line. With names only those are read.
func LoadSuite(dir string, names []string) ([]Task, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	dirs, err := taskDirs(dir)
	if err != nil {
		return nil, err
	}
	var tasks []Task
	var bad []error
	for _, d := range dirs {
		if len(names) > 0 && !slices.Contains(names, filepath.Base(d)) {
			continue
		}
		t, err := Load(d)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		tasks = append(tasks, *t)
	}
	for _, name := range names {
		if !slices.ContainsFunc(dirs, func(d string) bool { return filepath.Base(d) == name }) {
			bad = append(bad, fmt.Errorf("%s has no task %q", dir, name))
		}
	}
	return tasks, errors.Join(bad...)
}

func taskDirs(dir string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(dir, "task.toml")); err == nil {
		return []string{dir}, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(dir, e.Name(), "task.toml")); err == nil {
			dirs = append(dirs, filepath.Join(dir, e.Name()))
		}
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("%s has no tasks: neither it nor a folder in it has a task.toml", dir)
	}
	return dirs, nil
}

// Load reads one task.
func Load(dir string) (*Task, error) {
	t := &Task{
		Name: filepath.Base(dir), Dir: dir, Workdir: DefaultWorkdir,
		AgentTimeout: DefaultTimeout, VerifierTimeout: DefaultTimeout,
		Env: map[string]string{}, VerifierEnv: map[string]string{}, SolutionEnv: map[string]string{},
	}
	r := &reader{task: t}
	r.settings()
	r.files()
	r.environment()
	if err := errors.Join(r.bad...); err != nil {
		return nil, err
	}
	var err error
	t.Digest, err = Digest(dir)
	return t, err
}

// reader collects what is wrong with a task.
type reader struct {
	task *Task
	bad  []error
}

func (r *reader) path(name string) string { return filepath.Join(r.task.Dir, filepath.FromSlash(name)) }

// refuse says what is wrong, at a line of a file of the task; 0 is the whole file.
func (r *reader) refuse(file string, line int, format string, args ...any) {
	r.bad = append(r.bad, errors.New(r.at(file, line)+fmt.Sprintf(format, args...)))
}

func (r *reader) note(file string, line int, format string, args ...any) {
	r.task.Notes = append(r.task.Notes, r.at(file, line)+fmt.Sprintf(format, args...))
}

func (r *reader) at(file string, line int) string {
	if line == 0 {
		return r.path(file) + ": "
	}
	return fmt.Sprintf("%s:%d: ", r.path(file), line)
}

// read gives a text of the task, and false where it is not there or has been refused.
func (r *reader) read(file string, required bool) (string, bool) {
	info, err := os.Stat(r.path(file))
	switch {
	case errors.Is(err, os.ErrNotExist) && !required:
		return "", false
	case err != nil:
		r.refuse(file, 0, "%v", err)
		return "", false
	case !info.Mode().IsRegular() || info.Size() > maxFileBytes:
		r.refuse(file, 0, "want a file of at most %d bytes", maxFileBytes)
		return "", false
	}
	data, err := os.ReadFile(r.path(file))
	if err != nil {
		r.refuse(file, 0, "%v", err)
	}
	return string(data), err == nil
}

// files reads what a task has beside its settings.
func (r *reader) files() {
	text, ok := r.read("instruction.md", true)
	if r.task.Instruction = strings.TrimSpace(text); ok && r.task.Instruction == "" {
		r.refuse("instruction.md", 0, "it is blank; write there what the agent has to do")
	}
	if _, err := os.Stat(r.path("tests/test.sh")); err != nil {
		r.refuse("tests/test.sh", 0, "it is missing; it has to write /logs/verifier/reward.txt or reward.json")
	}
	if _, err := os.Stat(r.path("tests/Dockerfile")); err == nil {
		r.refuse("tests/Dockerfile", 0, "tests with an environment of their own cannot be run here")
	}
}
