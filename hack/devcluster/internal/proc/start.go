package proc

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Command says how to start one of the cluster's programs.
type Command struct {
	// Path is the program, and Args its arguments without its name.
	Path string
	Args []string
	// Env is the whole environment: nothing is inherited.
	Env []string
	// Dir is the working directory.
	Dir string
	// Log is the file that takes its output; it is appended to.
	Log string
	// CgroupProcs is the file that makes a process a member of a control group.
	CgroupProcs string
}

// joinThenExec joins the control group before the program begins, so that no
// child of it can be born outside.
const joinThenExec = `echo $$ >"$0" && exec "$@"`

// Start starts a program that outlives this one, in its own session.
func Start(c Command) (Identity, error) {
	log, err := os.OpenFile(c.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return Identity{}, fmt.Errorf("opening log: %w", err)
	}
	defer func() { _ = log.Close() }()

	//nolint:noctx // it is meant to outlive this program, so no context may end it
	cmd := exec.Command("/bin/sh", append([]string{"-c", joinThenExec, c.CgroupProcs, c.Path}, c.Args...)...)
	cmd.Env = c.Env
	cmd.Dir = c.Dir
	cmd.Stdout = log
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return Identity{}, fmt.Errorf("starting %s: %w", c.Path, err)
	}
	id, err := Of(cmd.Process.Pid)
	if err != nil {
		return Identity{}, fmt.Errorf("starting %s: %w", c.Path, err)
	}
	// Wait for it in the background only to leave no zombie while this program
	// runs; afterwards init does it.
	go func() { _ = cmd.Wait() }()
	return id, nil
}
