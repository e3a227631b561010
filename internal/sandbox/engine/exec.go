package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// maxCommandBytes is a bit below what Linux takes for one argument, so that the
// error is ours and clear.
const maxCommandBytes = 128<<10 - 1

// Exec implements tool.Executor.
func (e *Engine) Exec(ctx context.Context, req tool.ExecRequest) (*tool.ExecResult, error) {
	return e.ExecID(ctx, rand.Text(), req)
}

// ExecID is Exec under an id of the caller's choice, by which the command is
// listed and can be killed while it runs.
func (e *Engine) ExecID(ctx context.Context, id string, req tool.ExecRequest) (*tool.ExecResult, error) {
	e.closing.RLock()
	if e.root == nil || e.base.Err() != nil {
		e.closing.RUnlock()
		return nil, fmt.Errorf("%w: it is shutting down", tool.ErrExecutorGone)
	}
	e.execs.Add(1)
	e.closing.RUnlock()
	defer e.execs.Done()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.touch()
	defer e.touch()
	if req.Isolated {
		return e.isolated(ctx, id, req)
	}
	ctx, leave, err := e.gate.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	x, err := e.prepare(id, req, e.env)
	if err != nil {
		return nil, err
	}
	return e.execute(ctx, x)
}

// execute runs a command that was prepared, and lists it meanwhile.
func (e *Engine) execute(ctx context.Context, x *execution) (*tool.ExecResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.base, func() { //nolint:contextcheck // the engine's end is another one
		cancel(fmt.Errorf("%w: it is shutting down", tool.ErrExecutorGone))
	})()
	if err := e.running.add(x.id, x.req, cancel); err != nil {
		return nil, err
	}
	defer e.running.remove(x.id)
	return x.run(ctx)
}

// execution is one command on its way.
type execution struct {
	e       *Engine
	id      string
	req     tool.ExecRequest
	cmd     *exec.Cmd
	capture *capture
	timeout time.Duration

	leader *command
	// exited is closed when the command itself has ended, drained when nobody
	// holds its output any more.
	exited  chan struct{}
	drained chan struct{}
	readers []*os.File
	oomFrom int64
}

// prepare checks a request whose command begins with an environment. It starts nothing.
func (e *Engine) prepare(id string, req tool.ExecRequest, base []string) (*execution, error) {
	if (len(req.Argv) > 0) == (req.Shell != "") {
		return nil, fmt.Errorf("%w: exactly one of argv and shell must be given", tool.ErrInvalid)
	}
	argv := req.Argv
	if req.Shell != "" {
		argv = []string{e.shell, "-c", req.Shell}
	}
	for _, a := range argv {
		if strings.IndexByte(a, 0) >= 0 {
			return nil, fmt.Errorf("%w: the command holds a NUL byte", tool.ErrInvalid)
		}
		if len(a) > maxCommandBytes {
			return nil, fmt.Errorf("%w: the command has %d bytes, more than %d: write a script to a file and run that",
				tool.ErrInvalid, len(a), maxCommandBytes)
		}
	}
	timeout, err := e.timeout(req.TimeoutSeconds)
	if err != nil {
		return nil, err
	}
	dir, err := e.workDir(req.Cwd)
	if err != nil {
		return nil, err
	}
	env, err := commandEnv(base, req, id, dir)
	if err != nil {
		return nil, err
	}
	program, err := lookPath(argv[0], dir, env)
	if err != nil {
		return nil, err
	}
	if req.OutputFile != "" {
		if req.OutputFile, err = e.clean(req.OutputFile); err != nil {
			return nil, err
		}
	}
	x := &execution{e: e, id: id, req: req, timeout: timeout,
		exited: make(chan struct{}), drained: make(chan struct{})}
	x.cmd = &exec.Cmd{Path: program, Args: argv, Dir: dir, Env: env, SysProcAttr: newSession()}
	return x, nil
}

func (e *Engine) timeout(seconds float64) (time.Duration, error) {
	if math.IsNaN(seconds) || seconds < 0 {
		return 0, fmt.Errorf("%w: timeout of %v seconds", tool.ErrInvalid, seconds)
	}
	if seconds == 0 || seconds >= e.opts.MaxTimeout.Seconds() {
		return e.opts.MaxTimeout, nil
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

func (e *Engine) workDir(cwd string) (string, error) {
	if cwd == "" {
		return e.workspace, nil
	}
	rel, err := e.clean(cwd)
	if err != nil {
		return "", err
	}
	st, err := e.root.Stat(rel)
	if err != nil {
		return "", mapError(rel, err)
	}
	if !st.IsDir() {
		return "", fmt.Errorf("%w: cwd %s is not a directory", tool.ErrInvalid, rel)
	}
	return filepath.Join(e.workspace, rel), nil
}

func (e *Engine) outputLimit(asked int64) int {
	if asked <= 0 {
		asked = e.opts.DefaultOutputBytes
	}
	return int(min(asked, e.opts.MaxOutputBytes))
}

// run starts the command and sees it to its end.
func (x *execution) run(ctx context.Context) (_ *tool.ExecResult, err error) {
	x.capture, err = newCapture(x.e.outputLimit(x.req.MaxOutputBytes), x.e.spill, x.req)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := x.capture.close(); err != nil {
			x.e.opts.Log.Warn("Closed a command's output file with an error", "command", x.id, "error", err)
		}
	}()
	x.oomFrom = x.e.oom.count()
	began := time.Now()
	if err := x.start(); err != nil {
		return nil, err
	}
	defer processes.forget(x.leader)
	x.e.running.started(x.id, x.leader.pid)
	timer := time.NewTimer(x.timeout)
	defer timer.Stop()
	res := &tool.ExecResult{}
	select {
	case <-x.exited:
		x.waitForOutput(ctx, timer.C, res)
	case <-timer.C:
		res.TimedOut = true
		x.terminate(ctx)
	case <-ctx.Done():
	}
	x.finish(res) //nolint:contextcheck // what is ended is ended to the last process
	if err := ctx.Err(); err != nil {
		return nil, cancelled(ctx)
	}
	res.Duration = time.Since(began)
	res.ProcessLimit = x.leader.flooded.Load()
	x.capture.result(res)
	return res, nil
}

// cancelled says why a command was ended: our own reason where there is one.
func cancelled(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, tool.ErrExecutorGone) || errors.Is(cause, tool.ErrKilled) {
		return cause
	}
	return ctx.Err()
}

