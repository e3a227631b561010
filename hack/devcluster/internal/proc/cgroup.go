package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Cgroup is one control group with a copy in every hierarchy of the machine.
// Everything that the cluster starts is born inside it, so its members are the
// cluster's processes and no others, also after a crash that lost every record.
type Cgroup struct {
	// Name is the group's path below each hierarchy's root.
	Name string
	// Root is where hierarchies are mounted; empty means /sys/fs/cgroup.
	Root string
}

// trackers are the version 1 controllers in whose hierarchy members are
// recorded, first choice first. Any would do; nearly every machine has these.
var trackers = []string{"pids", "freezer", "memory", "cpu"}

// unifiedControllers are the version 2 controllers that the kubelet needs in the
// group that it is given.
var unifiedControllers = []string{"cpu", "cpuset", "io", "memory", "pids", "hugetlb"}

func (c Cgroup) root() string {
	if c.Root == "" {
		return "/sys/fs/cgroup"
	}
	return c.Root
}

// Unified reports whether the machine has control groups of version 2 only.
func (c Cgroup) Unified() bool {
	_, err := os.Stat(filepath.Join(c.root(), "cgroup.controllers"))
	return err == nil
}

// hierarchies lists the folders in which the group has a copy.
func (c Cgroup) hierarchies() ([]string, error) {
	if c.Unified() {
		return []string{c.root()}, nil
	}
	entries, err := os.ReadDir(c.root())
	if err != nil {
		return nil, fmt.Errorf("listing control groups: %w", err)
	}
	var all []string
	for _, entry := range entries {
		dir := filepath.Join(c.root(), entry.Name())
		if entry.Type()&fs.ModeSymlink != 0 { // cpu -> cpu,cpuacct: the same hierarchy once more
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			all = append(all, dir)
		}
	}
	return all, nil
}

// tracker is the copy of the group in the hierarchy that records its members.
func (c Cgroup) tracker() (string, error) {
	if c.Unified() {
		return filepath.Join(c.root(), c.Name), nil
	}
	for _, controller := range trackers {
		dir := filepath.Join(c.root(), controller)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			return filepath.Join(dir, c.Name), nil
		}
	}
	return "", fmt.Errorf("none of the control groups %s is mounted in %s", strings.Join(trackers, ", "), c.root())
}

// Create makes the group in every hierarchy, and returns the file to which a
// process writes its number to join.
func (c Cgroup) Create() (procs string, err error) {
	hierarchies, err := c.hierarchies()
	if err != nil {
		return "", err
	}
	for _, dir := range hierarchies {
		if err := os.MkdirAll(filepath.Join(dir, c.Name), 0o755); err != nil {
			return "", fmt.Errorf("creating control group: %w", err)
		}
		if err := copyCPUSet(dir, filepath.Join(dir, c.Name)); err != nil {
			return "", err
		}
	}
	if c.Unified() {
		if err := c.delegate(); err != nil {
			return "", err
		}
	}
	tracker, err := c.tracker()
	if err != nil {
		return "", err
	}
	// In version 2 a group with controllers for its children may hold no process
	// itself, so the cluster's own programs get a group beside the pods'.
	system := filepath.Join(tracker, "system")
	if err := os.MkdirAll(system, 0o755); err != nil {
		return "", fmt.Errorf("creating control group: %w", err)
	}
	return filepath.Join(system, "cgroup.procs"), nil
}

// copyCPUSet gives a new version 1 cpuset the processors and memory of its
// parent: it begins with none, and then no process may join.
func copyCPUSet(parent, child string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading cpuset: %w", err)
		}
		if err := os.WriteFile(filepath.Join(child, file), value, 0o644); err != nil { //nolint:gosec // below our own cgroup
			return fmt.Errorf("writing cpuset: %w", err)
		}
	}
	return nil
}

// delegate turns on, in version 2, the controllers that the kubelet needs.
func (c Cgroup) delegate() error {
	available, err := os.ReadFile(filepath.Join(c.root(), "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("reading control group controllers: %w", err)
	}
	names := strings.Fields(string(available))
	for _, dir := range []string{c.root(), filepath.Join(c.root(), c.Name)} {
		for _, controller := range unifiedControllers {
			if !slices.Contains(names, controller) {
				continue
			}
			file := filepath.Join(dir, "cgroup.subtree_control")
			if err := os.WriteFile(file, []byte("+"+controller), 0o644); err != nil {
				return fmt.Errorf("turning on the %s controller in %s: %w", controller, dir, err)
			}
		}
	}
	return nil
}

// Members lists the processes in the group and the groups below it.
func (c Cgroup) Members() ([]int, error) {
	tracker, err := c.tracker()
	if err != nil {
		return nil, err
	}
	var pids []int
	err = filepath.WalkDir(tracker, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the group, or one that went away while it was walked
		}
		if err != nil || entry.Name() != "cgroup.procs" {
			return err
		}
		content, err := os.ReadFile(path) //nolint:gosec // the cgroup file system has no links
		if err != nil {
			return nil //nolint:nilerr // gone since it was listed, with its processes
		}
		for _, field := range strings.Fields(string(content)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return fmt.Errorf("reading %s: %w", path, err)
			}
			if pid > 0 { // 0 stands for a process outside of this PID namespace
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}

// Kill ends every process of the group and removes the group. Processes that
// are being started while it works are found in the next round.
func (c Cgroup) Kill(ctx context.Context) error {
	err := Poll(ctx, 20*time.Millisecond, func() (bool, error) {
		pids, err := c.Members()
		if err != nil {
			return false, err
		}
		running := 0
		for _, pid := range pids {
			id, err := Of(pid)
			if err != nil || !id.Alive() {
				continue
			}
			running++
			if err := id.Signal(syscall.SIGKILL); err != nil {
				return false, err
			}
		}
		return running == 0, nil
	})
	if err != nil {
		return fmt.Errorf("killing the processes of control group %s: %w", c.Name, err)
	}
	if err := Poll(ctx, 20*time.Millisecond, c.remove); err != nil {
		return fmt.Errorf("removing control group %s: %w", c.Name, err)
	}
	return nil
}

// remove removes the group's folders, the deepest first, and reports whether
// none is left: the kernel refuses while a dying process is still counted.
func (c Cgroup) remove() (bool, error) {
	hierarchies, err := c.hierarchies()
	if err != nil {
		return false, err
	}
	left := 0
	for _, hierarchy := range hierarchies {
		var dirs []string
		_ = filepath.WalkDir(filepath.Join(hierarchy, c.Name), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				left++
			}
		}
	}
	return left == 0, nil
}
