package conformance

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

func testLines(t T, s Subject) {
	long := strings.Repeat("é", 3000)
	for name, tc := range map[string]struct {
		content         string
		r               tool.LineRange
		lines           []tool.Line
		total, crlf     int
		binary, noEnd   bool
		bom, cr         bool
		encoding        string
		controls, stray int
	}{
		"empty":                {content: ""},
		"one":                  {content: "a\n", lines: []tool.Line{{Text: "a"}}, total: 1},
		"no end":               {content: "a\nb", lines: []tool.Line{{Text: "a"}, {Text: "b"}}, total: 2, noEnd: true},
		"blank lines":          {content: "\n\n", lines: []tool.Line{{}, {}}, total: 2},
		"crlf":                 {content: "a\r\nb\r\n", lines: []tool.Line{{Text: "a"}, {Text: "b"}}, total: 2, crlf: 2},
		"mixed":                {content: "a\r\nb\n\r\n", lines: []tool.Line{{Text: "a"}, {Text: "b"}, {}}, total: 3, crlf: 2},
		"lone cr":              {content: "a\rb\n", lines: []tool.Line{{Text: "a␍b"}}, total: 1, controls: 1},
		"range":                {content: "1\n2\n3\n4\n", r: tool.LineRange{From: 2, Count: 2}, lines: []tool.Line{{Text: "2"}, {Text: "3"}}, total: 4},
		"beyond":               {content: "1\n", r: tool.LineRange{From: 9}, total: 1},
		"bytes":                {content: "12345\n12345\n12345\n", r: tool.LineRange{MaxBytes: 12}, lines: []tool.Line{{Text: "12345"}, {Text: "12345"}}, total: 3},
		"cut line":             {content: "abcdef\nx\n", r: tool.LineRange{MaxLineBytes: 3}, lines: []tool.Line{{Text: "abc", OmittedBytes: 3, Next: 4}, {Text: "x"}}, total: 2},
		"cut at character":     {content: long + "\r\n", r: tool.LineRange{MaxLineBytes: 3}, lines: []tool.Line{{Text: "é", OmittedBytes: 5998, Next: 3}}, total: 1, crlf: 1},
		"just fits":            {content: "abc\r\nabc\n", r: tool.LineRange{MaxLineBytes: 3}, lines: []tool.Line{{Text: "abc"}, {Text: "abc"}}, total: 2, crlf: 1},
		"stray byte":           {content: "é a\xffb\n", lines: []tool.Line{{Text: "é a<FF>b"}}, total: 1, stray: 1},
		"windows-1252":         {content: "caf\xe9\n", lines: []tool.Line{{Text: "café"}}, total: 1, encoding: "windows-1252"},
		"UTF-16":               {content: "\xff\xfea\x00\r\x00\n\x00\xe9\x00", lines: []tool.Line{{Text: "a"}, {Text: "é"}}, total: 2, crlf: 1, encoding: "UTF-16LE", bom: true, noEnd: true},
		"EUC-KR":               {content: "# \xbc\xb3\xc1\xa4 \xc6\xc4\xc0\xcf\n", lines: []tool.Line{{Text: "# 설정 파일"}}, total: 1, encoding: "EUC-KR"},
		"mark":                 {content: "\ufeffa\n", lines: []tool.Line{{Text: "a"}}, total: 1, bom: true},
		"colours":              {content: "\x1b[32mok\x1b[0m\n", lines: []tool.Line{{Text: "␛[32mok␛[0m"}}, total: 1, controls: 2},
		"late NUL":             {content: strings.Repeat("x", 8000) + "\n\x00\n", r: tool.LineRange{From: 2}, lines: []tool.Line{{Text: "␀"}}, total: 2, controls: 1},
		"CR alone":             {content: "a\rb\r", lines: []tool.Line{{Text: "a"}, {Text: "b"}}, total: 2, cr: true},
		"column":               {content: "abcdef\nx\n", r: tool.LineRange{Column: 3, MaxLineBytes: 2}, lines: []tool.Line{{Text: "cd", OmittedBytes: 2, Next: 5}, {Text: "x"}}, total: 2},
		"last column":          {content: "abcdef\r\n", r: tool.LineRange{Column: 6}, lines: []tool.Line{{Text: "f"}}, total: 1, crlf: 1},
		"beyond the line":      {content: "abc\r\nx", r: tool.LineRange{Column: 9}, lines: []tool.Line{{}, {Text: "x"}}, total: 2, crlf: 1, noEnd: true},
		"far column":           {content: strings.Repeat("é", 1<<20) + "end\n", r: tool.LineRange{Column: 1<<21 - 1}, lines: []tool.Line{{Text: "éend"}}, total: 1},
		"large file":           {content: strings.Repeat("0123456789abcde\n", 1<<20+1) + "caf\xe9", r: tool.LineRange{From: 1<<20 + 2}, lines: []tool.Line{{Text: "caf<E9>"}}, total: 1<<20 + 2, noEnd: true, stray: 1},
		"large file in UTF-16": {content: strings.Repeat("a\x00\n\x00", 5<<20), r: tool.LineRange{From: 5 << 20}, lines: []tool.Line{{Text: "a"}}, total: 5 << 20, encoding: "UTF-16LE"},
		"binary":               {content: "a\x00b\n", total: 1, binary: true},
		"very long":            {content: strings.Repeat("x", 1<<20) + "\ny", r: tool.LineRange{From: 2}, lines: []tool.Line{{Text: "y"}}, total: 2, noEnd: true},
	} {
		t.Run(name, func(t T) {
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
			if got.Encoding != tc.encoding || got.BOM != tc.bom || got.CR != tc.cr || got.Controls != tc.controls || got.Stray != tc.stray {
				t.Errorf("encoding %q, BOM %v, CR %v, %d controls, %d stray bytes", got.Encoding, got.BOM, got.CR, got.Controls, got.Stray)
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

func testGrep(t T, s Subject) {
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
		t.Run(name, func(t T) {
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
	testGrepEncodings(t, s)
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

// testGrepEncodings: what a file is written in is no reason not to find it.
func testGrepEncodings(t T, s Subject) {
	for name, content := range map[string]string{
		"latin-1": "x\n# caf\xe9 men\xfc\n", "utf-16": "\xff\xfex\x00\r\x00\n\x00c\x00a\x00f\x00\xe9\x00\r\x00\n\x00", "stray": "größer \xff café\n",
		"old-mac": "x\rcafé\ry", "mark": "\ufeffcafé\n", "colours": "\x1b[1mcafé\x1b[0m\n",
		"large": strings.Repeat("# caf\xe9 men\xfc\n", 1<<19) + "caf\xe9s\n", "long-line": strings.Repeat("é ", 100_000) + "café" + strings.Repeat(" ñ", 1000),
	} {
		s.write(t, "enc/"+name, content)
	}
	for name, tc := range map[string]struct {
		req  tool.GrepRequest
		want string
	}{
		"all":           {tool.GrepRequest{Pattern: "café", Include: "[!l]*"}, "enc/colours:1:␛[1mcafé␛[0m\nenc/mark:1:café\nenc/old-mac:2:café\nenc/stray:1:größer <FF> café\nenc/utf-16:2:café\n"},
		"start of line": {tool.GrepRequest{Pattern: "^café", Path: "enc", Include: "mark"}, "enc/mark:1:café\n"},
		"first line":    {tool.GrepRequest{Pattern: "^x$", Include: "utf-16"}, "enc/utf-16:1:x\n"},
		"latin-1":       {tool.GrepRequest{Pattern: "menü$", Include: "latin-1"}, "enc/latin-1:2:# café menü\n"},
		"large":         {tool.GrepRequest{Pattern: "cafés", Include: "large"}, "enc/large:524289:cafés\n"},
		"long line":     {tool.GrepRequest{Pattern: "nothing|café", Include: "long-line"}, ""},
	} {
		res, err := s.Grep(t.Context(), tc.req)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, found(res)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	// A file that is named is searched in its long lines, too, and says where a cut line begins.
	res, err := s.Grep(t.Context(), tool.GrepRequest{Pattern: "café", Path: "enc/long-line"})
	if err != nil || res.Matches != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	line := res.Files[0].Lines[0]
	lines, err := s.ReadLines(t.Context(), "enc/long-line", tool.LineRange{Column: line.Column, MaxLineBytes: 500})
	if err != nil || lines.Lines[0].Text != strings.Trim(line.Text, "…") || !strings.Contains(line.Text, "café") {
		t.Errorf("grep gives %+v, ReadLines from there %+v, %v", line, lines, err)
	}
}

func testGrepSkips(t T, s Subject) {
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

func testGlob(t T, s Subject) {
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
		t.Run(name, func(t T) {
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
