package conformance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

func testExecResults(t T, s Subject) {
	for name, tc := range map[string]struct{ command, stdout, stderr, code, signal string }{
		"success":       {command: "echo hi", stdout: "hi\n", code: "0"},
		"failure":       {command: "echo no >&2; exit 3", stderr: "no\n", code: "3"},
		"killed itself": {command: "kill -9 $$", code: "none", signal: "SIGKILL"},
		"terminated":    {command: "kill -TERM $$", code: "none", signal: "SIGTERM"},
		"child killed":  {command: "{ sh -c 'kill -9 $$'; } 2>/dev/null; exit $?", code: "137"},
		"not found":     {command: "no-such-program-here 2>/dev/null", code: "127"},
		"255":           {command: "exit 255", code: "255"},
		"binary output": {command: `printf '\000\377\001'`, stdout: "\x00\xff\x01", code: "0"},
	} {
		t.Run(name, func(t T) {
			res := s.shell(t, tc.command)
			if got := exitCode(res); got != tc.code || res.Signal != tc.signal {
				t.Errorf("exit code %s, signal %q, want %s, %q", got, res.Signal, tc.code, tc.signal)
			}
			if string(res.Stdout) != tc.stdout || string(res.Stderr) != tc.stderr {
				t.Errorf("stdout %q, stderr %q, want %q, %q", res.Stdout, res.Stderr, tc.stdout, tc.stderr)
			}
			if res.TimedOut || res.OOMKilled || res.LeftoverKilled != 0 || res.FullOutputPath != "" || res.Duration <= 0 {
				t.Errorf("unexpected: %+v", res)
			}
		})
	}
	res, err := s.Exec(t.Context(), tool.ExecRequest{Argv: []string{"printf", "%s", "a b"}})
	if err != nil || string(res.Stdout) != "a b" {
		t.Errorf("argv: %+v, %v", res, err)
	}
}

func testExecStreams(t T, s Subject) {
	res := s.shell(t, "echo 1; echo 2 >&2; echo 3; echo 4 >&2", func(r *tool.ExecRequest) { r.MergeStderr = true })
	if got := string(res.Stdout); got != "1\n2\n3\n4\n" || len(res.Stderr) != 0 {
		t.Errorf("merged: stdout %q, stderr %q", got, res.Stderr)
	}
}

