package engine

import (
	"bytes"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// process is one line of the process table.
type process struct {
	pid, ppid, session int
	threads            int
	zombie             bool
	// start is in clock ticks since boot; with the pid it names a process for good.
	start uint64
}

// processTable reads /proc. Processes that come or go meanwhile may be missing.
func processTable() (map[int]process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	table := make(map[int]process, len(names))
	buf := make([]byte, 1024)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if p, ok := readProcess(pid, buf); ok {
				table[pid] = p
			}
		}
	}
	return table, nil
}

// readProcess parses /proc/PID/stat. The second field, the name, may hold
// anything; the last parenthesis ends it.
func readProcess(pid int, buf []byte) (process, bool) {
	data, ok := readSmall("/proc/"+strconv.Itoa(pid)+"/stat", buf)
	if !ok {
		return process{}, false
	}
	return parseStat(pid, data)
}

func parseStat(pid int, data []byte) (process, bool) {
	i := bytes.LastIndexByte(data, ')')
	if i < 0 {
		return process{}, false
	}
	f := bytes.Fields(data[i+1:])
	if len(f) < 20 {
		return process{}, false
	}
	// A process whose first thread has ended shows as a zombie while others of its threads run.
	p := process{pid: pid}
	var errs [4]error
	p.threads, errs[3] = strconv.Atoi(string(f[17]))
	p.zombie = f[0][0] == 'X' || f[0][0] == 'Z' && p.threads <= 1
	p.ppid, errs[0] = strconv.Atoi(string(f[1]))
	p.session, errs[1] = strconv.Atoi(string(f[3]))
	p.start, errs[2] = strconv.ParseUint(string(f[19]), 10, 64)
	return p, errors.Join(errs[:]...) == nil
}

// readSmall reads a file of /proc in one go, without os.File's poller.
func readSmall(name string, buf []byte) ([]byte, bool) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := unix.Read(fd, buf)
	return buf[:max(n, 0)], err == nil && n > 0
}

// markOf reads a mark that a process inherited in its environment, if it did not
// throw it away.
func markOf(pid int, name string) string {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return ""
	}
	mark := []byte(name + "=")
	if !bytes.HasPrefix(data, mark) {
		i := bytes.Index(data, append([]byte{0}, mark...))
		if i < 0 {
			return ""
		}
		data = data[i+1:]
	}
	value, _, _ := bytes.Cut(data[len(mark):], []byte{0})
	return string(value)
}

// signal sends a signal to exactly this process: a pid that was reused meanwhile
// belongs to another start time.
func signal(p process, sig unix.Signal) {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			return
		}
		_ = unix.Kill(p.pid, sig) // an old kernel, or a seccomp rule
		return
	}
	defer func() { _ = unix.Close(fd) }()
	now, ok := readProcess(p.pid, make([]byte, 1024))
	if ok && now.start == p.start {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
}

// childless is true when this process has no child at all, not even a zombie.
// One call answers the usual question whether a command left anything behind:
// its orphans are our children.
func childless() bool {
	err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil)
	return errors.Is(err, unix.ECHILD)
}

// reap takes one zombie child out of the process table.
func reap(pid int) {
	_, _ = unix.Wait4(pid, nil, unix.WNOHANG|unix.WALL, nil)
}

// ticksSinceBoot is now on the clock of process.start.
func ticksSinceBoot() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	const perSecond = 100                                           // USER_HZ, the same on every architecture Go runs on
	return uint64(ts.Sec)*perSecond + uint64(ts.Nsec)*perSecond/1e9 //nolint:gosec // the time since boot is not negative
}
