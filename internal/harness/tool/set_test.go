package tool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/sandbox/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a set of tools on an empty workspace.
type bench struct {
	*tool.Set
	t         *testing.T
	workspace string
}

func newBench(t *testing.T, opts tool.Options) *bench {
	t.Helper()
	e, err := engine.New(t.TempDir(), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := tool.NewSet(e, nil, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(s.Close(ctx), e.Close()); err != nil {
			t.Error(err)
		}
	})
	return &bench{Set: s, t: t, workspace: e.Workspace()}
}

func (b *bench) call(name string, args map[string]any) tool.Result {
	b.t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := b.Run(b.t.Context(), llm.ToolCall{ID: "1", Name: name, Arguments: string(raw)})
	if err != nil {
		b.t.Fatalf("Run(%s %s): %v", name, raw, err)
	}
	return res
}

// ok is a call that must be no error; it gives the content.
func (b *bench) ok(name string, args map[string]any) string {
	b.t.Helper()
	res := b.call(name, args)
	if res.IsError {
		b.t.Fatalf("%s %v: error %s", name, args, res.Content)
	}
	return res.Content
}

// bad is a call that must be an error which says each of want.
func (b *bench) bad(name string, args map[string]any, want ...string) {
	b.t.Helper()
	res := b.call(name, args)
	for _, w := range want {
		if !res.IsError || !strings.Contains(res.Content, w) {
			b.t.Errorf("%s %v: error %v, %q; want %q in it", name, args, res.IsError, res.Content, w)
		}
	}
}

func (b *bench) put(name, content string, mode os.FileMode) {
	b.t.Helper()
	p := filepath.Join(b.workspace, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), mode); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) holds(name, want string) {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.workspace, name))
	if err != nil || string(data) != want {
		b.t.Errorf("%s holds %q (%v), want %q", name, data, err, want)
	}
}

type m = map[string]any

func TestReadFile(t *testing.T) {
	b := newBench(t, tool.Options{MaxOutputBytes: 2000})
	b.put("f", "one\ntwo\nthree", 0o644)
	if got := b.ok("read_file", m{"path": "f"}); got != "     1\tone\n     2\ttwo\n     3\tthree\n[no newline at the end of the file]\n" {
		t.Errorf("got %q", got)
	}
	if got := b.ok("read_file", m{"path": "f", "offset": 2, "limit": 1}); got != "     2\ttwo\n[lines 2-2 of 3; go on with offset=3]\n" {
		t.Errorf("got %q", got)
	}
	b.put("empty", "", 0o644)
	if got := b.ok("read_file", m{"path": "empty"}); got != "[empty is empty]" {
		t.Errorf("got %q", got)
	}
	b.put("crlf", "a\r\nb\r\n", 0o644)
	if got := b.ok("read_file", m{"path": "crlf"}); got != "     1\ta\n     2\tb\n[line ends are CRLF; edit_file keeps them]\n" {
		t.Errorf("got %q", got)
	}
	// Reading on by the offsets that are named gives every line once.
	var want, got strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	b.put("long", want.String(), 0o644)
	for offset, rounds := 1, 0; offset > 0 && rounds < 50; rounds++ {
		text := b.ok("read_file", m{"path": "long", "offset": offset})
		if len(text) > 2000 {
			t.Fatalf("%d bytes", len(text))
		}
		for line := range strings.SplitSeq(text, "\n") {
			if _, content, ok := strings.Cut(line, "\t"); ok {
				got.WriteString(content + "\n")
			}
		}
		_, next, ok := strings.Cut(text, "offset=")
		offset = 0
		if ok {
			_, _ = fmt.Sscan(next, &offset)
		}
	}
	if got.String() != want.String() {
		t.Errorf("reading in parts gave %d bytes, want %d", got.Len(), want.Len())
	}
	b.put("bin", "\x00\x01", 0o644)
	b.bad("read_file", m{"path": "bin"}, "is binary (2 bytes)", "od -c")
	b.bad("read_file", m{"path": "missing"}, "no such file", "glob")
	b.bad("read_file", m{"path": "."}, "is a directory", "glob")
	b.bad("read_file", m{"path": "../x"}, "outside the workspace", "relative")
	b.bad("read_file", m{"path": "f", "offset": 9}, "has only 3 lines")
	b.bad("read_file", m{"path": "f", "offset": -1}, "negative")
	b.bad("read_file", m{"file": "f"}, `"path" is missing`, `There is no argument "file"`)
}

