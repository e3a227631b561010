package deaths

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// pod is one, with its two containers, their workspace, and the proxy between them.
type pod struct {
	attempt                      int
	dir, workspace, serverSocket string
	runner, sandbox              *process
	proxy                        net.Listener
	runnerMark, sandboxMark      string
	// started is closed when both processes have.
	started chan struct{}
	// died is closed when it was killed or stopped as a whole.
	died chan struct{}
	dies sync.Once
	// given is closed when its sandbox is gone.
	given chan struct{}
	// What follows is the run's, under its lock. dead: its steps do not count any more.
	dead bool
	// latest is the checkpoint that it was told to go on from; began: it has written.
	latest *kept
	began  bool
	// start is when its runner was started; zero once it has called the model.
	start time.Time
}

// kept names a checkpoint.
type kept struct{ turn, attempt int }

// newPod starts the pod of an attempt.
func (r *run) newPod(attempt int) (*pod, error) {
	dir := filepath.Join(r.dir, fmt.Sprintf("p%d", attempt))
	p := &pod{
		attempt: attempt, dir: dir, workspace: filepath.Join(dir, "workspace"), serverSocket: filepath.Join(dir, "server"),
		started: make(chan struct{}), died: make(chan struct{}), given: make(chan struct{}), runnerMark: fmt.Sprintf("%s.%d.runner", r.mark, attempt), sandboxMark: fmt.Sprintf("%s.%d.sandbox", r.mark, attempt),
	}
	if err := os.MkdirAll(p.workspace, 0o755); err != nil {
		return nil, err
	}
	token, socket := filepath.Join(dir, "token"), filepath.Join(dir, "socket")
	if err := os.WriteFile(token, []byte(tokenOf(attempt)), 0o600); err != nil {
		return nil, err
	}
	var err error
	if p.proxy, err = net.Listen("unix", socket); err != nil { //nolint:noctx // a socket of this machine
		return nil, err
	}
	go r.serveSandbox(p, p.proxy)
	r.add(p)
	if p.sandbox, err = start("sandbox", settings{Socket: p.serverSocket, Workspace: p.workspace}, p.sandboxMark); err != nil {
		return nil, errors.Join(err, p.proxy.Close())
	}
	r.mu.Lock()
	p.start = time.Now()
	r.mu.Unlock()
	p.runner, err = start("runner", settings{
		RecordURL: r.recordURL, CAFile: r.caFile, TokenFile: token, ModelURL: r.modelURL + "/" + tokenOf(attempt) + "/v1",
		Socket: socket, Workspace: p.workspace,
	}, p.runnerMark)
	close(p.started)
	return p, err
}

func (p *pod) killSandbox() {
	p.sandbox.signal(syscall.SIGKILL)
	signalMarked(p.sandboxMark, syscall.SIGKILL)
}

// all sends a signal to all of it.
func (p *pod) all(s syscall.Signal) {
	p.runner.signal(s)
	p.sandbox.signal(s)
	signalMarked(p.sandboxMark, s)
}

// die is what the run's kind of death does to the pod.
func (r *run) die(p *pod) {
	<-p.started
	switch r.plan.Kind {
	case Record:
		if err := r.record.restart(); err != nil {
			r.fault(func(f *Faults) { f.Broken++ }, "restarting the record's server: %v", err)
		}
		return
	case Sandbox:
		p.killSandbox()
		p.dies.Do(func() { close(p.given) })
		return
	case Runner:
		p.runner.signal(syscall.SIGKILL)
	case Silent:
		p.all(syscall.SIGSTOP)
	case Pod:
		p.all(syscall.SIGKILL)
		_ = os.RemoveAll(p.workspace) // what is still being written there is removed with the run
	}
	p.dies.Do(func() { close(p.died) })
}

// remove ends a pod for good.
func (p *pod) remove() error {
	_ = p.proxy.Close()
	p.runner.signal(syscall.SIGKILL)
	p.killSandbox()
	return errors.Join(p.runner.wait(), p.sandbox.wait(), os.RemoveAll(p.dir))
}
