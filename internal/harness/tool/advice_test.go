package tool_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/sandbox/engine"
)

// advice is a result that recommends something, and the doing of it.
type advice struct {
	prepare func(b *bench)
	name    string
	args    m
	// says is the advice; follow does what it says, which must work.
	says   []string
	follow func(b *bench, result string)
}

const latin1 = "# caf\xe9 men\xfc\n"

var large = strings.Repeat("a line of the file\n", 500)

func put(name, data string) func(b *bench) {
	return func(b *bench) { b.put(name, data, 0o644) }
}

// changed is a file that the model has read before it changed.
func changed(b *bench) {
	b.put("f", "one\n", 0o644)
	if b.has("read_file") {
		b.ok("read_file", m{"path": "f"})
	} else {
		b.call(b.Specs()[0].Name, m{"path": "f", "content": "one\n", "old_text": "one", "new_text": "two"})
	}
	b.put("f", "two\nthree\n", 0o644)
}

var advices = map[string]advice{
	"missing": {put("deep/er/f.go", "x"), "read_file", m{"path": "f.go"}, []string{"with glob, for instance with the pattern **/NAME"}, func(b *bench, _ string) {
		b.says("glob", m{"pattern": "**/f.go"}, "deep/er/f.go")
	}},
	"directory": {put("d/f.go", "x"), "read_file", m{"path": "d"}, []string{`list a directory with glob (pattern "DIR/*")`}, func(b *bench, _ string) {
		b.says("glob", m{"pattern": "d/*"}, "d/f.go")
	}},
	"binary": {put("f", "\x7fELF\x00"), "read_file", m{"path": "f"}, []string{"with bash, for instance with od -c"}, func(b *bench, _ string) {
		b.says("bash", m{"command": "od -c f"}, "177   E   L   F")
	}},
	"too large": {func(b *bench) { b.put("f", strings.Repeat("0123456789abcde\n", 1<<20+1), 0o644) }, "edit_file", m{"path": "f", "old_text": "a", "new_text": "b"}, []string{"with bash (head, tail, sed, split)"}, func(b *bench, _ string) {
		b.says("bash", m{"command": "sed -i 2s/0/x/ f; head -2 f; tail -1 f; split -l 1000 f part; ls part* | wc -l"}, "x123")
	}},
	"stale edit": {changed, "edit_file", m{"path": "f", "old_text": "three", "new_text": "3"}, []string{"Read it again with read_file, then repeat the edit"}, func(b *bench, _ string) {
		b.ok("read_file", m{"path": "f"})
		b.ok("edit_file", m{"path": "f", "old_text": "three", "new_text": "3"})
	}},
	"stale write": {changed, "write_file", m{"path": "f", "content": "new"}, []string{"Read it again with read_file, then write"}, func(b *bench, _ string) {
		b.ok("read_file", m{"path": "f"})
		b.ok("write_file", m{"path": "f", "content": "new"})
	}},
	"not read": {put("f", "the first line\n"+large), "write_file", m{"path": "f", "content": "new"}, []string{"Read it with read_file before", "use edit_file"}, func(b *bench, _ string) {
		b.ok("edit_file", m{"path": "f", "old_text": "the first line", "new_text": "x"})
		b.ok("read_file", m{"path": "f"})
		b.ok("write_file", m{"path": "f", "content": "new"})
	}},
	"nothing to edit": {put("d/f", "x"), "edit_file", m{"path": "f", "old_text": "a", "new_text": "b"}, []string{"Create it with write_file", "with glob"}, func(b *bench, _ string) {
		b.says("glob", m{"pattern": "**/f"}, "d/f")
		b.ok("write_file", m{"path": "f", "content": "a"})
	}},
	"nothing similar": {put("f", "alpha\n"), "edit_file", m{"path": "f", "old_text": "%%%%%%", "new_text": "b"}, []string{"Read the file again with read_file"}, func(b *bench, _ string) {
		b.says("read_file", m{"path": "f"}, "alpha")
	}},
	"not encodable": {put("f", latin1), "edit_file", m{"path": "f", "old_text": "menü", "new_text": "→"}, []string{"convert it first with bash (iconv", "then read it again"}, func(b *bench, _ string) {
		b.ok("bash", m{"command": "iconv -f windows-1252 -t UTF-8 f > g && mv g f"})
		b.ok("read_file", m{"path": "f"})
		b.ok("edit_file", m{"path": "f", "old_text": "menü", "new_text": "→"})
		b.holds("f", "# café →\n")
	}},
	"read-only": {func(b *bench) { b.put("f", "x", 0o444) }, "edit_file", m{"path": "f", "old_text": "x", "new_text": "y"}, []string{"with bash (ls -ld)"}, func(b *bench, _ string) {
		b.says("bash", m{"command": "ls -ld f"}, "-r--r--r--")
		b.ok("bash", m{"command": "chmod u+w f"})
		b.ok("edit_file", m{"path": "f", "old_text": "x", "new_text": "y"})
	}},
	"long line in a file": {put("f", "1\n"+strings.Repeat("x", 9000)+"end\n"), "read_file", m{"path": "f"}, []string{"read on with offset=2, column=2001"}, func(b *bench, _ string) {
		b.says("read_file", m{"path": "f", "offset": 2, "column": 2001}, "xend\n")
	}},
	"long line in a folder": {put("f", strings.Repeat("x", 100_000)+"needle\n"), "grep", m{"pattern": "needle"}, []string{"f has lines longer than 64 KiB", "name it as path to search them"}, func(b *bench, _ string) {
		got := b.says("grep", m{"pattern": "needle", "path": "f"}, "xneedle")
		var column int
		if _, err := fmt.Sscanf(got, "f:1:[column %d]", &column); err != nil {
			b.t.Fatalf("%q: %v", got, err)
		}
		b.says("read_file", m{"path": "f", "column": column}, "xneedle")
	}},
	"large file in a folder": {func(b *bench) {
		b.put("f", "needle\n", 0o644)
		if err := os.Truncate(filepath.Join(b.workspace, "f"), 65<<20); err != nil {
			b.t.Fatal(err)
		}
		b.ok2("bash", m{"command": "tr '\\0' '\\n' < f > g; mv g f"})
	}, "grep", m{"pattern": "needle"}, []string{"f was skipped: 65 MiB; name it as path to search it"}, func(b *bench, _ string) {
		b.says("grep", m{"pattern": "needle", "path": "f"}, "f:1:needle")
	}},
	"ignored by git": {func(b *bench) {
		b.put(".git/HEAD", "x", 0o644)
		b.put(".gitignore", "dist\n", 0o644)
		b.put("dist/f", "needle", 0o644)
	}, "grep", m{"pattern": "needle"}, []string{"ignored: true searches it as well"}, func(b *bench, _ string) {
		b.says("grep", m{"pattern": "needle", "ignored": true}, "dist/f:1:needle")
		b.says("glob", m{"pattern": "f", "ignored": true}, "dist/f")
	}},
	"output of many lines": {nil, "bash", m{"command": "seq 1 200000"}, []string{"with read_file or grep"}, func(b *bench, result string) {
		b.says("read_file", m{"path": output(result), "offset": 123456, "limit": 1}, "\t123456\n")
		b.says("grep", m{"pattern": "^123456$", "path": output(result)}, ":123456:123456\n")
	}},
	"output of one line": {nil, "bash", m{"command": "seq -s, 1 200000"}, []string{"with read_file or grep"}, func(b *bench, result string) {
		got := b.says("grep", m{"pattern": ",123456,", "path": output(result)}, ",123456,")
		_, got, _ = strings.Cut(got, "[column ")
		var column int
		if _, err := fmt.Sscan(got, &column); err != nil {
			b.t.Fatalf("%q: %v", got, err)
		}
		b.says("read_file", m{"path": output(result), "column": column}, ",123456,")
	}},
	"output that is no text": {nil, "bash", m{"command": "printf 'needle\\000\\377\\n'; seq 1 20000; head -c 30000 /dev/urandom"}, []string{"with read_file or grep"}, func(b *bench, result string) {
		b.says("read_file", m{"path": output(result), "limit": 1}, "needle␀<FF>")
		b.says("grep", m{"pattern": "needle", "path": output(result)}, "needle␀<FF>")
	}},
	"output of bars": {nil, "bash", m{"command": `for i in $(seq 1 9000); do printf '\rstep %d' $i; done; printf '\n'; seq 1 20000`}, []string{"with read_file or grep"}, func(b *bench, result string) {
		b.says("read_file", m{"path": output(result), "limit": 1}, "␍step 1␍step 2␍")
		b.says("grep", m{"pattern": "step 5000\r", "path": output(result)}, "␍step 5000␍")
	}},
	"output in the background": {nil, "bash", m{"command": "echo ready; exec sleep 1000", "background": true}, []string{"goes to .sampan/output/bg1.log. Read it with read_file", `kill: "bg1"`}, func(b *bench, _ string) {
		b.says("read_file", m{"path": ".sampan/output/bg1.log"}, "ready")
		b.says("bash", m{"kill": "bg1"}, "Stopped")
	}},
	"late": {nil, "bash", m{"command": "sleep 0.3; echo done", "timeout_seconds": 0.05}, []string{"give timeout_seconds", "background: true"}, func(b *bench, _ string) {
		b.says("bash", m{"command": "sleep 0.3; echo done", "timeout_seconds": 20}, "done")
	}},
	"bytes that are no UTF-8": {put("f", latin1), "bash", m{"command": "cat f"}, []string{"see them with od -c, or as text with iconv"}, func(b *bench, _ string) {
		b.says("bash", m{"command": "od -c f"}, "351")
		b.says("bash", m{"command": "iconv -f windows-1252 f"}, "café")
	}},
}

