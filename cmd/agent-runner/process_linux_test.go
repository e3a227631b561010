package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/harness/transcript"
)

// endsWithin is what an orderly end may take: one second, and half of one more
// for a machine that runs other tests.
const endsWithin = 1500 * time.Millisecond

// steps are the places in a turn where a signal may come in. Each brings the
// run to the step and says by what the test notices: words in the transcript,
// or a file that the step makes.
var steps = map[string]struct {
	script, verify string
	record, file   string
	// calls are answered synthetically on SIGTERM.
	calls int
}{
	"model call": {
		script: "turns: [{delay: 10m, text: never}]",
		record: `"type":"run_started"`,
	},
	"model call after a turn": {
		script: `turns: [{toolCalls: [{name: bash, arguments: {command: "true"}}]}, {delay: 10m, text: never}]`,
		record: `"type":"tool_result"`,
	},
	"wait before a retry": {
		script: "turns: [{fault: {status: 429, retryAfter: 50s}}]",
		record: `"type":"retry"`,
	},
	"tool call": {
		script: `turns: [{toolCalls: [{name: bash, arguments: {command: "touch here; sleep 1000", timeout_seconds: 600}}]}]`,
		file:   "here", calls: 1,
	},
	"tool call that ignores SIGTERM": {
		script: `turns: [{toolCalls: [{name: bash, arguments: {command: "trap '' TERM INT HUP; touch here; while :; do sleep 1000; done", timeout_seconds: 600}}]}]`,
		file:   "here", calls: 1,
	},
	"tool call with a detached child": {
		script: `turns: [{toolCalls: [{name: bash, arguments: {command: "setsid sh -c 'sleep 1000 & touch here; sleep 1000' >/dev/null 2>&1 & wait", timeout_seconds: 600}}]}]`,
		file:   "here", calls: 1,
	},
	"first of several calls": {
		script: `turns: [{toolCalls: [{name: bash, arguments: {command: "touch here; sleep 1000", timeout_seconds: 600}}, {name: bash, arguments: {command: echo}}, {name: read_file, arguments: {path: x}}]}]`,
		file:   "here", calls: 3,
	},
	"model call beside a background command": {
		script: `turns: [{toolCalls: [{name: bash, arguments: {command: "touch here; sleep 1000", background: true}}]}, {delay: 10m, text: never}]`,
		file:   "here", record: `"type":"tool_result"`,
	},
	"verification": {
		script: "turns: [{text: Done.}]",
		verify: "verify: [{name: slow, command: 'touch here; sleep 1000'}]",
		file:   "here",
	},
}

// TestSignalAtEveryStep ends the runner in the middle of everything it does.
func TestSignalAtEveryStep(t *testing.T) {
	for name, step := range steps {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(fmt.Sprintf("%s/%s", name, sig), func(t *testing.T) {
				t.Parallel()
				p := startRunner(t, step.script, step.verify)
				p.awaitStep(t, step.record, step.file)
				began := time.Now()
				if err := p.cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				code := p.wait(t)
				took := time.Since(began)
				ended := p.checkTranscript(t, step.calls, sig == syscall.SIGTERM)
				if sig == syscall.SIGKILL {
					if ended != nil {
						t.Errorf("the transcript ends with %s, and the runner was killed", ended.Reason)
					}
					p.resume(t)
					return
				}
				if code != harness.Cancelled.ExitCode() || took > endsWithin {
					t.Errorf("exit code %d after %s, want %d within %s\n%s", code, took, harness.Cancelled.ExitCode(), endsWithin, p.stderr)
				}
				if ended == nil || ended.Reason != string(harness.Cancelled) {
					t.Errorf("terminal event = %+v", ended)
				}
				if left := processesWith(p.dir); len(left) > 0 {
					t.Errorf("processes are left: %v", left)
				}
			})
		}
	}
}

// resume goes on with a run whose process was killed, with a model that is
// done at once: the chain holds, and every call has one answer.
func (p *process) resume(t *testing.T) {
	t.Helper()
	p.cleanUp()
	next := newRunner(t, "turns: [{text: Done., repeat: 10}]", "")
	next.cmd.Args = append(next.cmd.Args[:8:8], "--resume", filepath.Join(p.dir, "run.jsonl"), "--workspace", filepath.Join(p.dir, "ws"))
	if out, err := next.cmd.Output(); err != nil {
		t.Fatalf("resuming: %v\n%s%s", err, out, next.stderr)
	}
	ended := p.checkTranscript(t, -1, true)
	if ended == nil || ended.Reason != string(harness.Completed) {
		t.Errorf("terminal event of the resumed run = %+v", ended)
	}
}

// process is a runner on its own.
type process struct {
	cmd    *exec.Cmd
	dir    string
	stderr *strings.Builder
}

// startRunner runs a script in a new folder.
func startRunner(t *testing.T, script, verify string) *process {
	t.Helper()
	p := newRunner(t, script, verify)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.cleanUp)
	return p
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
	p.cmd.Env = append(os.Environ(), "TEST_DIR="+dir)
	return p
}

// cleanUp ends what a killed runner left behind: without a PID namespace
// around it nobody else does.
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
// in order, that every call has its answer; synthetic is how many of the
// answers are not a tool's, or negative. It gives the terminal event.
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
	open, answered := map[string]bool{}, 0
	for _, e := range events {
		data, err := e.Decode()
		if err != nil {
			t.Fatal(err)
		}
		switch d := data.(type) {
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
	if inOrder && (len(open) > 0 || synthetic >= 0 && answered != synthetic) {
		t.Errorf("%d calls are open and %d were answered as cancelled, want 0 and %d", len(open), answered, synthetic)
	}
	return ended
}
