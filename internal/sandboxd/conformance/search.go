package conformance

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

func testLines(t *testing.T, s Subject) {
	long := strings.Repeat("é", 3000)
	for name, tc := range map[string]struct {
		content       string
		r             tool.LineRange
		lines         []tool.Line
		total, crlf   int
		binary, noEnd bool
	}{
		"empty":            {content: ""},
		"one":              {content: "a\n", lines: []tool.Line{{Text: "a"}}, total: 1},
		"no end":           {content: "a\nb", lines: []tool.Line{{Text: "a"}, {Text: "b"}}, total: 2, noEnd: true},
		"blank lines":      {content: "\n\n", lines: []tool.Line{{}, {}}, total: 2},
		"crlf":             {content: "a\r\nb\r\n", lines: []tool.Line{{Text: "a"}, {Text: "b"}}, total: 2, crlf: 2},
		"mixed":            {content: "a\r\nb\n\r\n", lines: []tool.Line{{Text: "a"}, {Text: "b"}, {}}, total: 3, crlf: 2},
		"lone cr":          {content: "a\rb\n", lines: []tool.Line{{Text: "a\rb"}}, total: 1},
		"range":            {content: "1\n2\n3\n4\n", r: tool.LineRange{From: 2, Count: 2}, lines: []tool.Line{{Text: "2"}, {Text: "3"}}, total: 4},
		"beyond":           {content: "1\n", r: tool.LineRange{From: 9}, total: 1},
		"bytes":            {content: "12345\n12345\n12345\n", r: tool.LineRange{MaxBytes: 12}, lines: []tool.Line{{Text: "12345"}, {Text: "12345"}}, total: 3},
		"cut line":         {content: "abcdef\nx\n", r: tool.LineRange{MaxLineBytes: 3}, lines: []tool.Line{{Text: "abc", OmittedBytes: 3}, {Text: "x"}}, total: 2},
		"cut at character": {content: long + "\r\n", r: tool.LineRange{MaxLineBytes: 3}, lines: []tool.Line{{Text: "é", OmittedBytes: 5998}}, total: 1, crlf: 1},
		"just fits":        {content: "abc\r\nabc\n", r: tool.LineRange{MaxLineBytes: 3}, lines: []tool.Line{{Text: "abc"}, {Text: "abc"}}, total: 2, crlf: 1},
		"not utf-8":        {content: "a\xffb\n", lines: []tool.Line{{Text: "a\uFFFDb"}}, total: 1},
		"binary":           {content: "a\x00b\n", total: 1, binary: true},
		"very long":        {content: strings.Repeat("x", 1<<20) + "\ny", r: tool.LineRange{From: 2}, lines: []tool.Line{{Text: "y"}}, total: 2, noEnd: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := s.write(t, "f", tc.content)
			got, err := s.ReadLines(t.Context(), "f", tc.r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.lines, got.Lines); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if got.TotalLines != tc.total || got.CRLF != tc.crlf || got.Binary != tc.binary || got.NoFinalNewline != tc.noEnd {
				t.Errorf("%d lines, %d CRLF, binary %v, no final newline %v", got.TotalLines, got.CRLF, got.Binary, got.NoFinalNewline)
			}
			if got.Digest != w.Digest || got.Size != w.Size || got.Path != "f" {
				t.Errorf("%+v, want the digest, size and path of %+v", got.FileInfo, w)
			}
		})
	}
}

// found writes a search's result as lines, to compare it at a glance.
func found(res *tool.GrepResult) string {
	var b strings.Builder
	for _, f := range res.Files {
		for _, l := range f.Lines {
			sep := "-"
			if l.Match {
				sep = ":"
			}
			fmt.Fprintf(&b, "%s%s%d%s%s\n", f.Path, sep, l.Number, sep, l.Text)
		}
	}
	return b.String()
}

