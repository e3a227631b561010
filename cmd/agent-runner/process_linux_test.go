package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// process is a runner on its own.
type process struct {
	cmd    *exec.Cmd
	dir    string
	stderr *strings.Builder
}

// start runs what newRunner prepared.
func (p *process) start(t *testing.T) {
	t.Helper()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.cleanUp)
}

// runToEnd runs a script and gives what the program printed.
func runToEnd(t *testing.T, script, verify string) (*process, []byte) {
	t.Helper()
	p := newRunner(t, script, verify)
	out, err := p.cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p, out
}

// newRunner prepares a folder and the program that is to run in it.
func newRunner(t *testing.T, script, verify string) *process {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Under this name the test binary is the program.
	program := filepath.Join(dir, "agent-runner")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	registry, err := os.ReadFile("testdata/registry.yaml")
	if err != nil {
		t.Fatal(err)
	}
	task, err := os.ReadFile("testdata/task.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"registry.yaml": string(registry), "script.yaml": script, "task.yaml": string(task) + "  " + verify + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &process{dir: dir, stderr: &strings.Builder{}}
	p.cmd = exec.Command(program, "run", "--task", "task.yaml", "--registry", "registry.yaml", "-o", "json",
		"--workspace", "ws", "--transcript", "run.jsonl")
	p.cmd.Dir, p.cmd.Stderr = dir, p.stderr
	p.cmd.Env = append(os.Environ(), "TEST_DIR="+dir, "GORACE="+noSleep)
	return p
}

// cleanUp ends what a test that failed left behind.
func (p *process) cleanUp() {
	for range 3 {
		for _, line := range processesWith(p.dir) {
			number, _, _ := strings.Cut(line, ":")
			if pid, err := strconv.Atoi(number); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

func (p *process) awaitStep(t *testing.T, record, file string) {
	t.Helper()
	reached := poll(patience, func() bool {
		if file != "" {
			if _, err := os.Stat(filepath.Join(p.dir, "ws", file)); err != nil {
				return false
			}
		}
		data, err := os.ReadFile(filepath.Join(p.dir, "run.jsonl"))
		return err == nil && strings.Contains(string(data), record)
	})
	if !reached {
		t.Fatalf("the run never came to the step\n%s", p.stderr)
	}
}

// wait gives the exit code; -1 is a signal.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatalf("the runner did not end\n%s", p.stderr)
	}
	return p.cmd.ProcessState.ExitCode()
}

// checkTranscript checks that the chain is whole, and, of a run that was ended
// in order, that every call of a tool and of a model has its answer; synthetic is
// how many of the answers are not a tool's, or negative. It gives the terminal
// event.
func (p *process) checkTranscript(t *testing.T, synthetic int, inOrder bool) *transcript.RunEnded {
	t.Helper()
	f, err := os.Open(filepath.Join(p.dir, "run.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	events, cut, err := transcript.ReadAll(f)
	if err != nil {
		t.Fatalf("the transcript is broken: %v", err)
	}
	if cut && inOrder {
		t.Error("the last line is cut")
	}
	var ended *transcript.RunEnded
	open, answered, asked := map[string]bool{}, 0, 0
	for _, e := range events {
		data, err := e.Decode()
		if err != nil {
			t.Fatal(err)
		}
		switch d := data.(type) {
		case *transcript.Request:
			asked++
		case *transcript.Response:
			asked--
		case *transcript.Retry:
			asked--
			// After a signal at any time, it may be that the call had not begun.
			begun := synthetic >= 0 || strings.Contains(d.Message, "died")
			if d.Category == llm.Stopped && begun && (d.Usage == nil || !d.Usage.Estimated || d.Usage.InputTokens == 0) {
				t.Errorf("a call that was cut off cost nothing: %+v", d)
			}
		case *transcript.ToolCall:
			open[d.ID] = true
		case *transcript.ToolResult:
			delete(open, d.ID)
			if d.Synthetic {
				answered++
			}
		case *transcript.RunEnded:
			ended = d
		}
	}
	if inOrder && asked != 0 {
		t.Errorf("%d model calls have neither reply nor failure", asked)
	}
	if inOrder && (len(open) > 0 || synthetic >= 0 && answered != synthetic) {
		t.Errorf("%d calls are open and %d were answered as cancelled, want 0 and %d", len(open), answered, synthetic)
	}
	return ended
}
