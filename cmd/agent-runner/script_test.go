package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	testscript.Main(leakFree{m}, map[string]func(){"agent-runner": main})
}

// leakFree is the tests of this package, and a look for goroutines after them.
type leakFree struct{ *testing.M }

// Run implements testscript.TestingM.
func (m leakFree) Run() int {
	code := m.M.Run()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// patience is how long a test waits for what should take no time, on a machine
// that runs all other tests beside it.
const patience = time.Minute

// noSleep keeps the race detector from letting every process sleep for a second
// at its end.
const noSleep = "atexit_sleep_ms=0"

// TestScripts runs the real binary as a user would. A script finds a registry
// and a task in its folder; it brings the model's script.yaml itself, and
// replaces the others where it needs more.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            time.Now().Add(3 * patience), // they run beside all other tests
		Setup: func(env *testscript.Env) error {
			env.Setenv("TMPDIR", env.WorkDir)
			env.Setenv("GORACE", noSleep)
			for _, name := range []string{"registry.yaml", "task.yaml"} {
				to := filepath.Join(env.WorkDir, name)
				if _, err := os.Stat(to); err == nil {
					continue
				}
				data, err := os.ReadFile(filepath.Join("testdata", name))
				if err != nil {
					return err
				}
				if err := os.WriteFile(to, data, 0o644); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "await": await, "gone": gone, "subst": subst, "tamper": tamper, "signal": signalTo,
		},
	})
}

// exits CODE PROGRAM ARG… runs a program and checks its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// await FILE REGEXP waits until a file matches.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE REGEXP")
	}
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	path := ts.MkAbs(args[0])
	if !poll(patience, func() bool { data, err := os.ReadFile(path); return err == nil && re.Match(data) }) {
		data, _ := os.ReadFile(path)
		ts.Fatalf("%s never matched %s; it is:\n%s", args[0], args[1], data)
	}
}

// signalTo TERM|INT WORD sends a signal to the background programs with a word
// in their arguments.
func signalTo(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}
	if neg || len(args) != 2 || signals[args[0]] == nil {
		ts.Fatalf("usage: signal TERM|INT|KILL WORD")
	}
	sent := 0
	for _, c := range ts.BackgroundCmds() {
		if slices.Contains(c.Args, args[1]) {
			ts.Check(c.Process.Signal(signals[args[0]]))
			sent++
		}
	}
	if sent != 1 {
		ts.Fatalf("%d background programs have the argument %s, want 1", sent, args[1])
	}
}

// gone WORD waits until no process has the word in its command line.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone WORD")
	}
	if !poll(patience, func() bool { return len(processesWith(args[0])) == 0 }) {
		ts.Fatalf("processes %v are left", processesWith(args[0]))
	}
}

// subst FILE WORD LOG REGEXP puts what REGEXP's group finds in LOG in the place
// of WORD in FILE.
func subst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: subst FILE WORD LOG REGEXP")
	}
	found := regexp.MustCompile(args[3]).FindStringSubmatch(ts.ReadFile(args[2]))
	if len(found) != 2 {
		ts.Fatalf("%s does not match %s", args[2], args[3])
	}
	text := strings.ReplaceAll(ts.ReadFile(args[0]), args[1], found[1])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// tamper FILE OLD NEW changes one place in a file.
func tamper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: tamper FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o644))
}

// poll waits until something holds, and says whether it came to that.
func poll(d time.Duration, holds func() bool) bool {
	deadline := time.Now().Add(d)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			return false
		}
		<-tick.C
	}
	return true
}

// processesWith lists the living processes with a word in their command line
// or environment.
func processesWith(word string) []string {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	var found []string
	for _, dir := range entries {
		for _, file := range []string{"cmdline", "environ"} {
			data, err := os.ReadFile(filepath.Join(dir, file))
			if err == nil && strings.Contains(string(data), word) {
				found = append(found, filepath.Base(dir)+": "+strings.ReplaceAll(string(data[:min(len(data), 200)]), "\x00", " "))
				break
			}
		}
	}
	return found
}
