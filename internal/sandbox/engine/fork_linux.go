package engine

import (
	"os/exec"
	"runtime"
	"syscall"
)

// forker starts commands so that they die with this process, however it dies:
// with PID 1 the kernel ends the container, elsewhere it must be asked for each
// child. That request (PR_SET_PDEATHSIG) is bound to the thread that forked, and
// Go's threads come and go; so there is one that forks them all and stays for
// as long as an engine does. It reaches a command itself and not what that has
// started in turn: a child does not inherit it.
type forker struct {
	starts chan forkRequest
	ended  chan struct{}
}

type forkRequest struct {
	cmd  *exec.Cmd
	done chan error
}

func newForker() *forker {
	f := &forker{starts: make(chan forkRequest), ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		runtime.LockOSThread()
		// Unlocked, the thread lives on: what could not be killed is not hit by our end.
		defer runtime.UnlockOSThread()
		for r := range f.starts {
			r.done <- r.cmd.Start()
		}
	}()
	return f
}

// start is cmd.Start; without a forker it is that and no more.
func (f *forker) start(cmd *exec.Cmd) error {
	if f == nil {
		return cmd.Start()
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	r := forkRequest{cmd: cmd, done: make(chan error, 1)}
	f.starts <- r
	return <-r.done
}

// close ends the thread's duty; every start must be over.
func (f *forker) close() {
	close(f.starts)
	<-f.ended
}