func testGrep(t *testing.T, s Subject) {
	for name, content := range map[string]string{
		"a.go": "package a\n\nfunc A() {}\n", "b/b.go": "package b\nfunc B() {} // A\n", "b/c.txt": "func text\n",
		"b.txt": "one\ntwo\nthree\nfour\nfive\nsix", "crlf.txt": "end\r\nlast\r\n", "sub/deep/x.go": "package x\n",
	} {
		s.write(t, name, content)
	}
	for name, tc := range map[string]struct {
		req  tool.GrepRequest
		want string
	}{
		"all":             {tool.GrepRequest{Pattern: "^func"}, "a.go:3:func A() {}\nb/b.go:2:func B() {} // A\nb/c.txt:1:func text\n"},
		"include":         {tool.GrepRequest{Pattern: "^package", Include: "*.go"}, "a.go:1:package a\nb/b.go:1:package b\nsub/deep/x.go:1:package x\n"},
		"include path":    {tool.GrepRequest{Pattern: "^package", Include: "sub/**/*.go"}, "sub/deep/x.go:1:package x\n"},
		"folder":          {tool.GrepRequest{Pattern: "func", Path: "b"}, "b/b.go:2:func B() {} // A\nb/c.txt:1:func text\n"},
		"folder, include": {tool.GrepRequest{Pattern: "package", Path: "sub", Include: "deep/*.go"}, "sub/deep/x.go:1:package x\n"},
		"file":            {tool.GrepRequest{Pattern: "t", Path: "b.txt"}, "b.txt:2:two\nb.txt:3:three\n"},
		"case":            {tool.GrepRequest{Pattern: "FUNC a", IgnoreCase: true}, "a.go:3:func A() {}\n"},
		"context":         {tool.GrepRequest{Pattern: "three|four", Path: "b.txt", Context: 1}, "b.txt-2-two\nb.txt:3:three\nb.txt:4:four\nb.txt-5-five\n"},
		"context at ends": {tool.GrepRequest{Pattern: "one|six", Path: "b.txt", Context: 1}, "b.txt:1:one\nb.txt-2-two\nb.txt-5-five\nb.txt:6:six\n"},
		"crlf":            {tool.GrepRequest{Pattern: "end$"}, "crlf.txt:1:end\n"},
		"not over lines":  {tool.GrepRequest{Pattern: `one\stwo`}, ""},
		"end of file":     {tool.GrepRequest{Pattern: `x$`, Path: "b.txt"}, "b.txt:6:six\n"},
		"every line":      {tool.GrepRequest{Pattern: `$`, Path: "b.txt", MaxMatches: 2}, "b.txt:1:one\nb.txt:2:two\n"},
		"empty matches":   {tool.GrepRequest{Pattern: `z*`, Path: "b/c.txt"}, "b/c.txt:1:func text\n"},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := s.Grep(t.Context(), tc.req)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, found(res)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if want := tc.req.MaxMatches > 0; res.Truncated != want {
				t.Errorf("truncated: %v, want %v", res.Truncated, want)
			}
		})
	}
	for p, want := range map[tool.GrepRequest]error{
		{Pattern: "("}:                        tool.ErrInvalid,
		{Pattern: ""}:                         tool.ErrInvalid,
		{Pattern: "x", Include: "["}:          tool.ErrInvalid,
		{Pattern: "x", Path: "../"}:           tool.ErrOutsideWorkspace,
		{Pattern: "x", Path: "missing"}:       tool.ErrNotFound,
		{Pattern: "x", Include: "../**/*.go"}: tool.ErrInvalid,
	} {
		_, err := s.Grep(t.Context(), p)
		wantErr(t, fmt.Sprintf("Grep %+v", p), err, want)
	}
}

