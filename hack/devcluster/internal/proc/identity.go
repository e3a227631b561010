// Package proc starts the cluster's processes, recognises them later, and ends
// them. It never acts on a process number alone: numbers are reused.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Identity names one process for as long as the machine runs. The kernel may
// give the same number to another process, but not with the same start time.
type Identity struct {
	// PID is the process's number.
	PID int `json:"pid"`
	// Start is when it began, in clock ticks since boot: field 22 of
	// /proc/PID/stat, see proc_pid_stat(5).
	Start uint64 `json:"start"`
}

// Of returns the identity of the process that has this number now.
func Of(pid int) (Identity, error) {
	stat, err := readStat("/proc", pid)
	if err != nil {
		return Identity{}, err
	}
	return Identity{PID: pid, Start: stat.start}, nil
}

// Alive reports whether this very process still runs. A process that ended but
// that nobody has waited for (a zombie) does not run.
func (id Identity) Alive() bool {
	return id.aliveIn("/proc")
}

func (id Identity) aliveIn(procDir string) bool {
	if id.PID <= 0 {
		return false
	}
	stat, err := readStat(procDir, id.PID)
	return err == nil && stat.start == id.Start && stat.state != 'Z' && stat.state != 'X'
}

// Signal sends a signal to this very process, and does nothing where it has
// ended. A pidfd closes the gap between the check and the signal: once open it
// refers to one process, whatever becomes of the number.
func (id Identity) Signal(signal syscall.Signal) error {
	process, err := os.FindProcess(id.PID)
	if err != nil {
		return nil //nolint:nilerr // no such process: nothing to do
	}
	defer func() { _ = process.Release() }()
	if !id.Alive() {
		return nil
	}
	if err := process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signalling process %d: %w", id.PID, err)
	}
	return nil
}

// stat is the part of /proc/PID/stat that tells whether a process is the one
// that was meant.
type stat struct {
	state byte
	start uint64
}

func readStat(procDir string, pid int) (stat, error) {
	content, err := os.ReadFile(filepath.Join(procDir, strconv.Itoa(pid), "stat"))
	if errors.Is(err, fs.ErrNotExist) {
		return stat{}, fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	if err != nil {
		return stat{}, err
	}
	return parseStat(content)
}

// parseStat reads the text of /proc/PID/stat. The second field is the program's
// name in parentheses, which may itself hold spaces and parentheses, so fields
// are counted from the last closing one.
func parseStat(content []byte) (stat, error) {
	end := bytes.LastIndexByte(content, ')')
	if end < 0 {
		return stat{}, fmt.Errorf("no program name in process status %q", content)
	}
	const stateField, startField = 3, 22
	fields := bytes.Fields(content[end+1:])
	if len(fields) <= startField-stateField {
		return stat{}, fmt.Errorf("process status %q is too short", content)
	}
	start, err := strconv.ParseUint(string(fields[startField-stateField]), 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("start time in process status: %w", err)
	}
	return stat{state: fields[0][0], start: start}, nil
}
