package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/sampan-dev/sampan/internal/sandbox/engine"
)

// guardLeaves is how long the guard may take to be gone once it was let go.
const guardLeaves = 300 * time.Millisecond

// guard is a second process that kills what commands started when this one is
// killed, which can then end nothing itself; the kernel would only end the
// commands' first processes. The zero value guards nothing.
type guard struct {
	// run names what is ours, in the environment of every command.
	run string
	// lifeline ends with this process, gone with the guard.
	lifeline, gone *os.File
}

// guarded is an engine with a guard.
type guarded struct {
	*engine.Engine
	guard *guard
}

// Close implements closingExecutor: first what the guard is for, then the guard.
func (g guarded) Close() error { return errors.Join(g.Engine.Close(), g.guard.Close()) }

// startGuard starts a process of agent-runner. It is made nobody's child: the
// engine takes any child of ours for what a command left behind, so this must
// come before an engine is made, to whom orphans go.
func startGuard(program string) (*guard, error) {
	if program == "" || os.Getpid() == 1 || runtime.GOOS != "linux" {
		return &guard{}, nil
	}
	theirs, lifeline, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	gone, holds, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making a pipe: %w", err), theirs.Close(), lifeline.Close())
	}
	g := &guard{run: rand.Text(), lifeline: lifeline, gone: gone}
	self, err := engine.Self(g.run)
	if err != nil {
		return nil, errors.Join(err, theirs.Close(), holds.Close(), g.Close())
	}
	cmd := exec.Command(program) //nolint:noctx // it must outlive every context
	cmd.Args = []string{
		"agent-runner", "guard", "--pid", strconv.Itoa(self.PID), "--start", strconv.FormatUint(self.Start, 10), "--run", self.ID,
	}
	// It must not be taken for a command, and needs none; but the race detector
	// lets a process sleep at its end unless told otherwise.
	cmd.Env = []string{"GORACE=" + os.Getenv("GORACE")}
	cmd.Stdin, cmd.Stdout = theirs, holds
	// Ctrl-C is for us: it goes to a process group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = errors.Join(cmd.Run(), theirs.Close(), holds.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the guard of the run: %w", err), g.Close())
	}
	return g, nil
}

// mark is what every command has in its environment.
func (g *guard) mark() []string {
	if g.run == "" {
		return nil
	}
	return []string{engine.RunIDEnv + "=" + g.run}
}

// Close lets the guard go, and waits for it a moment.
func (g *guard) Close() error {
	if g.lifeline == nil {
		return nil
	}
	_, _ = g.lifeline.Write([]byte{engine.GuardDismissed}) // a guard that is gone is no loss now
	err := g.lifeline.Close()
	_ = g.gone.SetReadDeadline(time.Now().Add(guardLeaves))
	_, _ = io.Copy(io.Discard, g.gone)
	return errors.Join(err, g.gone.Close())
}