func testExecEnvironment(t T, s Subject) {
	if err := os.Mkdir(s.onDisk("sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	workspace, err := filepath.EvalSymlinks(s.Workspace)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ command, cwd, want string }{
		"workspace":     {command: "pwd -P", want: workspace},
		"cwd":           {command: "pwd -P; echo $PWD", cwd: "sub", want: workspace + "/sub\n" + workspace + "/sub"},
		"absolute cwd":  {command: "pwd -P", cwd: workspace + "/sub", want: workspace + "/sub"},
		"given":         {command: "echo $GIVEN", want: "a b"},
		"no terminal":   {command: "test -t 0 || test -t 1 || test -t 2 || echo none", want: "none"},
		"no pager":      {command: "echo $PAGER $GIT_PAGER $TERM", want: "cat cat dumb"},
		"overridden":    {command: "echo $NO_COLOR", want: "0"},
		"own session":   {command: `test "$(cut -d' ' -f6 /proc/$$/stat)" = $$ && echo leader`, want: "leader"},
		"nothing open":  {command: "ls /proc/$$/fd | tr '\\n' ' '", want: "0 1 2"},
		"stdin is over": {command: "cat; echo done", want: "done"},
	} {
		t.Run(name, func(t T) {
			res := s.shell(t, tc.command, func(r *tool.ExecRequest) {
				r.Cwd, r.Env = tc.cwd, map[string]string{"GIVEN": "a b", "NO_COLOR": "0"}
			})
			if got := strings.TrimSpace(string(res.Stdout)); !strings.HasPrefix(got, tc.want) {
				t.Errorf("%s gave %q (%s), want %q", tc.command, got, res.Stderr, tc.want)
			}
		})
	}
}

func testExecStdin(t T, s Subject) {
	big := []byte(strings.Repeat("0123456789abcdef", 1<<14))
	res := s.shell(t, "cat", func(r *tool.ExecRequest) { r.Stdin, r.MaxOutputBytes = big, int64(len(big)) })
	if string(res.Stdout) != string(big) {
		t.Errorf("stdin came back as %d bytes, want %d", len(res.Stdout), len(big))
	}
	if res := s.shell(t, "exec <&-; echo fine", func(r *tool.ExecRequest) { r.Stdin = big }); string(res.Stdout) != "fine\n" {
		t.Errorf("a command that does not read its stdin gave %q", res.Stdout)
	}
}

func testExecInvalid(t T, s Subject) {
	s.write(t, "file", "x")
	for name, tc := range map[string]struct {
		req  tool.ExecRequest
		want error
	}{
		"nothing":          {tool.ExecRequest{}, tool.ErrInvalid},
		"both":             {tool.ExecRequest{Argv: []string{"a"}, Shell: "b"}, tool.ErrInvalid},
		"nul":              {tool.ExecRequest{Shell: "echo \x00"}, tool.ErrInvalid},
		"huge":             {tool.ExecRequest{Shell: strings.Repeat("x", 1<<18)}, tool.ErrInvalid},
		"bad variable":     {tool.ExecRequest{Shell: "true", Env: map[string]string{"A=B": "c"}}, tool.ErrInvalid},
		"negative timeout": {tool.ExecRequest{Shell: "true", TimeoutSeconds: -1}, tool.ErrInvalid},
		"cwd outside":      {tool.ExecRequest{Shell: "true", Cwd: "../.."}, tool.ErrOutsideWorkspace},
		"cwd missing":      {tool.ExecRequest{Shell: "true", Cwd: "missing"}, tool.ErrNotFound},
		"cwd is a file":    {tool.ExecRequest{Shell: "true", Cwd: "file"}, tool.ErrInvalid},
		"no program":       {tool.ExecRequest{Argv: []string{"no-such-program-here"}}, tool.ErrNotFound},
		"not executable":   {tool.ExecRequest{Argv: []string{"./file"}}, tool.ErrPermission},
	} {
		t.Run(name, func(t T) {
			_, err := s.Exec(t.Context(), tc.req)
			wantErr(t, "Exec", err, tc.want)
		})
	}
	if _, err := s.Exec(t.Context(), tool.ExecRequest{Shell: "true", TimeoutSeconds: math.Inf(1)}); err == nil {
		t.Log("an infinite timeout is capped here")
	}
}

func testExecTimeout(t T, s Subject) {
	m := mark(t)
	for name, command := range map[string]string{
		"plain":           "echo before; sleep " + m,
		"ignores SIGTERM": "trap '' TERM; echo before; sleep " + m + "; sleep " + m,
		"child ignores":   "echo before; (trap '' TERM; sleep " + m + "; sleep " + m + ") & wait",
		"setsid":          "echo before; setsid sleep " + m + "; sleep " + m,
		"busy":            "echo before; while :; do :; done; : " + m,
	} {
		t.Run(name, func(t T) {
			began := time.Now()
			res := s.shell(t, command, func(r *tool.ExecRequest) { r.TimeoutSeconds = 0.3 })
			if took := time.Since(began); took > hang {
				t.Errorf("took %v", took)
			}
			if !res.TimedOut || string(res.Stdout) != "before\n" {
				t.Errorf("timed out: %v, stdout %q; want true and the partial output", res.TimedOut, res.Stdout)
			}
			wantNoneAlive(t, m)
		})
	}
	res := s.shell(t, "trap 'echo bye; exit 7' TERM; sleep "+m+" & wait", func(r *tool.ExecRequest) { r.TimeoutSeconds = 0.3 })
	if !res.TimedOut || string(res.Stdout) != "bye\n" || exitCode(res) != "7" {
		t.Errorf("a command that puts things in order on SIGTERM: %+v %q", res, res.Stdout)
	}
}

func testExecCancel(t T, s Subject) {
	m := mark(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := s.Exec(ctx, tool.ExecRequest{Shell: "trap '' TERM; setsid sleep " + m + " & (setsid sleep " + m + " &); sleep " + m})
		done <- err
	}()
	eventually(t, "three sleeps", func() bool { return len(alive(t, m)) >= 3 })
	began := time.Now()
	cancel()
	wantErr(t, "Exec", <-done, context.Canceled)
	if took := time.Since(began); took > hang {
		t.Errorf("cancelling took %v", took)
	}
	wantNoneLeft(t, m)

	_, err := s.Exec(ctx, tool.ExecRequest{Shell: "true"})
	wantErr(t, "Exec with a context that has ended", err, context.Canceled)

	testExecCancelIsConfirmed(t, s)

	late, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = s.Exec(late, tool.ExecRequest{Shell: "sleep " + m})
	wantErr(t, "Exec beyond ctx's deadline", err, context.DeadlineExceeded)
	wantNoneLeft(t, m)
}

// testExecCancelIsConfirmed: what was cancelled is dead when Exec returns, not
// some time later.
func testExecCancelIsConfirmed(t T, s Subject) {
	for i := range 20 {
		name := fmt.Sprintf("pid%d", i)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := s.Exec(ctx, tool.ExecRequest{Shell: "echo $$ > " + name + ".tmp; mv " + name + ".tmp " + name + "; exec sleep 1000"})
			done <- err
		}()
		var pid []byte
		eventually(t, "the command's pid", func() bool {
			pid, _ = os.ReadFile(s.onDisk(name))
			return len(pid) > 0
		})
		cancel()
		err := <-done
		if _, statErr := os.Stat("/proc/" + strings.TrimSpace(string(pid))); statErr == nil {
			t.Fatalf("round %d: Exec returned %v while the command was still there", i, err)
		}
	}
}

