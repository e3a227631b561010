// Package conformance holds what every tool.Executor must do. The engine in
// process and the client with a server run the same tests, so that a tool
// cannot tell them apart.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// Subject is an executor under test.
type Subject struct {
	tool.Executor
	// Workspace is its folder, as this machine sees it.
	Workspace string
	// Endpoint is what EndpointCases ask.
	Endpoint Endpoint
}

// T is what a case needs of who runs it; a testing.T has it all.
type T interface {
	Helper()
	// Context ends with the case.
	Context() context.Context
	TempDir() string
	Cleanup(f func())
	Run(name string, f func(T)) bool
	Log(args ...any)
	Error(args ...any)
	Errorf(format string, args ...any)
	// Fatal, Fatalf and Skipf end the goroutine of the case.
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Case is a part of the suite. It needs a Subject with an empty workspace.
type Case struct {
	Name string
	Test func(T, Subject)
}

// Cases are the suite, in the order of names.
func Cases() []Case {
	var cases []Case
	for name, test := range map[string]func(T, Subject){
		"exec/results":        testExecResults,
		"exec/streams":        testExecStreams,
		"exec/environment":    testExecEnvironment,
		"exec/stdin":          testExecStdin,
		"exec/invalid":        testExecInvalid,
		"exec/timeout":        testExecTimeout,
		"exec/cancel":         testExecCancel,
		"exec/leftovers":      testExecLeftovers,
		"exec/births":         testExecBirths,
		"exec/stop all":       testStopAll,
		"exec/escapees":       testExecEscapees,
		"exec/pipe holder":    testExecPipeHolder,
		"exec/concurrent":     testExecConcurrent,
		"exec/nobody's":       testExecNobodys,
		"exec/long output":    testExecLongOutput,
		"exec/terminal":       testExecTerminal,
		"exec/output file":    testExecOutputFile,
		"exec/utf-8 cut":      testExecUTF8Cut,
		"files/round trip":    testRoundTrip,
		"files/modes":         testModes,
		"files/keeps":         testKeeps,
		"files/read-only":     testRefusesReadOnly,
		"files/closed folder": testClosedFolder,
		"files/absolute link": testAbsoluteLinks,
		"files/preconditions": testPreconditions,
		"files/refused paths": testRefusedPaths,
		"files/symlinks":      testSymlinks,
		"files/special":       testSpecialFiles,
		"files/names":         testOddNames,
		"files/shown names":   testShownNames,
		"files/swap race":     testSwapRace,
		"files/giant":         testGiantFiles,
		"files/many":          testManyFiles,
		"files/remove":        testRemove,
		"tools":               testTools,
		"lines":               testLines,
		"grep":                testGrep,
		"grep/skips":          testGrepSkips,
		"glob":                testGlob,
		"ignored":             testIgnored,
	} {
		cases = append(cases, Case{name, test})
	}
	slices.SortFunc(cases, func(a, b Case) int { return strings.Compare(a.Name, b.Name) })
	return cases
}

// Exec runs a shell command and fails the test if it could not be run.
func (s Subject) shell(t T, command string, change ...func(*tool.ExecRequest)) *tool.ExecResult {
	t.Helper()
	req := tool.ExecRequest{Shell: command, TimeoutSeconds: 60}
	for _, f := range change {
		f(&req)
	}
	res, err := s.Exec(t.Context(), req)
	if err != nil {
		t.Fatalf("Exec(%q): %v", command, err)
	}
	return res
}

func (s Subject) write(t T, name, content string) *tool.FileInfo {
	t.Helper()
	info, err := s.WriteFile(t.Context(), name, []byte(content), tool.WriteOptions{})
	if err != nil {
		t.Fatalf("WriteFile(%q): %v", name, err)
	}
	return info
}

func (s Subject) onDisk(name string) string { return filepath.Join(s.Workspace, name) }

func wantErr(t T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want one that wraps %q", what, err, want)
	}
}

func exitCode(res *tool.ExecResult) string {
	if res.ExitCode == nil {
		return "none"
	}
	return fmt.Sprint(*res.ExitCode)
}

// hang is what no request lasts unless it hangs, on a machine that runs all other
// tests beside it.
const hang = time.Minute

// eventually polls until f is true; it fails the test after a while.
func eventually(t T, what string, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", hang, what)
		case <-tick.C:
		}
	}
}

// alive lists the processes whose command line holds a mark.
func alive(t T, mark string) []string {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, n := range names {
		data, err := os.ReadFile(n)
		if err == nil && strings.Contains(string(data), mark) {
			out = append(out, filepath.Base(filepath.Dir(n))+" "+strings.ReplaceAll(string(data), "\x00", " "))
		}
	}
	return out
}

// wantNoneLeft is for what was cancelled: that is waited for only so long, and dies after it.
func wantNoneLeft(t T, mark string) {
	t.Helper()
	eventually(t, "no process of a cancelled command", func() bool { return len(alive(t, mark)) == 0 })
}

func wantNoneAlive(t T, mark string) {
	t.Helper()
	if left := alive(t, mark); len(left) > 0 {
		t.Errorf("still running: %v", left)
	}
}

// mark gives a sleep duration that names a test's processes.
func mark(t T) string {
	t.Helper()
	return fmt.Sprintf("9%d.%d", os.Getpid(), time.Now().UnixNano())
}

func needs(t T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("there is no %s here", program)
	}
}