func TestWriteFile(t *testing.T) {
	b := newBench(t, tool.Options{})
	if got := b.ok("write_file", m{"path": "a/b/c.txt", "content": "x\ny\n"}); got != "Created a/b/c.txt: 2 lines, 4 bytes." {
		t.Errorf("got %q", got)
	}
	b.put("script", "#!/bin/sh\n", 0o755)
	b.ok("read_file", m{"path": "script"})
	if got := b.ok("write_file", m{"path": "script", "content": ""}); got != "Replaced script: 0 lines, 0 bytes." {
		t.Errorf("got %q", got)
	}
	if st, _ := os.Stat(filepath.Join(b.workspace, "script")); st.Mode() != 0o755 {
		t.Errorf("mode %v after a write", st.Mode())
	}
	b.bad("write_file", m{"path": "a", "content": "x"}, "is a directory")
	b.bad("write_file", m{"path": "/etc/x", "content": "x"}, "outside the workspace")
	b.bad("write_file", m{"path": "x"}, `"content" is missing`)
}

func TestEditFile(t *testing.T) {
	b := newBench(t, tool.Options{})
	b.put("f.sh", "one\r\ntwo\r\nthree", 0o750)
	got := b.ok("edit_file", m{"path": "f.sh", "old_text": "two\nthree", "new_text": "2\n2.5\nthree"})
	b.holds("f.sh", "one\r\n2\r\n2.5\r\nthree")
	if want := "Edited f.sh at line 2. It reads now:\n     1\tone\n     2\t2\n     3\t2.5\n     4\tthree\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if st, _ := os.Stat(filepath.Join(b.workspace, "f.sh")); st.Mode() != 0o750 {
		t.Errorf("mode %v after an edit", st.Mode())
	}
	b.ok("edit_file", m{"path": "f.sh", "old_text": "one", "new_text": "1"}) // its own write is known
	b.put("f.sh", "changed\n", 0o750)
	b.bad("edit_file", m{"path": "f.sh", "old_text": "changed", "new_text": "x"}, "has changed since you last read it", "read_file")
	b.holds("f.sh", "changed\n")
	b.ok("read_file", m{"path": "f.sh"})
	b.ok("edit_file", m{"path": "f.sh", "old_text": "changed", "new_text": "x"})
	b.ok("bash", m{"command": "echo more >> f.sh"})
	b.bad("edit_file", m{"path": "f.sh", "old_text": "more", "new_text": "x"}, "has changed since")

	b.put("g", "a\na\n", 0o644)
	b.bad("edit_file", m{"path": "g", "old_text": "a", "new_text": "b"}, "twice, in lines 1, 2")
	b.bad("edit_file", m{"path": "g", "old_text": "", "new_text": "b"}, "old_text is empty")
	b.bad("edit_file", m{"path": "none", "old_text": "a", "new_text": "b"}, "no such file", "write_file")
	b.bad("edit_file", m{"path": "../g", "old_text": "a", "new_text": "b"}, "outside the workspace")
	b.holds("g", "a\na\n")
	b.put("bin", "a\x00b", 0o644)
	b.bad("edit_file", m{"path": "bin", "old_text": "a", "new_text": "b"}, "is binary")
}