// testExecNobodys: a process that nothing ties to its command any more lives as
// long as the last command that may be its own, and no longer.
func testExecNobodys(t T, s Subject) {
	m := mark(t)
	first, second := make(chan error, 1), make(chan error, 1)
	run := func(done chan<- error, command string) {
		_, err := s.Exec(t.Context(), tool.ExecRequest{Shell: command, TimeoutSeconds: 30})
		done <- err
	}
	const until = "until test -e %s; do sleep 0.01; done; "
	go run(first, fmt.Sprintf(until, "both")+"(setsid env -i /bin/sh -c '(sleep "+m+" &)' </dev/null >/dev/null 2>&1 &); "+fmt.Sprintf(until, "end-first"))
	go run(second, "touch both; "+fmt.Sprintf(until, "end-second"))
	// Its own command line holds the mark, too, and so does the first command's.
	sleeps := func() (n int) {
		for _, p := range alive(t, m) {
			if _, args, _ := strings.Cut(p, " "); strings.HasPrefix(args, "sleep ") {
				n++
			}
		}
		return n
	}
	eventually(t, "the process", func() bool { return sleeps() == 1 })
	s.write(t, "end-second", "")
	must(t, <-second)
	if sleeps() != 1 {
		t.Error("the end of another command killed it")
	}
	s.write(t, "end-first", "")
	must(t, <-first)
	wantNoneAlive(t, m)
}

func testExecLeftovers(t T, s Subject) {
	m := mark(t)
	began := time.Now()
	res := s.shell(t, "sleep "+m+" >/dev/null 2>&1 & echo started")
	if string(res.Stdout) != "started\n" || exitCode(res) != "0" || res.LeftoverKilled != 1 {
		t.Errorf("stdout %q, exit code %s, %d killed; want started, 0, 1", res.Stdout, exitCode(res), res.LeftoverKilled)
	}
	if took := time.Since(began); took > hang {
		t.Errorf("took %v", took)
	}
	wantNoneAlive(t, m)

	res = s.shell(t, `echo a > >(sleep 0.05; cat)`)
	if s := string(res.Stdout); s != "a\n" && s != "" || res.TimedOut {
		t.Errorf("process substitution gave %q", s)
	}
}

