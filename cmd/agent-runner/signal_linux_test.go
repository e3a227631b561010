package main

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm/scripted"
)

// escapes is a command whose child has thrown away all by which it could be told
// to be one: parents, session, environment. The look that the guard takes every
// half second sees it all the same.
const escapes = `(setsid env -i /bin/bash -c "(exec -a $PWD/orphan sleep 1000) &" </dev/null >/dev/null 2>&1 &)
until pgrep -f "^$PWD/orphan" >/dev/null; do sleep 0.01; done; sleep 1.2; touch here; sleep 1000`

// steps are the places in a turn where a signal may come in. Each brings the
// run to the step and says by what the test notices: words in the transcript,
// or a file that the step makes.
var steps = map[string]struct {
	script, verify string
	record, file   string
	// asked is how many requests a server that plays the script must have got;
	// 0 is none, and the script is played in the process.
	asked int
	// calls are answered synthetically on SIGTERM.
	calls int
}{
	"model call": {
		script: "turns: [{delay: 10m, text: never}]",
		record: `"type":"request"`, asked: 1,
	},
	"model call after a turn": {
		script: `turns: [{toolCalls: [{name: bash, arguments: {command: "true"}}]}, {delay: 10m, text: never}]`,
		record: `"turn":2,"type":"request"`, asked: 2,
	},
	"half of a reply": {
		script: "turns: [{text: a text of more than one piece, fault: {kind: stall}}]",
		record: `"type":"request"`, asked: 1,
	},
	"wait before a retry": {
		script: "turns: [{fault: {status: 429, retryAfter: 50s}}]",
		record: `"type":"retry"`,
	},
	"tool call": {
		script: `turns: [{toolCalls: [{name: bash, arguments: {command: "touch here; sleep 1000", timeout_seconds: 600}}]}]`,
		file:   "here", calls: 1,
	},
	"tool call with children": {
		script: `turns: [{toolCalls: [{name: bash, arguments: {command: "bash -c 'sleep 1000 & setsid sleep 1000 & touch here; wait'", timeout_seconds: 600}}]}]`,
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
	"tool call with a child in hiding": {
		script: "turns:\n- toolCalls:\n  - name: bash\n    arguments:\n      timeout_seconds: 600\n      command: |\n        " + strings.ReplaceAll(escapes, "\n", "\n        "),
		file:   "here", calls: 1,
	},
	"tool call that prints without end": {
		script: `turns: [{toolCalls: [{name: bash, arguments: {command: "touch here; yes", timeout_seconds: 600}}]}]`,
		file:   "here", calls: 1,
	},
	"first of several calls": {
		script: `turns: [{toolCalls: [{name: bash, arguments: {command: "touch here; sleep 1000", timeout_seconds: 600}}, {name: bash, arguments: {command: echo}}, {name: read_file, arguments: {path: x}}]}]`,
		file:   "here", calls: 3,
	},
	"last of several calls": {
		script: `turns: [{toolCalls: [{name: read_file, arguments: {path: x}}, {name: glob, arguments: {pattern: "*"}}, {name: bash, arguments: {command: "touch here; sleep 1000", timeout_seconds: 600}}]}]`,
		file:   "here", calls: 1,
	},
	"model call beside a background command": {
		script: `turns: [{toolCalls: [{name: bash, arguments: {command: "touch here; (setsid sleep 1000 &); sleep 1000", background: true}}]}, {delay: 10m, text: never}]`,
		file:   "here", record: `"turn":2,"type":"request"`, asked: 2,
	},
	"verification": {
		script: "turns: [{text: Done.}]",
		verify: "verify: [{name: slow, command: 'touch here; setsid sleep 1000 & sleep 1000'}]",
		file:   "here",
	},
	"second verification": {
		script: "turns: [{text: Done.}]",
		verify: "verify: [{name: fast, command: 'true'}, {name: slow, command: 'touch here; sleep 1000'}]",
		file:   "here", record: `"type":"verification"`,
	},
	"model call after a failed verification": {
		script: "turns: [{text: Done.}, {delay: 10m, text: never}]",
		verify: "verify: [{name: fails, command: 'false'}]",
		record: `"turn":2,"type":"request"`, asked: 2,
	},
}

// runTo starts a run and returns when it is at a step.
func runTo(t *testing.T, name string) *process {
	t.Helper()
	step := steps[name]
	p := newRunner(t, step.script, step.verify)
	asked := func() int { return 0 }
	if step.asked > 0 {
		asked = p.serve(t, step.script)
	}
	p.start(t)
	p.awaitStep(t, step.record, step.file)
	if !poll(patience, func() bool { return asked() >= step.asked }) {
		t.Fatalf("the server was asked %d times, want %d", asked(), step.asked)
	}
	return p
}

// TestSignalAtEveryStep ends the runner in the middle of everything it does.
func TestSignalAtEveryStep(t *testing.T) {
	for name, step := range steps {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(fmt.Sprintf("%s/%s", name, sig), func(t *testing.T) {
				t.Parallel()
				runTo(t, name).end(t, sig, step.calls)
			})
		}
	}
}