func TestBash(t *testing.T) {
	b := newBench(t, tool.Options{MaxOutputBytes: 3000})
	for name, tc := range map[string]struct {
		args  m
		want  string
		error bool
	}{
		"output":     {args: m{"command": "echo hi; echo err >&2"}, want: "hi\nerr\n"},
		"nothing":    {args: m{"command": "true"}, want: "[exit code 0, no output]"},
		"failure":    {args: m{"command": "printf x; exit 3"}, want: "x\n[exit code 3]"},
		"signal":     {args: m{"command": "kill -SEGV $$"}, want: "[ended by SIGSEGV]"},
		"cwd":        {args: m{"command": "mkdir -p d; cd d; basename $PWD"}, want: "d\n"},
		"ansi":       {args: m{"command": `printf '\033[31mred\033[0m\000\377\n'`}, want: "red␀<FF>\n[1 byte is not UTF-8"},
		"timeout":    {args: m{"command": "echo part; sleep 77", "timeout_seconds": 0.3}, want: "part\n[timed out after 0.3 s", error: true},
		"nothing?":   {args: m{}, want: "exactly one of command, kill and list", error: true},
		"both":       {args: m{"command": "ls", "list": true}, want: "exactly one of", error: true},
		"negative":   {args: m{"command": "ls", "timeout_seconds": -1}, want: "negative", error: true},
		"huge":       {args: m{"command": "echo fine", "timeout_seconds": 1e200}, want: "fine\n"},
		"bad cwd":    {args: m{"command": "ls", "cwd": "nope"}, want: "no such file", error: true},
		"leftover":   {args: m{"command": "sleep 78 >/dev/null 2>&1 & echo on"}, want: "on\n[1 process left running by the command ended with it; use background: true"},
		"no such id": {args: m{"kill": "bg9"}, want: `no background command "bg9"`, error: true},
	} {
		t.Run(name, func(t *testing.T) {
			res := b.call("bash", tc.args)
			if !strings.HasPrefix(res.Content, tc.want) && (!tc.error || !strings.Contains(res.Content, tc.want)) || res.IsError != tc.error {
				t.Errorf("got %q, error %v; want %q, %v", res.Content, res.IsError, tc.want, tc.error)
			}
		})
	}
	// Bars do not push out what matters.
	got := b.ok("bash", m{"command": `echo first; for i in $(seq 1 2000); do printf '\r%d of 2000' $i; done; echo; echo ERROR; for i in $(seq 1 2000); do printf '\r%d of 2000' $i; done; exit 1`})
	if got != "first\n2000 of 2000\nERROR\n2000 of 2000\n[exit code 1]" {
		t.Errorf("bars: %q", got)
	}
	long := b.ok("bash", m{"command": "seq 1 20000"})
	if len(long) > 3000 || !strings.HasPrefix(long, "1\n2\n") || !strings.HasSuffix(long, "20000\n[read "+output(long)+" with read_file or grep]") {
		t.Errorf("long output: %d bytes, %q...", len(long), long[:50])
	}
	file := output(long)
	if got := b.ok("read_file", m{"path": file, "offset": 10000, "limit": 1}); !strings.Contains(got, "\t10000\n") {
		t.Errorf("the whole output in %q: %q", file, got)
	}
}

// output is the file that a cut output names.
func output(result string) string {
	_, file, _ := strings.Cut(result, "the whole output is in ")
	file, _, _ = strings.Cut(file, " ")
	return file
}

func TestBashToolTimeout(t *testing.T) {
	b := newBench(t, tool.Options{ToolTimeout: 300 * time.Millisecond})
	b.bad("bash", m{"command": "sleep 79", "timeout_seconds": 500}, "timed out after 0.3 s", "the most a command may take")
}

