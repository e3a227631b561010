package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sampan-dev/sampan/internal/llm/scripted"
)

// kind is a way to run turns.
type kind string

const (
	floor      kind = "floor"
	inProcess  kind = "in process"
	overSocket kind = "socket"
)

// outputs says what the model's calls print.
type outputs string

const (
	small    outputs = "true"
	large    outputs = "30 KB"
	sleeping outputs = "sleep"
)

// patience bounds any wait for something that should take no time.
const patience = 30 * time.Second

// script has a case for each length and output. The command differs from turn
// to turn, since the same call over and over is a loop, and ends a run.
const script = `
cases:
- match: sleep
  turns: [{toolCalls: [{name: bash, arguments: {command: sleep 1000, timeout_seconds: 600}}]}]
- match: first request
  turns: [{text: Done.}]
- match: true %[1]d times
  turns:
  - {repeat: %[1]d, toolCalls: [{name: bash, arguments: {command: "true {{turn}}"}}]}
  - text: Done.
- match: true %[2]d times
  turns:
  - {repeat: %[2]d, toolCalls: [{name: bash, arguments: {command: "true {{turn}}"}}]}
  - text: Done.
- match: 30 KB %[2]d times
  turns:
  - {repeat: %[2]d, toolCalls: [{name: bash, arguments: {command: "head -c 29000 /dev/zero | tr '\\0' x; echo {{turn}}"}}]}
  - text: Done.
`

// The windows: none of the small runs is ever compacted, while no model takes
// the 30 MB of the large ones.
const registry = `version: 1
providers:
  here: {type: openai, baseURL: "%s"}
models:
- {id: bench, provider: here, roles: [agent], contextWindow: 1000000, pricing: {inputPerMTok: "1", outputPerMTok: "1"}}
- {id: narrow, provider: here, roles: [narrow], contextWindow: 128000, pricing: {inputPerMTok: "1", outputPerMTok: "1"}}
default: {role: agent}
`

const task = `apiVersion: sampan.dev/v1alpha1
kind: AgentTask
metadata: {name: %q}
spec:
  prompt: %q
  model: {role: %s}
  limits: {turns: %d, activeSeconds: 3600}
`

func prompt(n int, o outputs) string {
	switch {
	case o == sleeping:
		return "sleep"
	case n == 1:
		return "first request"
	}
	return fmt.Sprintf("%s %d times", o, n)
}

// modelServer is agent-runner model-server.
type modelServer struct {
	cmd *exec.Cmd
	url string
}

func startModelServer(ctx context.Context, b *bench) (*modelServer, error) {
	path := filepath.Join(b.dir, "script.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, script, shortTurns, b.long), 0o600); err != nil {
		return nil, err
	}
	s := &modelServer{cmd: exec.CommandContext(ctx, b.program, "model-server", "--script", path, "--addr", "127.0.0.1:0")}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stderr).ReadString('\n')
	s.url = strings.TrimSpace(strings.TrimPrefix(line, "Serving "))
	if err != nil || !strings.HasPrefix(s.url, "http") {
		return nil, errors.Join(fmt.Errorf("the model server said %q", line), err, s.stop())
	}
	return s, os.WriteFile(filepath.Join(b.dir, "registry.yaml"), fmt.Appendf(nil, registry, s.url), 0o600)
}

func (s *modelServer) stop() error { return stop(s.cmd) }

// records gives the requests of a task, in order.
func (s *modelServer) records(ctx context.Context, task string) ([]scripted.Record, error) {
	url := strings.TrimSuffix(s.url, "/v1") + "/debug/requests?task=" + task
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	var out []scripted.Record
	for dec := json.NewDecoder(resp.Body); dec.More(); {
		var r scripted.Record
		if err := dec.Decode(&r); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// sandbox is agent-runner sandbox.
type sandbox struct {
	cmd    *exec.Cmd
	socket string
}

func startSandbox(ctx context.Context, b *bench) (*sandbox, error) {
	s := &sandbox{socket: filepath.Join(b.dir, "sandbox.sock")}
	s.cmd = exec.CommandContext(ctx, b.program, "sandbox", "--socket", s.socket, "--workspace", filepath.Join(b.dir, "far"))
	return s, s.cmd.Start() // runs wait for the socket
}

func (s *sandbox) stop() error { return stop(s.cmd) }

// stop ends a server that we started.
func stop(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return cmd.Wait()
}

// process is a run under way.
type process struct {
	cmd       *exec.Cmd
	task, dir string
	began     time.Time
	stderr    bytes.Buffer
	exited    chan error
	// peakRSS is in bytes, by VmHWM: what rusage says of a child includes the
	// parent that it was forked from.
	peakRSS int64
}

var started int

// start begins a run of n turns.
func (b *bench) start(ctx context.Context, k kind, n int, o outputs) (*process, error) {
	started++
	p := &process{task: fmt.Sprintf("bench-%d", started), exited: make(chan error, 1)}
	p.dir = filepath.Join(b.dir, p.task)
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		return nil, err
	}
	role := "agent"
	if o == large {
		role = "narrow"
	}
	text := fmt.Appendf(nil, task, p.task, prompt(n, o), role, n+10)
	if err := os.WriteFile(filepath.Join(p.dir, "task.yaml"), text, 0o600); err != nil {
		return nil, err
	}
	args := []string{"run", "--quiet", "--task", "task.yaml", "--registry", filepath.Join(b.dir, "registry.yaml"), "--transcript", "run.jsonl"}
	program := b.program
	switch k {
	case floor:
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		program, args = self, []string{floorCommand, b.server.url, p.task, prompt(n, o)}
	case inProcess:
		args = append(args, "--workspace", "ws")
	case overSocket:
		args = append(args, "--sandbox-socket", b.sandbox.socket)
	}
	p.cmd = exec.CommandContext(ctx, program, args...)
	p.cmd.Dir, p.cmd.Stderr = p.dir, &p.stderr
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.exited <- p.cmd.Wait() }()
	return p, nil
}

// wait waits for the end of a run and watches its memory meanwhile. The peak
// only grows, so that the last look before the end is as good as all of them.
func (p *process) wait(code int) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.peakRSS = max(p.peakRSS, peakRSS(p.cmd.Process.Pid))
		case err := <-p.exited:
			if got := p.cmd.ProcessState.ExitCode(); got != code {
				return errors.Join(fmt.Errorf("%s exited with %d, want %d: %s", p.task, got, code, p.stderr.String()), err)
			}
			return nil
		}
	}
}

// peakRSS reads VmHWM; 0 when the process is gone.
func peakRSS(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return kb << 10
}

// awaitFile waits until a file holds some words.
func (p *process) awaitFile(ctx context.Context, path, words string) error {
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), words) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("%s never came to hold %s: %s", path, words, p.stderr.String())
		}
	}
}
