//go:build !linux

package engine

import (
	"context"
	"errors"
	"os/exec"
	"sync/atomic"
	"syscall"
)

// processes is a poor relation of what Linux offers: elsewhere (a laptop
// without containers) only a command's own session can be found again, so what
// left it survives. Sandboxes always run on Linux.
var processes tracker

type tracker struct{}

type command struct {
	pid     int
	flooded atomic.Bool
}

func defaultMaxProcesses() int { return 0 }

func (tracker) acquire(int)     {}
func (tracker) release()        {}
func (tracker) forget(*command) {}

func (tracker) start(cmd *exec.Cmd, _ string) (*command, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &command{pid: cmd.Process.Pid}, nil
}

func (tracker) sweepAll(context.Context) error { return nil }

func (tracker) sweep(c *command) (int, error) {
	switch err := syscall.Kill(-c.pid, syscall.SIGKILL); {
	case errors.Is(err, syscall.ESRCH):
		return 0, nil
	default:
		return 1, err
	}
}
