package engine

import (
	"bufio"
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
// Inside a container the cgroup's path is of the host, and the files are at the
// mount's root; outside they are below it.
func openOOMCounter() *oomCounter {
	data, _ := os.ReadFile("/proc/self/cgroup")
	var candidates []string
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		parts := strings.SplitN(sc.Text(), ":", 3)
		switch {
		case len(parts) != 3:
		case parts[1] == "":
			candidates = append(candidates,
				path.Join("/sys/fs/cgroup", parts[2], "memory.events"), "/sys/fs/cgroup/memory.events")
		case strings.Contains(","+parts[1]+",", ",memory,"):
			candidates = append(candidates,
				path.Join("/sys/fs/cgroup/memory", parts[2], "memory.oom_control"), "/sys/fs/cgroup/memory/memory.oom_control")
		}
	}
	for _, name := range candidates {
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

// Memory gives how often the kernel killed something for lack of memory, and
// how much is used now; 0 where that cannot be read.
func (e *Engine) Memory() (oomKills, usedBytes int64) {
	if e.oom.f == nil {
		return 0, 0
	}
	dir := path.Dir(e.oom.f.Name())
	for _, name := range []string{"memory.current", "memory.usage_in_bytes"} {
		if data, err := os.ReadFile(path.Join(dir, name)); err == nil {
			usedBytes, _ = strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
			break
		}
	}
	return e.oom.count(), usedBytes
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
