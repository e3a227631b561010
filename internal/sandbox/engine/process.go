package engine

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// StartRequest is a command that runs on its own. Its fields are those of a
// tool.ExecRequest where they have the same names.
type StartRequest struct {
	Argv           []string
	Shell          string
	Cwd            string
	Env            map[string]string
	Stdin          []byte
	TimeoutSeconds float64
	MergeStderr    bool
	// StdinOpen lets Feed give it its standard input.
	StdinOpen bool
	// Window, if there is one, makes a terminal of this size its input and output.
	Window *Window
}

// Exit is how a process ended.
type Exit struct {
	// ExitCode is nil when it did not exit by itself; Signal names what ended it.
	// Without either it is not known.
	ExitCode *int
	Signal   string
	// Killed says that somebody asked for its end, or for that of all.
	Killed                            bool
	TimedOut, OOMKilled, ProcessLimit bool
	LeftoverKilled                    int
	Duration                          time.Duration
}

// Process is a command that runs, or has run.
type Process struct {
	ID      string
	Command string
	Started time.Time

	cancel context.CancelCauseFunc
	done   chan struct{}
	// log is nil for a command whose output goes to who waits for it.
	log *outputLog
	// feeding holds the right to write to stdin.
	feeding chan struct{}

	mu       sync.Mutex
	pid      int
	exit     *Exit
	terminal bool
	// stdin is nil when it is closed.
	stdin *os.File
	fed   int64
}

// PID is 0 before it has started.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Exit is nil while it runs.
func (p *Process) Exit() *Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

// Output is the number of bytes that it has printed; followed says whether that can be read.
func (p *Process) Output() (position int64, followed bool) {
	if p.log == nil {
		return 0, false
	}
	return p.log.position(), true
}

// Start runs a command that goes on until it ends or is ended. The Reader has its
// output from the beginning, and must be closed.
func (e *Engine) Start(ctx context.Context, id string, req StartRequest) (*Process, *Reader, error) {
	if err := e.enterExec(); err != nil {
		return nil, nil, err
	}
	e.touch()
	// It outlives the request, and ends when another has to be exclusive.
	ctx, leave, err := e.gate.enter(context.WithoutCancel(ctx))
	if err != nil {
		e.execs.Done()
		return nil, nil, err
	}
	over := func() {
		leave()
		e.touch()
		e.execs.Done()
	}
	p, r, err := e.start(ctx, id, req, over)
	if err != nil {
		over()
		return nil, nil, err
	}
	return p, r, nil
}

// start calls over when the process has ended, unless it fails.
func (e *Engine) start(ctx context.Context, id string, req StartRequest, over func()) (*Process, *Reader, error) {
	x, err := e.prepareStart(id, req)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	p := newProcess(id, x.req, cancel)
	p.log = newOutputLog(e.opts.StreamBytes)
	reader, err := e.attach(p, 0)
	if err == nil {
		err = e.running.add(p)
	}
	if err == nil {
		if err = x.launch(p, req); err != nil {
			e.running.remove(p)
		}
	}
	if err != nil {
		cancel(nil)
		if reader != nil {
			reader.Close()
		}
		return nil, nil, err
	}
	unbind := e.endWithEngine(cancel)
	go func() {
		defer over()
		defer cancel(nil)
		defer unbind()
		p.ended(x.await(ctx), ctx.Err() != nil)
		processes.forget(x.leader)
		e.running.end(p)
	}()
	return p, reader, nil
}

func (e *Engine) prepareStart(id string, req StartRequest) (*execution, error) {
	if req.StdinOpen && len(req.Stdin) > 0 {
		return nil, fmt.Errorf("%w: stdin is either given or open", tool.ErrInvalid)
	}
	env := e.env
	if req.Window != nil {
		if len(req.Stdin) > 0 || req.Window.Rows == 0 || req.Window.Columns == 0 {
			return nil, fmt.Errorf("%w: a terminal needs a size, and stdin that is open", tool.ErrInvalid)
		}
		env = terminalEnv(env)
	}
	return e.prepare(id, tool.ExecRequest{
		Argv: req.Argv, Shell: req.Shell, Cwd: req.Cwd, Env: req.Env, Stdin: req.Stdin,
		TimeoutSeconds: req.TimeoutSeconds, MergeStderr: req.MergeStderr || req.Window != nil,
	}, env)
}

