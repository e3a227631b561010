package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
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
	if err := e.enterExec(); err != nil {
		return nil, err
	}
	defer e.execs.Done()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkFiles(req); err != nil {
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

// enterExec counts a command in execs, unless the engine is closing.
func (e *Engine) enterExec() error {
	e.closing.RLock()
	defer e.closing.RUnlock()
	if e.root == nil || e.base.Err() != nil {
		return fmt.Errorf("%w: it is shutting down", tool.ErrExecutorGone)
	}
	e.execs.Add(1)
	return nil
}

// endWithEngine ends a command when the engine closes, until the result is called.
func (e *Engine) endWithEngine(cancel context.CancelCauseFunc) (unbind func() bool) {
	return context.AfterFunc(e.base, func() {
		cancel(fmt.Errorf("%w: it is shutting down", tool.ErrExecutorGone))
	})
}

// execute runs a command that was prepared, and lists it meanwhile.
func (e *Engine) execute(ctx context.Context, x *execution) (*tool.ExecResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer e.endWithEngine(cancel)()
	p := newProcess(x.id, x.req, cancel)
	if err := e.running.add(p); err != nil {
		return nil, err
	}
	defer e.running.remove(p)
	return x.run(ctx, p)
}

// execution is one command on its way.
type execution struct {
	e       *Engine
	id      string
	req     tool.ExecRequest
	cmd     *exec.Cmd
	timeout time.Duration
	// outputs get what it prints: one for both streams, or one for each.
	outputs []io.Writer
	// hurry, if there is one, makes outputs wait for nobody any more.
	hurry func()
	// window makes a terminal its input and output, stdinOpen keeps its input open.
	window    *Window
	stdinOpen bool

	leader *command
	// exited is closed when the command itself has ended, drained when nobody
	// holds its output any more.
	exited  chan struct{}
	drained chan struct{}
	readers []*os.File
	// stdin is our end of its input, nil where it has none.
	stdin   *os.File
	began   time.Time
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
		if _, err := os.Stat(e.workspace); err != nil {
			return "", fmt.Errorf("%w: the workspace itself (%s) is gone, and nothing can run in it", tool.ErrInvalid, e.workspace)
		}
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
func (x *execution) run(ctx context.Context, p *Process) (_ *tool.ExecResult, err error) {
	capture, err := newCapture(x.e.outputLimit(x.req.MaxOutputBytes), x.e.spill, x.req)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := capture.close(); err != nil {
			x.e.opts.Log.Warn("Closed a command's output file with an error", "command", x.id, "error", err)
		}
	}()
	x.outputs = capture.writers(x.req.MergeStderr)
	if err := x.start(); err != nil {
		return nil, err
	}
	defer processes.forget(x.leader)
	p.mu.Lock()
	p.pid = x.leader.pid
	p.mu.Unlock()
	res := x.await(ctx)
	if err := ctx.Err(); err != nil {
		return nil, cancelled(ctx)
	}
	capture.result(res)
	return res, nil
}

// await sees a command that has started to its end.
func (x *execution) await(ctx context.Context) *tool.ExecResult {
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
	res.Duration = time.Since(x.began)
	res.ProcessLimit = x.leader.flooded.Load()
	return res
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
	if x.hurry != nil {
		x.hurry()
	}
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
	connect := x.connectPipes
	if x.window != nil {
		connect = x.connectTerminal
	}
	if err := connect(&p); err != nil {
		return err
	}
	x.oomFrom, x.began = x.e.oom.count(), time.Now()
	leader, err := processes.start(x.cmd, x.id)
	if err != nil {
		x.readers, x.stdin = nil, nil
		return startError(err)
	}
	x.leader, p.ours = leader, nil
	x.follow()
	return nil
}

// connectPipes gives the command a pipe for each output, and for its input if it has any.
func (x *execution) connectPipes(p *pipes) error {
	for range x.outputs {
		if err := p.read(); err != nil {
			return err
		}
	}
	n := len(x.outputs)
	x.cmd.Stdout, x.cmd.Stderr, x.readers = p.theirs[0], p.theirs[n-1], p.ours[:n:n]
	if len(x.req.Stdin) > 0 || x.stdinOpen {
		if err := p.write(); err != nil {
			return err
		}
		x.cmd.Stdin, x.stdin = p.theirs[n], p.ours[n]
	}
	return nil
}

// connectTerminal gives the command a terminal for all three.
func (x *execution) connectTerminal(p *pipes) error {
	ours, theirs, err := openTerminal(*x.window)
	if err != nil {
		return err
	}
	p.ours, p.theirs = append(p.ours, ours), append(p.theirs, theirs)
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = theirs, theirs, theirs
	x.cmd.SysProcAttr.Setctty = true // its descriptor 0
	x.readers, x.stdin = []*os.File{ours}, ours
	return nil
}

// follow reads what the command prints, feeds it, and waits for its end.
func (x *execution) follow() {
	var wg sync.WaitGroup
	for i, r := range x.readers {
		wg.Go(func() { read(r, x.outputs[i]) })
	}
	if len(x.req.Stdin) > 0 {
		go func() { _, _ = x.stdin.Write(x.req.Stdin); _ = x.stdin.Close() }()
	}
	go func() { wg.Wait(); close(x.drained) }()
	go func() {
		_ = x.cmd.Wait() // its ProcessState says how it ended
		if x.stdin != nil && x.window == nil {
			_ = x.stdin.Close() // ends who writes to it: nobody reads any more
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

// read ends with the output; what nobody wants is read all the same.
func read(r *os.File, to io.Writer) {
	defer func() { _ = r.Close() }()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := r.Read(*buf)
		_, _ = to.Write((*buf)[:n]) // it takes all
		if err != nil {
			return
		}
	}
}
