package proc

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// statLine is the content of /proc/PID/stat for a program of this name.
func statLine(name, state string, start int) string {
	between := strings.Repeat(" 0", 22-3-1)
	return "42 (" + name + ") " + state + between + " " + strconv.Itoa(start) + " 0 0\n"
}

func TestAlive(t *testing.T) {
	id := Identity{PID: 42, Start: 1000}
	for name, tc := range map[string]struct {
		stat string
		want bool
	}{
		"the same process":                {statLine("etcd", "S", 1000), true},
		"its number was given to another": {statLine("etcd", "S", 1001), false},
		"a zombie":                        {statLine("etcd", "Z", 1000), false},
		"a name with spaces and brackets": {statLine("a) Z (b", "R", 1000), true},
		"no such process":                 {"", false},
		"a line cut short":                {"42 (etcd) S 1 2", false},
		"no name":                         {"42", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tc.stat != "" {
				if err := os.MkdirAll(filepath.Join(dir, "42"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "42", "stat"), []byte(tc.stat), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := id.aliveIn(dir); got != tc.want {
				t.Errorf("alive = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestZeroIdentityIsNotAlive(t *testing.T) {
	if (Identity{}).Alive() {
		t.Error("an identity that was never recorded is alive")
	}
}

func TestSignal(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}

	reused := Identity{PID: id.PID, Start: id.Start - 1}
	if err := reused.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !id.Alive() {
		t.Fatal("a process was killed that only has the number of the one that was meant")
	}

	if err := id.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the process ended by itself")
	}
	if id.Alive() {
		t.Error("the process is alive after it was killed")
	}
	if err := id.Signal(syscall.SIGKILL); err != nil {
		t.Errorf("signalling a process that has ended: %v", err)
	}
}
