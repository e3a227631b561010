package engine

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// processes knows every command of this process. Being the parent of orphans
// is a property of the whole process, so there is one for all engines.
var processes = &tracker{leaders: map[int]*command{}}

// tracker tells which processes belong to which command, kills them, and reaps
// orphans. As PID 1 of a container, orphans are our children anyway; elsewhere
// we ask the kernel to make us their "child subreaper".
//
// A process belongs to a command if it descends from it, is in its session, or
// carries its mark in its environment. One that has got rid of all three (a
// double fork, setsid and an empty environment) is still our child; it belongs
// to whichever command was there when it began, and dies with the last of them.
type tracker struct {
	// spawn is held for reading while a child is started and not yet known, and
	// for writing while orphans are reaped: a child of exec.Cmd must be reaped
	// by its Wait and nobody else.
	spawn sync.RWMutex

	mu      sync.Mutex
	leaders map[int]*command
	users   int
	stop    chan struct{}
	stopped chan struct{}
	// forks is nil where commands are started on any thread.
	forks *forker
	bound processBound
}

// command is a process that was started for a request.
type command struct {
	id  string
	pid int
	// since is when it was started, in ticks since boot.
	since uint64
	// flooded says that it was killed since there were too many processes.
	flooded atomic.Bool
}

// acquire makes sure that orphans come to us and are reaped, and that commands
// have no more than maxProcesses.
func (t *tracker) acquire(maxProcesses int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users++
	if t.users > 1 {
		return
	}
	if os.Getpid() != 1 {
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
		t.forks = newForker()
	}
	// Go opens its own files so that children do not get them; what we
	// inherited from who started us is none of a command's business either.
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	go makeThreads(spareThreads)
	t.bound = newProcessBound(maxProcesses)
	t.stop, t.stopped = make(chan struct{}), make(chan struct{})
	go t.reapOrphans(t.stop, t.stopped)
}

func (t *tracker) release() {
	t.mu.Lock()
	t.users--
	var stopped chan struct{}
	var forks *forker
	if t.users == 0 {
		close(t.stop)
		stopped, forks, t.forks = t.stopped, t.forks, nil
	}
	t.mu.Unlock()
	if forks != nil {
		forks.close()
	}
	if stopped != nil {
		<-stopped
	}
}

// start runs cmd and makes it known under id.
func (t *tracker) start(cmd *exec.Cmd, id string) (*command, error) {
	t.spawn.RLock()
	defer t.spawn.RUnlock()
	c := &command{id: id, since: ticksSinceBoot()}
	t.mu.Lock()
	forks := t.forks
	t.mu.Unlock()
	if err := forks.start(cmd); err != nil {
		return nil, err
	}
	c.pid = cmd.Process.Pid
	t.mu.Lock()
	t.leaders[c.pid] = c
	bound := t.bound
	t.mu.Unlock()
	bound.apply(c.pid)
	if os.Getpid() == 1 {
		preferForOOM(c.pid)
	}
	return c, nil
}

// forget ends a command; its sweep must be over.
func (t *tracker) forget(c *command) {
	t.mu.Lock()
	delete(t.leaders, c.pid)
	t.mu.Unlock()
}

// others are the commands that run beside c.
func (t *tracker) others(c *command) []*command {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*command, 0, len(t.leaders))
	for _, o := range t.leaders {
		if o != c {
			out = append(out, o)
		}
	}
	return out
}

// view is one look at the process table.
type view struct {
	table   map[int]process
	leaders map[int]*command
	byID    map[string]*command
	self    process
	cache   map[int]*command
}

func (t *tracker) view(table map[int]process) (*view, error) {
	self, ok := table[os.Getpid()]
	if !ok {
		return nil, errors.New("/proc does not show this process: it is of another PID namespace")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	v := &view{table: table, leaders: make(map[int]*command, len(t.leaders)),
		byID: make(map[string]*command, len(t.leaders)), cache: map[int]*command{}, self: self}
	for pid, c := range t.leaders {
		v.leaders[pid] = c
		v.byID[c.id] = c
	}
	return v, nil
}

// foreign is true for a child that other code of this process may have
// started: only a command's processes have left our session. PID 1 starts
// nothing else.
func (v *view) foreign(p process) bool {
	return v.self.pid != 1 && p.session == v.self.session
}

func (v *view) reapOrphan(p process) {
	if _, waited := v.leaders[p.pid]; p.ppid == v.self.pid && !waited && !v.foreign(p) {
		reap(p.pid)
	}
}

// belongs is true for what must end when c does.
func (v *view) belongs(p process, c *command) bool {
	top, ok := v.top(p)
	if !ok || v.foreign(top) {
		return false
	}
	if owner := v.owner(top); owner != nil {
		return owner == c
	}
	if top.start < c.since {
		return false
	}
	for _, o := range v.leaders {
		if o != c && o.since <= top.start {
			return false // may be the other's; it dies with the last of us
		}
	}
	return true
}

// top climbs from p to the child of ours that it descends from.
func (v *view) top(p process) (process, bool) {
	for range len(v.table) {
		if p.pid == v.self.pid {
			return p, false
		}
		if p.ppid == v.self.pid {
			return p, true
		}
		parent, ok := v.table[p.ppid]
		if !ok {
			return p, false
		}
		p = parent
	}
	return p, false
}

// owner is the command that a child of ours is known to belong to.
func (v *view) owner(top process) *command {
	if c, ok := v.cache[top.pid]; ok {
		return c
	}
	c := v.leaders[top.pid]
	if c == nil {
		c = v.leaders[top.session]
	}
	if c == nil {
		c = v.byID[markOf(top.pid, execIDEnv)]
	}
	v.cache[top.pid] = c
	return c
}

// Orphans that ended are looked for at these times: more often while commands
// run. A look is one system call when there is nothing to do. SIGCHLD would say
// it sooner, and wake us for every command, too, which costs each of them more
// than a zombie that waits a moment costs anybody.
const (
	reapWhileBusy = 100 * time.Millisecond
	reapWhileIdle = time.Second
)

// reapOrphans keeps the process table free of zombies nobody waits for.
func (t *tracker) reapOrphans(stop, stopped chan struct{}) {
	defer close(stopped)
	timer := time.NewTimer(reapWhileBusy)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-timer.C:
		}
		t.endFlood()
		t.reapZombies()
		timer.Reset(t.reapPause())
	}
}

func (t *tracker) reapPause() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.leaders) > 0 {
		return reapWhileBusy
	}
	return reapWhileIdle
}

func (t *tracker) reapZombies() {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil)
	if err != nil || info.Signo == 0 {
		return
	}
	t.spawn.Lock()
	defer t.spawn.Unlock()
	_, _, _ = t.look() // the next look may be luckier
}

// preferForOOM makes the kernel choose a command before the server when the
// container runs out of memory.
func preferForOOM(pid int) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }()
	_, _ = unix.Write(fd, []byte("1000"))
}
