package engine

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestReapsNobodyElses: a command's own zombie is left for its Wait, so that
// its exit status is not lost.
func TestReapsNobodyElses(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "exit 7")
	cmd.SysProcAttr = newSession()
	c, err := processes.start(cmd, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer processes.forget(c)
	buf := make([]byte, 1024)
	for deadline := time.Now().Add(5 * time.Second); ; {
		if p, ok := readProcess(c.pid, buf); ok && p.zombie {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it has not ended")
		}
	}
	processes.reapZombies()
	if _, err := processes.sweep(c); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("Wait gave %v, %v", err, cmd.ProcessState)
	}
}

func TestParseStat(t *testing.T) {
	const tail = " S 10 20 30 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 2 3\n"
	for name, stat := range map[string]string{
		"plain":       "5 (sh)" + tail,
		"spaces":      "5 (a b c)" + tail,
		"parentheses": "5 (a) S 1 1 1)" + tail,
	} {
		got, ok := parseStat(5, []byte(stat))
		if want := (process{pid: 5, ppid: 10, session: 30, threads: 1, start: 4711}); !ok || got != want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, ok, want)
		}
	}
	if p, ok := parseStat(5, []byte("5 (x) Z 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9 0\n")); !ok || !p.zombie {
		t.Errorf("a zombie: %+v, %v", p, ok)
	}
	if p, ok := parseStat(5, []byte("5 (x) Z 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 2 0 9 0\n")); !ok || p.zombie {
		t.Errorf("one whose first thread has ended: %+v, %v", p, ok)
	}
	for _, bad := range []string{"", "5", "5 (x", "5 (x) S", "5 (x) S a b c d e f g h i j k l m n o p q r s t"} {
		if p, ok := parseStat(5, []byte(bad)); ok {
			t.Errorf("%q gave %+v", bad, p)
		}
	}
	table, err := processTable()
	if err != nil || table[os.Getpid()].ppid != os.Getppid() {
		t.Errorf("our own line is %+v, %v", table[os.Getpid()], err)
	}
}
