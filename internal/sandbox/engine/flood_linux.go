package engine

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// processBound is how many processes commands may have together, so that what
// forks without end does not take the container, or the machine, with it.
//
// A container's cgroup would be the place for it, but is not ours to write. The
// kernel's limit of a user's processes (RLIMIT_NPROC) counts those of all pods of
// the node with that user, so it serves only where the user is this container's
// own. So they are counted as well, ten times a second.
type processBound struct {
	// max is the number of processes, in a container of threads, at which all commands are killed.
	max int
	// perUser is the RLIMIT_NPROC of commands; 0 leaves it as it is.
	perUser uint64
}

// spareThreads is how many threads the server has made before commands may use up what
// there is: Go ends a program that is refused one, and lets those that it has idle.
const spareThreads = 32

func makeThreads(n int) {
	var held sync.WaitGroup
	release := make(chan struct{})
	for range n {
		held.Add(1)
		go func() {
			runtime.LockOSThread() // so that each has its own
			defer runtime.UnlockOSThread()
			held.Done()
			<-release
		}()
	}
	held.Wait()
	close(release)
}

const maxThreads = 1 << 22 // PID_MAX_LIMIT of the kernel

// maxProcessesDefault leaves room for a build with many jobs and for virtual
// machines with hundreds of threads.
const maxProcessesDefault = 8192

// defaultMaxProcesses stays below the cgroup's limit: the server needs threads of its own.
func defaultMaxProcesses() int {
	for _, name := range cgroupFiles("pids.max", "pids", "pids.max") {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && n > 0 {
			return min(maxProcessesDefault, max(n*3/4, 1))
		}
	}
	return maxProcessesDefault
}

func newProcessBound(maxProcesses int) processBound {
	b := processBound{max: maxProcesses + countProcesses()}
	if os.Getuid() != 0 && (os.Getpid() != 1 || ownUserNamespace()) {
		b.perUser = uint64(min(max(threadsOfAll()+maxProcesses, 1), maxThreads))
	}
	return b
}

// apply sets the limit of a command that has just begun.
func (b processBound) apply(pid int) {
	if b.perUser == 0 {
		return
	}
	var now unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NPROC, nil, &now); err != nil || now.Cur <= b.perUser {
		return // it has ended, or is bound more tightly
	}
	_ = unix.Prlimit(pid, unix.RLIMIT_NPROC, &unix.Rlimit{Cur: b.perUser, Max: min(b.perUser, now.Max)}, nil)
}

// endFlood kills all commands when they have too many processes.
func (t *tracker) endFlood() {
	t.mu.Lock()
	limit, busy := t.bound.max, len(t.leaders) > 0
	t.mu.Unlock()
	if !busy || countProcesses() <= limit {
		return
	}
	t.spawn.Lock()
	defer t.spawn.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for pid, c := range t.leaders {
		c.flooded.Store(true)
		_ = unix.Kill(-pid, unix.SIGKILL) // what has left its group is found when the command is swept
	}
	if os.Getpid() == 1 {
		_ = unix.Kill(-1, unix.SIGKILL)
	}
}

// countProcesses counts the threads of a container, of which we are the first
// process, else the processes that /proc shows: a machine may have very many.
func countProcesses() (n int) {
	if os.Getpid() == 1 {
		table, err := processTable()
		if err != nil {
			return 0
		}
		for _, p := range table {
			n += p.threads
		}
		return n
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return 0
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0
	}
	for _, name := range names {
		if name[0] >= '0' && name[0] <= '9' {
			n++
		}
	}
	return n
}

// threadsOfAll is how many threads the machine has now, of which a user's are a
// part (proc_loadavg(5), the fourth field).
func threadsOfAll() int {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(data))
	if len(f) < 4 {
		return 0
	}
	_, all, _ := strings.Cut(f[3], "/")
	n, err := strconv.Atoi(all)
	if err != nil {
		return 0
	}
	return n
}

// ownUserNamespace says whether this container's users are no others' (user_namespaces(7)).
func ownUserNamespace() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	f := strings.Fields(string(data))
	return len(f) >= 3 && (f[0] != f[1] || f[2] != "4294967295")
}
