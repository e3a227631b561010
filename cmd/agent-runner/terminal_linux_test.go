package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/harness"
)

// shortRun takes a few steps, and so has something to tell.
const shortRun = `turns:
- toolCalls: [{name: bash, arguments: {command: "touch here; until [ -e go ]; do sleep 0.01; done"}}]
- toolCalls: [{name: bash, arguments: {command: "echo two"}}]
- text: Done.
`

// letGo lets shortRun go on.
func (p *process) letGo(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(p.dir+"/ws/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// expect waits for the end of a run and checks it, its record, and that nothing
// of it is left.
func (p *process) expect(t *testing.T, end harness.End, calls int) {
	t.Helper()
	code := p.wait(t)
	ended := p.checkTranscript(t, calls, true)
	if ended == nil || ended.Reason != string(end) || code != end.ExitCode() {
		t.Errorf("exit code %d, end %+v; want %s\n%s", code, ended, end, p.stderr)
	}
	if !poll(patience, func() bool { return len(processesWith(p.dir)) == 0 }) {
		t.Errorf("processes are left: %v", processesWith(p.dir))
	}
}

// TestEverySignalEndsInOrder: whatever asks the process to go, the record has an
// end, and what tools started is gone.
func TestEverySignalEndsInOrder(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTERM} {
		for _, step := range []string{"model call", "tool call with children", "tool call that ignores SIGTERM", "verification"} {
			t.Run(fmt.Sprintf("%s/%s", sig, step), func(t *testing.T) {
				t.Parallel()
				p := runTo(t, step)
				if err := p.cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				p.expect(t, harness.Cancelled, steps[step].calls)
			})
		}
	}
}

// Under nohup the terminal may go.
func TestHangupUnderNohup(t *testing.T) {
	t.Parallel()
	p := newRunner(t, shortRun, "")
	p.cmd.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`, p.cmd.Path}, p.cmd.Args[1:]...)
	p.cmd.Path = "/bin/sh"
	p.start(t)
	p.awaitStep(t, "", "here")
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.letGo(t)
	p.expect(t, harness.Completed, 0)
}

// TestNobodyReads: the run goes on and says by its exit code how it ended.
func TestNobodyReads(t *testing.T) {
	for name, closed := range map[string]struct{ stdout, stderr bool }{
		"stderr": {stderr: true}, "stdout": {stdout: true}, "both": {true, true},
	} {
		for _, format := range outputFormats {
			t.Run(name+"/"+format, func(t *testing.T) {
				t.Parallel()
				p := newRunner(t, shortRun, "verify: [{name: ok, command: 'true'}]")
				p.cmd.Args[slices.Index(p.cmd.Args, "json")] = format
				var readers []*os.File
				pipe := func() *os.File {
					r, w, err := os.Pipe()
					if err != nil {
						t.Fatal(err)
					}
					readers = append(readers, r)
					return w
				}
				if closed.stdout {
					p.cmd.Stdout = pipe()
				}
				if closed.stderr {
					p.cmd.Stderr = pipe()
				}
				p.start(t)
				p.awaitStep(t, "", "here")
				for _, r := range readers {
					if err := r.Close(); err != nil {
						t.Fatal(err)
					}
				}
				for _, w := range []any{p.cmd.Stdout, p.cmd.Stderr} {
					if f, ok := w.(*os.File); ok {
						f.Close() //nolint:errcheck // the child has its own
					}
				}
				p.letGo(t)
				p.expect(t, harness.Completed, 0)
			})
		}
	}
}

// TestStuckTerminal: progress that is not taken holds up neither the run nor its end.
func TestStuckTerminal(t *testing.T) {
	for _, sig := range []syscall.Signal{0, syscall.SIGTERM} {
		t.Run(fmt.Sprint(int(sig)), func(t *testing.T) {
			t.Parallel()
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close() //nolint:errcheck // nothing is read
			fill(t, w)
			p := newRunner(t, shortRun, "")
			p.cmd.Stderr = w
			p.start(t)
			w.Close() //nolint:errcheck // the child has its own
			p.awaitStep(t, "", "here")
			if sig == 0 {
				p.letGo(t)
				p.expect(t, harness.Completed, 0)
				return
			}
			// The first Ctrl-C has something to say, which must not be in the way.
			for _, s := range []syscall.Signal{syscall.SIGINT, sig} {
				if err := p.cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			p.expect(t, harness.Cancelled, 1)
		})
	}
}

// fill writes to a pipe until it takes no more.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	fd := int(w.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	for {
		if _, err := unix.Write(fd, block); errors.Is(err, unix.EAGAIN) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
}

// TestTerminalGoes: a run whose terminal is closed ends in order; one that only
// prints to a terminal which is not its own goes on.
func TestTerminalGoes(t *testing.T) {
	for name, own := range map[string]bool{"its own": true, "another's": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master, terminal := newTerminal(t)
			p := newRunner(t, shortRun, "")
			p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = terminal, nil, terminal
			p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: own}
			p.start(t)
			terminal.Close() //nolint:errcheck // the child has its own
			p.awaitStep(t, "", "here")
			if err := master.Close(); err != nil {
				t.Fatal(err)
			}
			if own {
				p.expect(t, harness.Cancelled, 1)
				return
			}
			p.letGo(t)
			p.expect(t, harness.Completed, 0)
		})
	}
}

// newTerminal opens a pseudo-terminal.
func newTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, terminal
}

// A reader of the record that goes away ends the program as it does any other.
func TestShowIntoHead(t *testing.T) {
	p, _ := runToEnd(t, "turns: [{text: Done.}]", "")
	cmd := exec.Command("sh", "-c", `"$0" transcript show run.jsonl | head -n 1`, p.cmd.Path)
	cmd.Dir, cmd.Env = p.dir, p.cmd.Env
	if out, err := cmd.CombinedOutput(); err != nil || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
}
