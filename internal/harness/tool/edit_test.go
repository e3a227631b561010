package tool

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// applyEdit is an edit of a file in UTF-8.
func applyEdit(data []byte, old, replacement string) ([]byte, int, error) {
	e, err := findEdit(string(data), old, replacement)
	if err != nil {
		return nil, 0, err
	}
	return slices.Concat(data[:e.from], []byte(e.middle), data[e.to:]), e.line, nil
}

func TestApplyEdit(t *testing.T) {
	for name, tc := range map[string]struct {
		data, old, new, want string
		line                 int
	}{
		"middle":                      {"a\nb\nc\n", "b", "B", "a\nB\nc\n", 2},
		"delete":                      {"a\nb\nc\n", "b\n", "", "a\nc\n", 2},
		"insert":                      {"a\nc\n", "a\n", "a\nb\n", "a\nb\nc\n", 1},
		"whole":                       {"a", "a", "b", "b", 1},
		"part of a line":              {"foo bar", "o b", "x", "foxar", 1},
		"no final newline":            {"a\nb", "b", "c", "a\nc", 2},
		"no final newline, believed":  {"a\nb", "b\n", "c\n", "a\nc", 2},
		"no final newline, all":       {"a\nb", "a\nb\n", "x\ny\nz\n", "x\ny\nz", 1},
		"crlf":                        {"a\r\nb\r\nc\r\n", "b\nc", "B\nX\nC", "a\r\nB\r\nX\r\nC\r\n", 2},
		"crlf given":                  {"a\r\nb\r\nc\r\n", "b\r\nc", "B\r\nC", "a\r\nB\r\nC\r\n", 2},
		"crlf, one line grows":        {"a\r\nb\r\n", "b", "b\nc", "a\r\nb\r\nc\r\n", 2},
		"crlf, from line end":         {"a\r\nb\r\n", "a\n", "x\n", "x\r\nb\r\n", 1},
		"crlf, join lines":            {"a\r\nb\r\n", "a\nb", "a b", "a b\r\n", 1},
		"crlf, delete line end":       {"a\r\nb\r\n", "a\n", "", "b\r\n", 1},
		"mixed, kept around":          {"a\r\nb\nc\r\nd\n", "a\nb\nc\n", "a\nX\nc\n", "a\r\nX\nc\r\nd\n", 1},
		"mixed, grows at crlf":        {"a\r\nb\nc\n", "a\nb", "a\nx\nb", "a\r\nx\r\nb\nc\n", 1},
		"mixed, grows at lf":          {"a\nb\r\nc\r\n", "a\n", "a\nx\n", "a\nx\nb\r\nc\r\n", 1},
		"lf given crlf":               {"a\nb\n", "a\r\nb", "a\r\nc", "a\nc\n", 1},
		"bom":                         {"\ufeffa\nb\n", "a\n", "x\n", "\ufeffx\nb\n", 1},
		"bom given":                   {"\ufeffa\n", "\ufeffa", "\ufeffx", "\ufeffx\n", 1},
		"bom and crlf":                {"\ufeffa\r\nb\r\n", "a\nb\n", "c\nd\n", "\ufeffc\r\nd\r\n", 1},
		"line ends on purpose":        {"a\r\nb\n", "a\r\n", "a\n", "a\nb\n", 1},
		"lone cr stays":               {"a\rb\nc\n", "c", "d", "a\rb\nd\n", 2},
		"not utf-8 stays":             {"\xff\xfe\na\n", "a", "b", "\xff\xfe\nb\n", 2},
		"characters":                  {"aé€😀b", "€😀", "ü", "aéüb", 1},
		"shares first bytes of runes": {"é", "é", "è", "è", 1},
		"repeated lines":              {"x\nx\ny\n", "x\ny", "x\nx\ny", "x\nx\nx\ny\n", 2},
	} {
		t.Run(name, func(t *testing.T) {
			got, line, err := applyEdit([]byte(tc.data), tc.old, tc.new)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tc.want || line != tc.line {
				t.Errorf("got %q at line %d, want %q at %d", got, line, tc.want, tc.line)
			}
		})
	}
}

func TestApplyEditRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ data, old, new, want string }{
		"empty":             {"a", "", "b", "old_text is empty"},
		"same":              {"a", "a", "a", "are the same"},
		"only line ends":    {"a\r\nb\r\nc\n", "a\nb\n", "a\r\nb\r\n", "only in line ends"},
		"twice":             {"a\nb\na\n", "a", "x", "twice, in lines 1, 3"},
		"many":              {strings.Repeat("a\n", 30), "a", "x", "30 times, in lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20 and 10 more"},
		"overlapping":       {"aaa", "aa", "b", "twice"},
		"spaces":            {"func f() {\n\treturn  1\n}\n", "func f() {\n    return 1\n}", "x", "     2\t\treturn  1\n"},
		"line numbers":      {"one\ntwo\n", "     1\tone\n     2\ttwo", "x", "line numbers of read_file"},
		"near":              {"alpha beta\ngamma delta\nfunction compute(a, b) {\n", "function compute(a, c) {", "x", "     3\tfunction compute(a, b) {"},
		"nothing similar":   {"alpha\n", "%%%%%%", "x", "nothing in it is similar"},
		"empty file":        {"", "a", "b", "not in the file"},
		"crlf twice":        {"a\r\nb\r\na\r\nb\r\n", "a\nb", "x", "twice, in lines 1, 3"},
		"only a mark":       {"\ufeffa", "\ufeff", "x", "byte order mark"},
		"end not at end":    {"ab\ncd", "ab\ncd\n\n", "x", "not in the file"},
		"case is different": {"Hello World\n", "hello world", "x", "     1\tHello World"},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := applyEdit([]byte(tc.data), tc.old, tc.new)
			if err == nil {
				t.Fatalf("gave %q, want an error", got)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q, want %q in it", err, tc.want)
			}
		})
	}
}

func FuzzApplyEdit(f *testing.F) {
	for _, s := range [][3]string{
		{"a\nb\r\nc", "b\n", "x\ny"}, {"\ufeffa\r\n", "a", ""}, {"a\r\r\nb", "\r\nb", "c"}, {"\r\n\r\n", "\n", "x"}, {"x", "x\n", "\n"},
	} {
		f.Add([]byte(s[0]), s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, data []byte, old, replacement string) {
		before := bytes.Clone(data)
		out, line, err := applyEdit(data, old, replacement)
		if !bytes.Equal(before, data) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			return
		}
		if line < 1 || line > 1+bytes.Count(data, []byte("\n")) {
			t.Fatalf("line %d of %q", line, data)
		}
		// What is read back as a model sees it must be the same edit on what it saw.
		if !strings.Contains(old+replacement, "\r") {
			seen, want := normalise(string(data)).text, ""
			if i := strings.Index(seen, plain(old)); i >= 0 {
				want = seen[:i] + plain(replacement) + seen[i+len(plain(old)):]
			} else {
				o := strings.TrimSuffix(plain(old), "\n")
				want = strings.TrimSuffix(seen, o) + strings.TrimSuffix(plain(replacement), "\n")
			}
			if got := normalise(string(out)).text; got != want && !strings.Contains(string(data), "\r") && !bytes.HasPrefix(out, []byte(bom)) {
				t.Fatalf("edit of %q: %q -> %q gave %q, want %q", data, old, replacement, got, want)
			}
		}
		if bytes.HasPrefix(data, []byte(bom)) && !strings.Contains(old+replacement, "\r") && !bytes.HasPrefix(out, []byte(bom)) {
			t.Fatal("the byte order mark was lost")
		}
	})
}
