package tool_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

func TestGrepAndGlob(t *testing.T) {
	b := newBench(t, tool.Options{MaxOutputBytes: 1500})
	b.put("a.go", "package a\nfunc A() {}\n// end\n", 0o644)
	b.put("d/b.go", "package b\n", 0o644)
	if got := b.ok("grep", m{"pattern": "func", "context": 1}); got != "a.go-1-package a\na.go:2:func A() {}\na.go-3-// end\n" {
		t.Errorf("got %q", got)
	}
	if got := b.ok("grep", m{"pattern": "nothing-here", "include": "*.go"}); got != "No match in 2 files.\n" {
		t.Errorf("got %q", got)
	}
	b.bad("grep", m{"pattern": "("}, "missing closing )", "RE2")
	b.bad("grep", m{"pattern": ""}, "pattern is empty")
	if got := b.ok("glob", m{"pattern": "*.go"}); got != "a.go\nd/b.go\n" {
		t.Errorf("got %q", got)
	}
	if got := b.ok("glob", m{"pattern": "*.rs"}); got != "No file matches.\n" {
		t.Errorf("got %q", got)
	}
	b.put("many", strings.Repeat("match me\n", 5000), 0o644)
	got := b.ok("grep", m{"pattern": "match"})
	if len(got) > 1500 || !strings.Contains(got, "of 5000 matches shown") {
		t.Errorf("%d bytes: %q", len(got), got[max(0, len(got)-200):])
	}
	for i := range 200 {
		b.put(fmt.Sprintf("n/%03d.txt", i), "", 0o644)
	}
	if got := b.ok("glob", m{"pattern": "n/*"}); len(got) > 1500 || !strings.Contains(got, "of 200 paths shown") {
		t.Errorf("%d bytes: %q", len(got), got[max(0, len(got)-200):])
	}
}

func TestSearchIgnored(t *testing.T) {
	b := newBench(t, tool.Options{})
	b.put(".git/HEAD", "ref: refs/heads/main\n", 0o644)
	b.put(".gitignore", "node_modules/\n*.log\n", 0o644)
	for i := range 600 {
		b.put(fmt.Sprintf("node_modules/p%d/index.ts", i), "needle\n", 0o644)
	}
	b.put("x.log", "needle\n", 0o644)
	b.put("src/a.ts", "needle\n", 0o644)
	const both = "[what git ignores was skipped: 1 directory and 1 file (node_modules/, x.log); ignored: true searches it as well]\n"
	if got := b.ok("grep", m{"pattern": "needle"}); got != "src/a.ts:1:needle\n"+both {
		t.Errorf("got %q", got)
	}
	if got := b.ok("glob", m{"pattern": "**/*.ts"}); got != "src/a.ts\n"+strings.Replace(both, "1 directory and 1 file (node_modules/, x.log)", "1 directory (node_modules/)", 1) {
		t.Errorf("got %q", got)
	}
	if got := b.ok("grep", m{"pattern": "needle", "ignored": true}); !strings.HasPrefix(got, "src/a.ts:1:needle\nnode_modules/p0/") || !strings.Contains(got, "[500 of 602 matches shown;") {
		t.Errorf("got %q ... %q", got[:100], got[len(got)-200:])
	}
}