func testGrepSkips(t *testing.T, s Subject) {
	s.write(t, "good.txt", "needle\n")
	s.write(t, "binary", "needle\x00needle\n")
	s.write(t, ".git/config", "needle\n")
	s.write(t, "vendored/.git/config", "needle\n")
	s.write(t, "min.js", strings.Repeat("x", 100_000)+"needle\nneedle short\n")
	s.write(t, "long.txt", strings.Repeat("y", 1000)+"needle"+strings.Repeat("z", 1000)+"\n")
	s.write(t, "one-line", strings.Repeat("x", 9<<20)+"needle")
	s.write(t, "two-blocks", strings.Repeat("0123456\n", 1<<20)+"needle\n")
	must(t, os.Symlink("good.txt", s.onDisk("link.txt")))
	must(t, os.Symlink(".", s.onDisk("loop")))
	must(t, os.Symlink("/etc", s.onDisk("etc")))
	must(t, syscall.Mkfifo(s.onDisk("fifo"), 0o600))
	must(t, os.WriteFile(s.onDisk("huge"), nil, 0o600))
	must(t, os.Truncate(s.onDisk("huge"), 100<<20))
	res, err := s.Grep(t.Context(), tool.GrepRequest{Pattern: "needle"})
	if err != nil {
		t.Fatal(err)
	}
	got := found(res)
	for _, want := range []string{"good.txt:1:needle\n", "min.js:2:needle short\n", "two-blocks:1048577:needle\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if res.Matches != 4 || len(res.Files) != 4 {
		t.Errorf("%d matches in %d files, want 4 in 4:\n%s", res.Matches, len(res.Files), got)
	}
	for _, f := range res.Files {
		if text := f.Lines[0].Text; f.Path == "long.txt" && (len(text) > 510 || !strings.Contains(text, "needle")) {
			t.Errorf("a long line is shown as %q", text)
		}
	}
	notes := strings.Join(res.Notes, "\n")
	for _, want := range []string{"min.js has lines longer", "one-line has lines longer", "huge was skipped"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note %q in:\n%s", want, notes)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Grep(ctx, tool.GrepRequest{Pattern: "needle"})
	wantErr(t, "Grep with a context that has ended", err, context.Canceled)
}

func testGlob(t *testing.T, s Subject) {
	for _, name := range []string{"main.go", "z.go", "a/b.go", "a/b/c.go", "a/x.txt", ".git/h.go", ".hidden/v.go", ".sampan/output/o.go"} {
		s.write(t, name, "x")
	}
	must(t, os.Symlink("a", s.onDisk("link")))
	for name, tc := range map[string]struct {
		req  tool.GlobRequest
		want []string
	}{
		"name":         {tool.GlobRequest{Pattern: "*.go"}, []string{".hidden/v.go", "a/b/c.go", "a/b.go", "main.go", "z.go"}},
		"all depths":   {tool.GlobRequest{Pattern: "**/*.go"}, []string{".hidden/v.go", "a/b/c.go", "a/b.go", "main.go", "z.go"}},
		"one level":    {tool.GlobRequest{Pattern: "a/*"}, []string{"a/b/", "a/b.go", "a/x.txt"}},
		"below a path": {tool.GlobRequest{Pattern: "b/*", Path: "a"}, []string{"a/b/c.go"}},
		"braces":       {tool.GlobRequest{Pattern: "./a/*.{go,txt}"}, []string{"a/b.go", "a/x.txt"}},
		"absolute":     {tool.GlobRequest{Pattern: s.Workspace + "/a/*.txt"}, []string{"a/x.txt"}},
		"nothing":      {tool.GlobRequest{Pattern: "*.rs"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := s.Glob(t.Context(), tc.req)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, res.Paths); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if res.Total != len(tc.want) || res.Truncated {
				t.Errorf("total %d, truncated %v", res.Total, res.Truncated)
			}
		})
	}
	res, err := s.Glob(t.Context(), tool.GlobRequest{Pattern: "*.go", MaxPaths: 2})
	if err != nil || len(res.Paths) != 2 || res.Total != 5 || !res.Truncated {
		t.Errorf("bounded: %+v, %v", res, err)
	}
	for p, want := range map[tool.GlobRequest]error{
		{Pattern: ""}:                      tool.ErrInvalid,
		{Pattern: "[a"}:                    tool.ErrInvalid,
		{Pattern: "../*"}:                  tool.ErrInvalid,
		{Pattern: "/etc/*"}:                tool.ErrOutsideWorkspace,
		{Pattern: "*", Path: "/etc"}:       tool.ErrOutsideWorkspace,
		{Pattern: "*", Path: "missing"}:    tool.ErrNotFound,
		{Pattern: "*", Path: "main.go"}:    tool.ErrInvalid,
		{Pattern: "*", Path: "link/../.."}: tool.ErrOutsideWorkspace,
	} {
		_, err := s.Glob(t.Context(), p)
		wantErr(t, fmt.Sprintf("Glob %+v", p), err, want)
	}
}