// waitForOutput gives what the command left behind a moment to finish writing
// ("cmd > >(tee log)"), but not for ever.
func (x *execution) waitForOutput(ctx context.Context, deadline <-chan time.Time, res *tool.ExecResult) {
	grace := time.NewTimer(x.e.opts.Grace)
	defer grace.Stop()
	select {
	case <-x.drained:
	case <-grace.C:
	case <-deadline:
		res.TimedOut = true
	case <-ctx.Done():
	}
}

// terminate asks the command to end before it is killed, so that it can say
// something and put things in order.
func (x *execution) terminate(ctx context.Context) {
	_ = syscall.Kill(-x.leader.pid, syscall.SIGTERM)
	grace := time.NewTimer(x.e.opts.Grace)
	defer grace.Stop()
	select {
	case <-x.exited:
	case <-grace.C:
	case <-ctx.Done():
	}
}

// How long a killed command may take to be gone, and its output to be read.
const (
	reapDeadline  = 5 * time.Second
	drainDeadline = time.Second
)

// finish kills what is left and gathers how the command ended.
func (x *execution) finish(res *tool.ExecResult) {
	running := false
	select {
	case <-x.exited:
	default:
		running = true
	}
	killed, err := processes.sweep(x.leader)
	if err != nil {
		x.e.opts.Log.Warn("Left processes behind", "command", x.id, "error", err)
	}
	if running && killed > 0 {
		killed-- // the command itself is no leftover
	}
	res.LeftoverKilled = killed
	wait(x.exited, reapDeadline)
	if !wait(x.drained, drainDeadline) {
		for _, r := range x.readers {
			_ = r.SetReadDeadline(time.Now())
		}
		<-x.drained
	}
	x.status(res)
	if res.Signal != "" || res.ExitCode == nil || *res.ExitCode != 0 {
		res.OOMKilled = x.e.oom.count() > x.oomFrom
	}
}

// status is exact or empty: it is never made up.
func (x *execution) status(res *tool.ExecResult) {
	select {
	case <-x.exited:
	default:
		return
	}
	st := x.cmd.ProcessState
	if st == nil {
		return
	}
	ws, ok := st.Sys().(syscall.WaitStatus)
	switch {
	case ok && ws.Exited():
		code := ws.ExitStatus()
		res.ExitCode = &code
	case ok && ws.Signaled():
		res.Signal = signalName(ws.Signal())
	}
}

func wait(ch <-chan struct{}, d time.Duration) bool {
	select {
	case <-ch:
		return true
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ch:
		return true
	case <-t.C:
		return false
	}
}

// start makes the pipes and runs the command.
func (x *execution) start() error {
	var p pipes
	defer p.close()
	streams := []*stream{&x.capture.out}
	if !x.req.MergeStderr {
		streams = append(streams, &x.capture.err)
	}
	for range streams {
		if err := p.read(); err != nil {
			return err
		}
	}
	x.cmd.Stdout, x.cmd.Stderr = p.theirs[0], p.theirs[len(streams)-1]
	var feed *os.File
	if len(x.req.Stdin) > 0 {
		if err := p.write(); err != nil {
			return err
		}
		x.cmd.Stdin, feed = p.theirs[len(streams)], p.ours[len(streams)]
	}
	leader, err := processes.start(x.cmd, x.id)
	if err != nil {
		return startError(err)
	}
	x.leader, x.readers, p.ours = leader, p.ours[:len(streams)], nil
	x.follow(streams, feed)
	return nil
}

// follow reads what the command prints, feeds it, and waits for its end.
func (x *execution) follow(streams []*stream, feed *os.File) {
	var wg sync.WaitGroup
	for i, to := range streams {
		r := x.readers[i]
		wg.Go(func() { x.read(r, to) })
	}
	if feed != nil {
		go func() { _, _ = feed.Write(x.req.Stdin); _ = feed.Close() }()
	}
	go func() { wg.Wait(); close(x.drained) }()
	go func() {
		_ = x.cmd.Wait() // its ProcessState says how it ended
		if feed != nil {
			_ = feed.Close() // ends the write above: nobody reads any more
		}
		close(x.exited)
	}()
}

func startError(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) && errors.Is(pe.Err, syscall.E2BIG) {
		return fmt.Errorf("%w: the command and its environment are too long", tool.ErrInvalid)
	}
	if errors.As(err, &pe) && pe.Op == "fork/exec" {
		return mapError(pe.Path, err)
	}
	return fmt.Errorf("starting the command: %w", err)
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func (x *execution) read(r *os.File, to *stream) {
	defer func() { _ = r.Close() }()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := r.Read(*buf)
		x.capture.write(to, (*buf)[:n])
		if err != nil {
			return
		}
	}
}
