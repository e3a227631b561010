// Package engine runs commands and reads and writes files in one workspace
// folder of this machine. It is the whole of what a sandbox can do, without a
// wire: the sandbox server puts HTTP before it, a local run uses it as it is.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/backup"
)

// Options are an Engine's settings; the zero value of each means its default.
type Options struct {
	// Env is the environment that commands start from; nil is this process's own.
	// A caller that holds credentials must pass one without them.
	Env []string
	// MaxTimeout caps a command's deadline and is it where none is asked for (default 24 h).
	MaxTimeout time.Duration
	// DefaultOutputBytes of output are given back where the request does not say (default 64 KiB).
	DefaultOutputBytes int64
	// MaxOutputBytes caps what a request may ask for (default 4 MiB).
	MaxOutputBytes int64
	// SpillBytes is how much of a long output is kept in its file (default 64 MiB).
	SpillBytes int64
	// SpillTotalBytes is how much all those files may hold together (default 256 MiB).
	SpillTotalBytes int64
	// Grace is how long what a finished command left behind may keep its output
	// open before it is killed (default 250 ms), and how long a command that
	// timed out has after SIGTERM.
	Grace time.Duration
	// MaxProcesses is how many processes and threads commands may have in the container,
	// where the engine is its first process; beyond it all commands are killed (default
	// 8192, and three quarters of the cgroup's pids.max where that is less).
	MaxProcesses int
	// StreamBytes of the output of a command that runs on its own are kept for those
	// who follow it (default 1 MiB).
	StreamBytes int
	// MaxRunning commands may run at once (default 256), MaxReaders may follow them
	// (default 64), and MaxEnded of those that ran on their own are kept after their
	// end (default 32).
	MaxRunning, MaxReaders, MaxEnded int
	// Backup bounds an archive of the workspace, made or restored (default 500,000
	// entries and 64 GiB).
	Backup backup.Limits
	// BackgroundStopped is called when a request has become the only one, with its context,
	// before what ran beside it is waited for; nil does nothing.
	BackgroundStopped func(context.Context)
	// Log gets what is not worth an error; nil is silence.
	Log *slog.Logger
}

func (o *Options) setDefaults() {
	def(&o.MaxTimeout, 24*time.Hour)
	def(&o.DefaultOutputBytes, 64<<10)
	def(&o.MaxOutputBytes, 4<<20)
	def(&o.SpillBytes, 64<<20)
	def(&o.SpillTotalBytes, 256<<20)
	def(&o.Grace, 250*time.Millisecond)
	def(&o.StreamBytes, 1<<20)
	def(&o.MaxRunning, 256)
	def(&o.MaxReaders, 64)
	def(&o.MaxEnded, 32)
	def(&o.Backup.Entries, 500_000)
	def(&o.Backup.Bytes, 64<<30)
	if o.MaxProcesses <= 0 {
		o.MaxProcesses = defaultMaxProcesses()
	}
	if o.BackgroundStopped == nil {
		o.BackgroundStopped = func(context.Context) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

func def[T ~int64 | ~int](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Engine implements tool.Executor on a folder.
type Engine struct {
	opts Options
	// workspace is absolute and free of symlinks; aliases are other spellings of it.
	workspace string
	aliases   []string
	root      *os.Root
	// shell is bash, or sh where there is none.
	shell string
	env   []string
	oom   *oomCounter
	spill *spillDir

	// base ends when the engine closes; it ends every command.
	base   context.Context
	cancel context.CancelFunc
	execs  sync.WaitGroup
	// closing is held for writing once, so that no command starts after Close began.
	closing sync.RWMutex

	// writes serialises our own writers, so that a precondition still holds at the rename.
	writes sync.Mutex

	// staging is held by the one restore.
	staging sync.Mutex

	// gate is passed by every request of any kind.
	gate *gate
	// limits are as they were before the first command.
	limits limits

	running processSet
	// readers counts who follows outputs.
	readers atomic.Int64
	// firstUsed and lastUsed are in nanoseconds since 1970; firstUsed is 0 before it was used.
	firstUsed atomic.Int64
	lastUsed  atomic.Int64
}

var _ tool.Executor = (*Engine)(nil)

// New opens a workspace, making the folder if it is missing. The caller must
// Close it.
func New(workspace string, opts Options) (*Engine, error) {
	opts.setDefaults()
	abs, err := filepath.Abs(workspace)
	if err != nil {
		return nil, fmt.Errorf("resolving workspace %s: %w", workspace, err)
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		return nil, fmt.Errorf("making workspace: %w", err)
	}
	resolvedPath, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return nil, fmt.Errorf("resolving workspace: %w", err)
	}
	root, err := os.OpenRoot(resolvedPath)
	if err != nil {
		return nil, fmt.Errorf("opening workspace: %w", err)
	}
	e := &Engine{opts: opts, workspace: resolvedPath, root: root, oom: openOOMCounter(), gate: newGate(), limits: readLimits()}
	if abs != resolvedPath {
		e.aliases = []string{abs}
	}
	e.env = baseEnv(opts.Env)
	if e.shell, err = findShell(setEnv(slices.Clone(e.env), "PATH="+e.trustedPath())); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	e.spill = newSpillDir(root, opts.SpillBytes, opts.SpillTotalBytes)
	e.recoverReplace()
	e.base, e.cancel = context.WithCancel(context.Background())
	e.running.init(e.opts.MaxRunning, e.opts.MaxEnded)
	e.lastUsed.Store(time.Now().UnixNano())
	processes.acquire(opts.MaxProcesses)
	return e, nil
}

// Close kills what still runs, waits for it, and closes the workspace.
func (e *Engine) Close() error {
	e.cancel()
	e.closing.Lock()
	defer e.closing.Unlock()
	if e.root == nil {
		return nil
	}
	e.execs.Wait()
	processes.release()
	e.oom.close()
	err := e.root.Close()
	e.root = nil
	return err
}

// Workspace is the absolute path of the workspace.
func (e *Engine) Workspace() string { return e.workspace }

// LastActivity is when the engine last did something.
func (e *Engine) LastActivity() time.Time { return time.Unix(0, e.lastUsed.Load()) }

// FirstActivity is when it first did something; the zero time before.
func (e *Engine) FirstActivity() time.Time {
	if n := e.firstUsed.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

func (e *Engine) touch() {
	now := time.Now().UnixNano()
	e.firstUsed.CompareAndSwap(0, now)
	e.lastUsed.Store(now)
}