func (b *bench) has(name string) bool {
	return slices.ContainsFunc(b.Specs(), func(s llm.ToolSpec) bool { return s.Name == name })
}

// says is a call that must be no error and say something.
func (b *bench) says(name string, args m, want string) string {
	b.t.Helper()
	got := b.ok(name, args)
	if !strings.Contains(got, want) {
		b.t.Errorf("%s %v gave %q, want %q in it", name, args, got, want)
	}
	return got
}

// ok2 is ok where the tool is allowed.
func (b *bench) ok2(name string, args m) {
	if b.has(name) {
		b.ok(name, args)
	}
}

// What a result recommends can be done, and works.
func TestAdvice(t *testing.T) {
	for name, a := range advices {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tool.Options{})
			if a.prepare != nil {
				a.prepare(b)
			}
			result := b.call(a.name, a.args).Content
			for _, s := range a.says {
				if !strings.Contains(result, s) {
					t.Fatalf("%s gave %q, want %q in it", a.name, result[max(0, len(result)-700):], s)
				}
			}
			a.follow(b, result)
		})
	}
}

var toolNames = regexp.MustCompile(`\b(` + strings.Join(tool.Names(), "|") + `)\b`)

// Where a run has but one tool, no error names another.
func TestAdviceOfOneTool(t *testing.T) {
	for name, a := range advices {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tool.Options{})
			e, err := engine.New(b.workspace, engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = e.Close() }()
			if b.Set, err = tool.NewSet(e, []string{a.name}, tool.Options{}); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = b.Close(t.Context()) }()
			if a.prepare != nil {
				a.prepare(b)
			}
			raw, err := json.Marshal(a.args)
			if err != nil {
				t.Fatal(err)
			}
			res, err := b.Run(t.Context(), llm.ToolCall{Name: a.name, Arguments: string(raw)})
			if err != nil {
				t.Fatal(err)
			}
			for _, other := range toolNames.FindAllString(res.Content, -1) {
				if other != a.name {
					t.Errorf("%s names %s: %q", a.name, other, res.Content[max(0, len(res.Content)-700):])
				}
			}
		})
	}
}
