package engine

import (
	"bytes"
	"os"
	"path"
	"strconv"
	"strings"
)

// oomCounter counts how often the kernel killed something in our cgroup for
// lack of memory. Where no cgroup can be read it counts nothing.
type oomCounter struct{ f *os.File }

// openOOMCounter finds memory.events (cgroup v2) or memory.oom_control (v1).
func openOOMCounter() *oomCounter {
	for _, name := range cgroupFiles("memory.events", "memory", "memory.oom_control") {
		if f, err := os.Open(name); err == nil {
			c := &oomCounter{f}
			if _, ok := c.read(); ok {
				return c
			}
			_ = f.Close()
		}
	}
	return &oomCounter{}
}

// cgroupFiles are the places where a file of our cgroup may be: name in cgroup
// v2, nameV1 of a controller in v1. Inside a container the cgroup's path is of the
// host, and the files are at the mount's root; outside they are below it.
func cgroupFiles(name, controller, nameV1 string) (files []string) {
	data, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		switch {
		case len(parts) != 3:
		case parts[1] == "":
			files = append(files, path.Join("/sys/fs/cgroup", parts[2], name), path.Join("/sys/fs/cgroup", name))
		case strings.Contains(","+parts[1]+",", ","+controller+","):
			files = append(files, path.Join("/sys/fs/cgroup", controller, parts[2], nameV1), path.Join("/sys/fs/cgroup", controller, nameV1))
		}
	}
	return files
}

// Memory is what is known of our cgroup's; what cannot be read, or is not bounded, is 0.
type Memory struct {
	// OOMKills counts what the kernel killed for lack of memory.
	OOMKills int64
	// Used and Limit are in bytes.
	Used, Limit int64
}

// Memory reads it.
func (e *Engine) Memory() Memory {
	if e.oom.f == nil {
		return Memory{}
	}
	dir := path.Dir(e.oom.f.Name())
	m := Memory{
		OOMKills: e.oom.count(),
		Used:     readNumber(dir, "memory.current", "memory.usage_in_bytes"),
		Limit:    readNumber(dir, "memory.max", "memory.limit_in_bytes"),
	}
	if m.Limit >= unboundedMemory {
		m.Limit = 0
	}
	return m
}

// unboundedMemory is what cgroup v1 has instead of no limit: the largest number of
// pages, which depends on their size.
const unboundedMemory = 1 << 62

// readNumber reads the first of some files that holds one; "max" is none.
func readNumber(dir string, names ...string) int64 {
	for _, name := range names {
		data, err := os.ReadFile(path.Join(dir, name))
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	return 0
}

func (c *oomCounter) close() {
	if c.f != nil {
		_ = c.f.Close()
	}
}

func (c *oomCounter) count() int64 {
	n, _ := c.read()
	return n
}

func (c *oomCounter) read() (int64, bool) {
	if c.f == nil {
		return 0, false
	}
	buf := make([]byte, 512)
	n, _ := c.f.ReadAt(buf, 0)
	return parseOOM(buf[:n])
}

func parseOOM(data []byte) (int64, bool) {
	for line := range bytes.Lines(data) {
		if f := bytes.Fields(line); len(f) == 2 && string(f[0]) == "oom_kill" {
			n, err := strconv.ParseInt(string(f[1]), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