// launch starts a process whose output goes to its log.
func (x *execution) launch(p *Process, req StartRequest) error {
	x.outputs = append(x.outputs, logWriter{p.log, Stdout})
	if !x.req.MergeStderr {
		x.outputs = append(x.outputs, logWriter{p.log, Stderr})
	}
	x.hurry = p.log.hurry
	x.window, x.stdinOpen = req.Window, req.StdinOpen
	if err := x.start(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pid, p.stdin, p.terminal = x.leader.pid, x.stdin, req.Window != nil
	return nil
}

// ended notes how it ended; its readers are told.
func (p *Process) ended(res *tool.ExecResult, killed bool) {
	p.mu.Lock()
	p.exit = &Exit{
		ExitCode: res.ExitCode, Signal: res.Signal, Killed: killed, TimedOut: res.TimedOut, OOMKilled: res.OOMKilled,
		ProcessLimit: res.ProcessLimit, LeftoverKilled: res.LeftoverKilled, Duration: res.Duration,
	}
	p.stdin = nil
	p.mu.Unlock()
	p.log.finish()
}

// Follow gives the output of a process after a position, which counts the bytes of
// both its streams. The Reader must be closed.
func (e *Engine) Follow(id string, after int64) (*Process, *Reader, error) {
	p, err := e.running.find(id)
	if err != nil {
		return nil, nil, err
	}
	if p.log == nil {
		return nil, nil, fmt.Errorf("%w: the output of command %q goes to who has started it", tool.ErrInvalid, id)
	}
	r, err := e.attach(p, after)
	return p, r, err
}

func (e *Engine) attach(p *Process, after int64) (*Reader, error) {
	if e.readers.Add(1) > int64(e.opts.MaxReaders) {
		e.readers.Add(-1)
		return nil, fmt.Errorf("%w: %d streams are followed", tool.ErrTooMany, e.opts.MaxReaders)
	}
	r, err := p.log.attach(after, func() { e.readers.Add(-1) })
	if err != nil {
		e.readers.Add(-1)
	}
	return r, err
}

// Readers is the number of streams that are followed now.
func (e *Engine) Readers() int64 { return e.readers.Load() }

// Signal sends a signal, such as SIGINT, to a process and those of its group.
func (e *Engine) Signal(id, name string) error {
	sig := unix.SignalNum(name)
	if sig == 0 {
		return fmt.Errorf("%w: there is no signal %q", tool.ErrInvalid, name)
	}
	p, err := e.alive(id)
	if err != nil {
		return err
	}
	e.touch()
	if err := syscall.Kill(-p.PID(), sig); err != nil {
		return fmt.Errorf("sending %s to command %q: %w", name, id, err)
	}
	return nil
}

// alive finds a process that runs and has started.
func (e *Engine) alive(id string) (*Process, error) {
	p, err := e.running.find(id)
	switch {
	case err != nil:
		return nil, err
	case p.Exit() != nil || p.PID() == 0:
		return nil, fmt.Errorf("command %q: %w", id, tool.ErrEnded)
	}
	return p, nil
}

// Resize changes the size of a process's terminal.
func (e *Engine) Resize(id string, size Window) error {
	p, err := e.alive(id)
	if err != nil {
		return err
	}
	e.touch()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.terminal || p.stdin == nil || size.Rows == 0 || size.Columns == 0 {
		return fmt.Errorf("%w: command %q has no terminal, or the size is none", tool.ErrInvalid, id)
	}
	return resize(p.stdin, size)
}