func TestBackground(t *testing.T) {
	b := newBench(t, tool.Options{MaxBackground: 2})
	if got := b.ok("bash", m{"list": true}); got != "There are no background commands." {
		t.Errorf("got %q", got)
	}
	got := b.ok("bash", m{"command": "echo ready; sleep 1000", "background": true})
	if !strings.Contains(got, "Started bg1") {
		t.Fatalf("got %q", got)
	}
	if got := b.ok("bash", m{"command": "cat .sampan/output/bg1.log"}); got != "ready\n" {
		t.Errorf("its output is %q", got)
	}
	if got := b.ok("bash", m{"command": "echo failed; exit 4", "background": true}); got != "The command ended at once.\nfailed\n[exit code 4]" {
		t.Errorf("got %q", got)
	}
	b.bad("bash", m{"command": "sleep 1", "cwd": "nope", "background": true}, "no such file")
	b.ok("bash", m{"command": "until test -e go; do sleep 0.01; done; exit 6", "background": true})
	b.bad("bash", m{"command": "sleep 1000", "background": true}, "the limit is 2")
	if got := b.ok("bash", m{"list": true}); !strings.Contains(got, "bg1: running") || !strings.Contains(got, "bg4: running") || !strings.Contains(got, "bg2: ended with exit code 4") {
		t.Errorf("list: %q", got)
	}
	b.put("go", "", 0o644)
	deadline := time.Now().Add(time.Minute)
	for got = ""; !strings.Contains(got, "background bg4: ended with exit code 6") && time.Now().Before(deadline); {
		got = b.ok("bash", m{"command": "true"})
	}
	if !strings.Contains(got, "bg4") {
		t.Errorf("the end of bg4 is not told: %q", got)
	}
	if got := b.ok("bash", m{"command": "true"}); strings.Contains(got, "bg4") {
		t.Errorf("the end of bg4 is told twice: %q", got)
	}
	if got := b.ok("bash", m{"kill": "bg1"}); !strings.Contains(got, "Stopped bg1") {
		t.Errorf("got %q", got)
	}
	b.ok("bash", m{"command": "(setsid sleep 76543 &); sleep 76543", "background": true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
	if got := b.ok("bash", m{"command": "pgrep -f '[7]6543' | wc -l"}); !strings.HasPrefix(got, "0\n[background bg5: was stopped;") {
		t.Errorf("after Close %s processes run", got)
	}
	b.bad("bash", m{"command": "sleep 1", "background": true}, "The run is ending")
}

func TestSet(t *testing.T) {
	if _, err := tool.NewSet(nil, []string{"bash", "rm"}, tool.Options{}); err == nil || !strings.Contains(err.Error(), `"rm"`) || !strings.Contains(err.Error(), "read_file, write_file") {
		t.Errorf("an unknown tool: %v", err)
	}
	s, err := tool.NewSet(nil, []string{"bash", "read_file"}, tool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if specs := s.Specs(); len(specs) != 2 || specs[0].Name != "read_file" || specs[1].Name != "bash" {
		t.Errorf("specs: %v", specs)
	}
	for name, want := range map[string]bool{"read_file": true, "bash": false, "grep": false, "?": false} {
		if got := s.ReadOnly(name); got != want {
			t.Errorf("ReadOnly(%s) = %v", name, got)
		}
	}
	res, err := s.Run(t.Context(), llm.ToolCall{Name: "grep", Arguments: "{}"})
	if err != nil || !res.IsError || !strings.Contains(res.Content, "The tools are: read_file, bash.") {
		t.Errorf("a tool that is not allowed: %+v, %v", res, err)
	}
	// The executor is nil: any use of it panics, and that is contained.
	res, err = s.Run(t.Context(), llm.ToolCall{Name: "read_file", Arguments: `{"path":"x"}`})
	if err != nil || !res.IsError || !strings.Contains(res.Content, "bug of its own") {
		t.Errorf("a panic: %+v, %v", res, err)
	}
}

// broken is an executor whose commands end with an error.
type broken struct {
	tool.Executor
	err error
}

func (b broken) Exec(context.Context, tool.ExecRequest) (*tool.ExecResult, error) { return nil, b.err }

func TestRunErrors(t *testing.T) {
	call := llm.ToolCall{Name: "bash", Arguments: `{"command":"x"}`}
	run := func(ctx context.Context, err error) (tool.Result, error) {
		s, nerr := tool.NewSet(broken{err: err}, nil, tool.Options{})
		if nerr != nil {
			t.Fatal(nerr)
		}
		return s.Run(ctx, call)
	}
	if _, err := run(t.Context(), fmt.Errorf("%w: reset", tool.ErrExecutorGone)); !errors.Is(err, tool.ErrExecutorGone) {
		t.Errorf("the executor is gone: %v", err)
	}
	if res, err := run(t.Context(), errors.New("odd")); err != nil || !res.IsError || res.Content != "odd" {
		t.Errorf("any other error: %+v, %v", res, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := run(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}
