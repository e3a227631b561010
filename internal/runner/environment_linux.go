package runner

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxEnviron is more than Linux lets a process be started with by default.
const maxEnviron = 8 << 20

// The fields of /proc/PID/stat, counted from 1, that say where the environment
// is with which the process was started; see proc_pid_stat(5).
const (
	fieldEnvStart = 50
	fieldEnvEnd   = 51
)

// wipeEnviron overwrites the values of variables in the environment that the
// kernel gave this process: Go works on a copy of it, while /proc shows that.
func wipeEnviron(names []string) error {
	start, end, err := environAt()
	if err != nil || len(names) == 0 {
		return err
	}
	block := make([]byte, end-start)
	if err := transfer(unix.ProcessVMReadv, block, start); err != nil {
		return fmt.Errorf("reading the environment: %w", err)
	}
	at := 0
	for entry := range bytes.SplitSeq(block, []byte{0}) {
		name, value, set := strings.Cut(string(entry), "=")
		if set && value != "" && slices.Contains(names, name) {
			if err := transfer(unix.ProcessVMWritev, make([]byte, len(value)), start+uintptr(at+len(name)+1)); err != nil {
				return fmt.Errorf("overwriting the environment: %w", err)
			}
		}
		at += len(entry) + 1
	}
	return nil
}

// transfer reads or writes memory of this process.
func transfer(call func(int, []unix.Iovec, []unix.RemoteIovec, uint) (int, error), local []byte, remote uintptr) error {
	if len(local) == 0 {
		return nil
	}
	iovec := unix.Iovec{Base: &local[0]}
	iovec.SetLen(len(local))
	n, err := call(os.Getpid(), []unix.Iovec{iovec}, []unix.RemoteIovec{{Base: remote, Len: len(local)}}, 0)
	if err == nil && n != len(local) {
		err = fmt.Errorf("%d of %d bytes", n, len(local))
	}
	return err
}

// environAt gives where it is in memory.
func environAt() (start, end uintptr, err error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, 0, err
	}
	// The second field is the program's name, in parentheses, with anything in it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	field := func(n int) uintptr {
		if n-3 >= len(fields) {
			return 0
		}
		v, _ := strconv.ParseUint(fields[n-3], 10, strconv.IntSize) // a bad one is 0, and refused below
		return uintptr(v)
	}
	start, end = field(fieldEnvStart), field(fieldEnvEnd)
	if start == 0 || end < start || end-start > maxEnviron {
		return 0, 0, errors.New("the system does not say where the environment is")
	}
	return start, end, nil
}