// testExecEscapees: what has left its session, lost its parents and thrown its
// environment away must end with the command all the same.
func testExecEscapees(t T, s Subject) {
	m := mark(t)
	for name, command := range map[string]string{
		"setsid":            "setsid sleep " + m + " >/dev/null 2>&1 &",
		"double fork":       "(sleep " + m + " >/dev/null 2>&1 &)",
		"setsid and double": "(setsid sh -c 'sleep " + m + " & sleep " + m + "' >/dev/null 2>&1 &)",
		"nohup":             "nohup sleep " + m + " >/dev/null 2>&1 &",
		"no environment":    "(setsid env -i /bin/sh -c '(sleep " + m + " &)' >/dev/null 2>&1 </dev/null &)",
		"deep":              "for i in 1 2 3 4 5; do (setsid sh -c '(setsid sleep " + m + " &) ; sleep " + m + "' >/dev/null 2>&1 &); done",
	} {
		t.Run(name, func(t T) {
			needs(t, "setsid")
			res := s.shell(t, command+"\nsleep 0.05; echo over")
			if string(res.Stdout) != "over\n" || exitCode(res) != "0" {
				t.Errorf("gave %q, %s", res.Stdout, exitCode(res))
			}
			if res.LeftoverKilled == 0 {
				t.Error("the result does not tell that something was killed")
			}
			wantNoneAlive(t, m)
		})
	}
}

// testStopAll: nothing is left of any command, whatever it hid, and each says that
// it was killed.
func testStopAll(t T, s Subject) {
	needs(t, "setsid")
	m := mark(t)
	const commands = 3
	ended := make(chan error, commands)
	for range commands {
		go func() {
			_, err := s.Exec(t.Context(), tool.ExecRequest{
				Shell: "(setsid env -i /bin/sh -c '(sleep " + m + " &)' >/dev/null 2>&1 </dev/null &); sleep " + m})
			ended <- err
		}()
	}
	eventually(t, "a hidden process of each command, and one in sight", func() bool {
		sleeping := slices.DeleteFunc(alive(t, m), func(p string) bool { return !strings.Contains(p, " sleep "+m) || strings.Contains(p, " -c ") })
		return len(sleeping) == 2*commands
	})
	if err := s.StopAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantNoneAlive(t, m)
	for range commands {
		if err := <-ended; !errors.Is(err, tool.ErrKilled) {
			t.Errorf("a command ended with %v, want ErrKilled", err)
		}
	}
	if err := s.StopAll(t.Context()); err != nil {
		t.Errorf("with nothing to stop: %v", err)
	}
	if res := s.shell(t, "echo on"); string(res.Stdout) != "on\n" {
		t.Errorf("a command after it gave %q", res.Stdout)
	}
}

func testExecPipeHolder(t T, s Subject) {
	m := mark(t)
	for name, command := range map[string]string{
		"child":  "sleep " + m + " & echo over",
		"setsid": "setsid sleep " + m + " & echo over",
		"writer": "(while :; do echo x; sleep 0.01; done; : " + m + ") & echo over",
	} {
		t.Run(name, func(t T) {
			began := time.Now()
			res := s.shell(t, command)
			if took := time.Since(began); took > hang {
				t.Errorf("took %v", took)
			}
			if !strings.Contains(string(res.Stdout), "over\n") || exitCode(res) != "0" || res.LeftoverKilled == 0 {
				t.Errorf("stdout %q, exit code %s, %d killed", res.Stdout, exitCode(res), res.LeftoverKilled)
			}
			wantNoneAlive(t, m)
		})
	}
}