// wholeRun is a run with one of each event that comes again and again.
const wholeRun = `turns:
- {delay: 20ms, toolCalls: [{name: bash, arguments: {command: "sleep 0.02; (setsid sleep 1000 &); echo one"}}, {name: read_file, arguments: {path: x}}]}
- {delay: 20ms, fault: {status: 503, retryAfter: 20ms, times: 1}, toolCalls: [{name: bash, arguments: {command: "sleep 0.02; sleep 1000", background: true}}]}
- {delay: 20ms, text: Done., repeat: 10}
`

// TestSignalAfterEveryEvent ends a run after its first event, its second, and so
// on: wherever that is by then.
func TestSignalAfterEveryEvent(t *testing.T) {
	const verify = "verify: [{name: once, command: 'sleep 0.02; test -e once || { touch once; exit 1; }'}]"
	whole, _ := runToEnd(t, wholeRun, verify)
	record, err := os.ReadFile(filepath.Join(whole.dir, "run.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	events := bytes.Count(record, []byte("\n"))
	if events < 18 || !bytes.Contains(record, []byte(`"reason":"Completed"`)) {
		t.Fatalf("the run without a signal has %d events:\n%s", events, record)
	}
	for n := 1; n < events; n++ {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(fmt.Sprintf("%d/%s", n, sig), func(t *testing.T) {
				t.Parallel()
				p := newRunner(t, wholeRun, verify)
				p.start(t)
				p.awaitEvents(t, n)
				p.end(t, sig, -1)
			})
		}
	}
}

func (p *process) awaitEvents(t *testing.T, n int) {
	t.Helper()
	reached := poll(patience, func() bool {
		data, err := os.ReadFile(filepath.Join(p.dir, "run.jsonl"))
		return err == nil && bytes.Count(data, []byte("\n")) >= n
	})
	if !reached {
		t.Fatalf("the run never came to event %d\n%s", n, p.stderr)
	}
}

// end sends a signal and checks what must hold then: no process is left, the
// transcript is whole and, where the signal allowed it, ended in order. calls
// are answered synthetically; negative is any number, and any end.
func (p *process) end(t *testing.T, sig syscall.Signal, calls int) {
	t.Helper()
	_ = p.cmd.Process.Signal(sig) // the run may have ended by itself
	code := p.wait(t)
	within := time.Duration(0)
	if sig == syscall.SIGKILL {
		within = patience // of the guard, which ends what a killed run leaves
	}
	if !poll(within, func() bool { return len(processesWith(p.dir)) == 0 }) {
		t.Errorf("processes are left: %v", processesWith(p.dir))
	}
	ended := p.checkTranscript(t, calls, sig == syscall.SIGTERM)
	if sig == syscall.SIGKILL {
		if ended != nil && calls >= 0 {
			t.Errorf("the transcript ends with %s, and the runner was killed", ended.Reason)
		}
		p.resume(t)
		return
	}
	if ended == nil {
		t.Fatalf("there is no terminal event\n%s", p.stderr)
	}
	overtaken := calls < 0 && ended.Reason == string(harness.Completed)
	if !overtaken && (ended.Reason != string(harness.Cancelled) || code != harness.Cancelled.ExitCode()) {
		t.Errorf("ended %s with exit code %d, want %s, %d\n%s", ended.Reason, code,
			harness.Cancelled, harness.Cancelled.ExitCode(), p.stderr)
	}
}

// resume goes on with a run whose process was killed, with a model that is
// done at once: the chain holds, and every call has one answer.
func (p *process) resume(t *testing.T) {
	t.Helper()
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

// serve lets a server play the script, for a run that is not started yet. asked
// says how many requests it got.
func (p *process) serve(t *testing.T, script string) (asked func() int) {
	t.Helper()
	s, err := scripted.Parse([]byte(script))
	if err != nil {
		t.Fatal(err)
	}
	model := scripted.NewServer(s, "")
	server := httptest.NewServer(model)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	registry := fmt.Sprintf(`{version: 1, default: {role: agent}, providers: {here: {type: openai, baseURL: %q}},
models: [{id: scripted-model, provider: here, roles: [agent], pricing: {inputPerMTok: "1", outputPerMTok: "2"}}]}`, server.URL+"/v1")
	if err := os.WriteFile(filepath.Join(p.dir, "registry.yaml"), []byte(registry), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() int { return len(model.Requests()) }
}

// TestGuard: the guard of a run goes with it, also when the run is not killed,
// and a run goes on without one.
func TestGuard(t *testing.T) {
	guards := func(pid int) []string { return processesWith(fmt.Sprintf("--stay\x00--pid\x00%d\x00", pid)) }
	p := newRunner(t, steps["tool call"].script, "")
	p.start(t)
	p.awaitStep(t, "", "here")
	found := guards(p.cmd.Process.Pid)
	if len(found) != 1 {
		t.Fatalf("the guards of the run are %v, want one", found)
	}
	p.end(t, syscall.SIGTERM, 1)
	if left := guards(p.cmd.Process.Pid); len(left) > 0 && !poll(patience, func() bool { return len(guards(p.cmd.Process.Pid)) == 0 }) {
		t.Errorf("a guard is left: %v", left)
	}

	p = newRunner(t, steps["tool call"].script, "")
	p.start(t)
	p.awaitStep(t, "", "here")
	var guard int
	if _, err := fmt.Sscanf(guards(p.cmd.Process.Pid)[0], "%d:", &guard); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(guard, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.end(t, syscall.SIGTERM, 1)
}