// testExecConcurrent: one command's end must not touch another's processes.
func testExecConcurrent(t T, s Subject) {
	m := mark(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	long := make(chan error, 1)
	go func() {
		_, err := s.Exec(ctx, tool.ExecRequest{Shell: "(setsid sleep " + m + " &) ; sleep " + m})
		long <- err
	}()
	eventually(t, "two sleeps", func() bool { return len(alive(t, m)) >= 2 })
	var wg sync.WaitGroup
	short := mark(t)
	for i := range 16 {
		wg.Go(func() {
			command := "exit 5"
			if i%2 == 0 {
				command = "(setsid sleep " + short + " >/dev/null 2>&1 &); exit 5"
			}
			res, err := s.Exec(t.Context(), tool.ExecRequest{Shell: command})
			if err != nil || exitCode(res) != "5" {
				t.Errorf("beside a long command: %+v, %v", res, err)
			}
		})
	}
	wg.Wait()
	wantNoneAlive(t, short)
	if n := len(alive(t, m)); n < 2 {
		t.Errorf("%d processes of the long command are left, want 2: another command's end killed them", n)
	}
	cancel()
	wantErr(t, "Exec", <-long, context.Canceled)
	wantNoneLeft(t, m)
}

func testExecLongOutput(t T, s Subject) {
	res := s.shell(t, "seq 1 100000", func(r *tool.ExecRequest) { r.MaxOutputBytes = 1000 })
	whole := int64(588895) // seq 1 100000 | wc -c
	if len(res.Stdout) > 1000 || int64(len(res.Stdout))+res.OmittedStdoutBytes != whole {
		t.Fatalf("%d bytes kept, %d omitted, want %d together", len(res.Stdout), res.OmittedStdoutBytes, whole)
	}
	head, tail := string(res.Stdout[:res.StdoutCut]), string(res.Stdout[res.StdoutCut:])
	if !strings.HasPrefix(head, "1\n2\n3\n") || !strings.HasSuffix(tail, "99999\n100000\n") || len(head) < 400 || len(tail) < 400 {
		t.Errorf("head %q, tail %q", head, tail)
	}
	f, err := s.ReadFile(t.Context(), res.FullOutputPath, 1<<20)
	if err != nil || f.Size != whole || !strings.HasSuffix(string(f.Data), "\n99999\n100000\n") {
		t.Errorf("the whole output in %q: %v", res.FullOutputPath, err)
	}
	if git := s.shell(t, "git init -q . && git status --porcelain"); len(git.Stdout) != 0 && exitCode(git) == "0" {
		t.Errorf("git sees the kept output: %s", git.Stdout)
	}

	res = s.shell(t, "seq 1 3000; seq 1 100 >&2", func(r *tool.ExecRequest) { r.MaxOutputBytes = 1000 })
	if len(res.Stderr) != 292 || res.OmittedStderrBytes != 0 || len(res.Stdout) > 708 || len(res.Stdout) < 700 {
		t.Errorf("a short stderr beside a long stdout: %d and %d bytes kept", len(res.Stderr), len(res.Stdout))
	}
	res = s.shell(t, "seq 1 100", func(r *tool.ExecRequest) { r.MaxOutputBytes = 292 })
	if len(res.Stdout) != 292 || res.OmittedStdoutBytes != 0 || res.FullOutputPath != "" {
		t.Errorf("output of exactly the limit: %d bytes, %d omitted, %q", len(res.Stdout), res.OmittedStdoutBytes, res.FullOutputPath)
	}
}

func testExecOutputFile(t T, s Subject) {
	const name = ".sampan/output/job.log"
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.Exec(ctx, tool.ExecRequest{Shell: "echo first; echo second >&2; sleep 1000", OutputFile: name})
	}()
	eventually(t, "the output while the command runs", func() bool {
		f, err := s.ReadFile(t.Context(), name, 1000)
		return err == nil && strings.Contains(string(f.Data), "first\n") && strings.Contains(string(f.Data), "second\n")
	})
	cancel()
	<-done
	_, err := s.Exec(t.Context(), tool.ExecRequest{Shell: "true", OutputFile: "../out"})
	wantErr(t, "an output file outside", err, tool.ErrOutsideWorkspace)
}

func testExecUTF8Cut(t T, s Subject) {
	for limit := int64(10); limit < 22; limit++ {
		res := s.shell(t, `for i in $(seq 100); do printf 'aé€😀'; done`, func(r *tool.ExecRequest) { r.MaxOutputBytes = limit })
		if !utf8.Valid(res.Stdout) || !utf8.Valid(res.Stdout[:res.StdoutCut]) {
			t.Errorf("limit %d: split a character: %q cut at %d", limit, res.Stdout, res.StdoutCut)
		}
		if int64(len(res.Stdout))+res.OmittedStdoutBytes != 1000 || int64(len(res.Stdout)) > limit {
			t.Errorf("limit %d: %d kept, %d omitted", limit, len(res.Stdout), res.OmittedStdoutBytes)
		}
	}
}
