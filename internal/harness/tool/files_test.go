package tool_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// seen gives the lines that read_file has shown, without numbers and notes.
func seen(result string) string {
	var b strings.Builder
	for line := range strings.Lines(result) {
		if number, text, ok := strings.Cut(line, "\t"); ok && strings.Trim(number, " 0123456789") == "" {
			b.WriteString(text)
		}
	}
	return b.String()
}

// What is read can be edited and written as it was shown, whatever the file is
// written in, and the model is told what it is.
func TestFormats(t *testing.T) {
	b := newBench(t, tool.Options{})
	for name, tc := range map[string]struct {
		data, shown string
		notes       string
		// old and new are an edit, edited and written the file after it and after a
		// rewrite of what was shown with 1 for 2.
		old, new, edited, written string
	}{
		"windows-1252": {
			data: "# caf\xe9 men\xfc\nprice = 1\n", shown: "# café menü\nprice = 1\n", notes: "looks like windows-1252",
			old: "price = 1", new: "prix = 1 # naïve", edited: "# caf\xe9 men\xfc\nprix = 1 # na\xefve\n", written: "# caf\xe9 men\xfc\nprice = 2\n",
		},
		"Shift_JIS": {
			data: "# \x90\xdd\x92\xe8\x83t\x83@\x83C\x83\x8b\nx = 1\n", shown: "# 設定ファイル\nx = 1\n", notes: "looks like Shift_JIS",
			old: "x = 1", new: "設定 = 1", edited: "# \x90\xdd\x92\xe8\x83t\x83@\x83C\x83\x8b\n\x90\xdd\x92\xe8 = 1\n", written: "# \x90\xdd\x92\xe8\x83t\x83@\x83C\x83\x8b\nx = 2\n",
		},
		"UTF-16": {
			data: "\xff\xfea\x00=\x001\x00\r\x00\n\x00", shown: "a=1\n", notes: "UTF-16LE, by its byte order mark",
			old: "a", new: "é", edited: "\xff\xfe\xe9\x00=\x001\x00\r\x00\n\x00", written: "\xff\xfea\x00=\x002\x00\r\x00\n\x00",
		},
		"UTF-16 without a mark": {
			data: "\x00a\x00=\x001\x00\n", shown: "a=1\n", notes: "looks like UTF-16BE",
			old: "a=1\n", new: "a=1\nb\n", edited: "\x00a\x00=\x001\x00\n\x00b\x00\n", written: "\x00a\x00=\x002\x00\n",
		},
		"byte order mark": {
			data: "\ufeffa 1\nb\n", shown: "a 1\nb\n", notes: "begins with a byte order mark",
			old: "a", new: "c", edited: "\ufeffc 1\nb\n", written: "\ufeffa 2\nb\n",
		},
		"stray bytes": {
			data: "größer na\xefve 1\n", shown: "größer na<EF>ve 1\n", notes: "1 byte is not UTF-8 and shown in hexadecimal",
			old: "na<EF>ve", new: "tr<EF>s na<EF>ve é", edited: "größer tr\xefs na\xefve é 1\n", written: "größer na\xefve 2\n",
		},
		"terminal sequences": {
			data: "\x1b[32mok\x1b[0m 1 tests\n", shown: "␛[32mok␛[0m 1 tests\n", notes: "2 control characters are shown as a picture",
			old: "␛[32mok␛[0m 1", new: "␛[31mno␛[0m 3", edited: "\x1b[31mno\x1b[0m 3 tests\n", written: "\x1b[32mok\x1b[0m 2 tests\n",
		},
		"escapes as they are": {
			data: "\x1b[32mok 1\n", shown: "␛[32mok 1\n", notes: "1 control character is",
			old: "\x1b[32mok", new: "\x1b[31mno", edited: "\x1b[31mno 1\n", written: "\x1b[32mok 2\n",
		},
		"CRLF": {
			data: "a 1\r\nb\r\n", shown: "a 1\nb\n", notes: "line ends are CRLF",
			old: "b", new: "b\nc", edited: "a 1\r\nb\r\nc\r\n", written: "a 2\r\nb\r\n",
		},
		"CR": {
			data: "a 1\rb\rc", shown: "a 1\nb\nc\n", notes: "line ends are CR;",
			old: "b\nc", new: "b\nx\nc", edited: "a 1\rb\rx\rc", written: "a 2\rb\rc\r",
		},
		"no-break space": {
			data: "a\u00a01\n", shown: "a\u00a01\n", notes: "U+00A0 NO-BREAK SPACE (line 1)",
			old: "a\u00a01", new: "b", edited: "b\n", written: "a\u00a02\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, how := range []string{"edit", "write"} {
				b.put("f", tc.data, 0o644)
				got := b.ok("read_file", m{"path": "f"})
				if seen(got) != tc.shown || !strings.Contains(got, tc.notes) {
					t.Errorf("read_file gave %q", got)
				}
				want := tc.edited
				if how == "edit" {
					b.ok("edit_file", m{"path": "f", "old_text": tc.old, "new_text": tc.new})
				} else {
					want = tc.written
					b.ok("write_file", m{"path": "f", "content": strings.Replace(seen(got), "1", "2", 1)})
				}
				b.holds("f", want)
			}
		})
	}
}

// What a file's encoding does not have is refused by its name.
func TestUnencodable(t *testing.T) {
	b := newBench(t, tool.Options{})
	const data = "# caf\xe9 men\xfc\n"
	b.put("f", data, 0o644)
	b.bad("edit_file", m{"path": "f", "old_text": "menü", "new_text": "menü → 日"}, "windows-1252, does not have U+2192 RIGHTWARDS ARROW, U+65E5", "iconv")
	b.ok("read_file", m{"path": "f"})
	b.bad("write_file", m{"path": "f", "content": "→"}, "does not have U+2192")
	b.holds("f", data)
}

func TestLookAlikes(t *testing.T) {
	b := newBench(t, tool.Options{})
	for name, tc := range map[string]struct {
		data, old, new, want string
		// says is in the result, of a refusal where want is empty.
		says string
	}{
		"no-break space":     {"the list in\u00a0current order\n", "the list in current order", "the list in random order", "the list in\u00a0random order\n", "at 1:12 the file has U+00A0 NO-BREAK SPACE where old_text has U+0020 SPACE"},
		"quotes":             {"ask “what next” each time\n", `ask "what next" each time`, `ask "what next" ever`, "ask “what next” ever\n", "U+201C LEFT DOUBLE QUOTATION MARK"},
		"two changes":        {"say ‘a’ and ‘b’ now\n", "say 'a' and 'b' now", "we say 'a' and 'b' later", "we say ‘a’ and ‘b’ later\n", "U+2018"},
		"other way round":    {"it's\n", "it’s", "it’s not", "it's not\n", "U+0027 APOSTROPHE where old_text has U+2019"},
		"accent apart":       {"cafe\u0301 opens at nine\n", "café opens at nine", "café opens at ten", "cafe\u0301 opens at ten\n", "U+0301 COMBINING ACUTE ACCENT"},
		"accent together":    {"café nine\n", "cafe\u0301 nine", "cafe\u0301 ten", "café ten\n", "U+00E9"},
		"zero width":         {"foo\u200bbar = 1\n", "foobar = 1", "foobar = 2", "foo\u200bbar = 2\n", "U+200B ZERO WIDTH SPACE"},
		"dashes, dots":       {"1–2 … 3—4 −5\n", "1-2 ... 3-4 -5", "1-2 ... 3-4 -6", "1–2 … 3—4 −6\n", "U+2013 EN DASH"},
		"full width":         {"ｆ（ｘ）＝1\n", "f(x)=1", "f(x)=2", "ｆ（ｘ）＝2\n", "U+FF46 FULLWIDTH LATIN SMALL LETTER F"},
		"part of a dotted":   {"a… b\n", "a..", "x", "", "not in the file"},
		"several lines":      {"x\n\u00a0\u00a0if a:\r\n\u00a0\u00a0\u00a0\u00a0b\r\n", "  if a:\n    b\n", "  if a:\n    b\n    c\n", "x\n\u00a0\u00a0if a:\r\n\u00a0\u00a0\u00a0\u00a0b\r\n    c\r\n", "at 2:1"},
		"twice":              {"a\u00a0b\na\u202fb\n", "a b", "c", "", "twice, in lines 1, 2"},
		"exact comes first":  {"a\u00a0b\na b\n", "a b", "c", "a\u00a0b\nc\n", "line 2"},
		"Cyrillic":           {"p\u0430ssword = 1\n", "password = 1", "password = 2", "", "at 1:2 the file has U+0430 CYRILLIC SMALL LETTER A where old_text has U+0061 LATIN SMALL LETTER A"},
		"Greek, whole word":  {"\u03bf\u03bd\n", "ov", "x", "", "U+03BF GREEK SMALL LETTER OMICRON"},
		"ligature":           {"\ufb01le\n", "file", "x", "", "U+FB01 LATIN SMALL LIGATURE FI"},
		"raised digit":       {"x²\n", "x2", "y", "", "U+00B2 SUPERSCRIPT TWO"},
		"nothing but spaces": {"\u00a0\u00a0a\n", "  ", "x", "", "not in the file"},
	} {
		t.Run(name, func(t *testing.T) {
			b.put("f", tc.data, 0o644)
			b.ok("read_file", m{"path": "f"})
			res := b.call("edit_file", m{"path": "f", "old_text": tc.old, "new_text": tc.new})
			if res.IsError != (tc.want == "") || !strings.Contains(res.Content, tc.says) {
				t.Errorf("edit_file gave %+v", res)
			}
			if tc.want == "" {
				tc.want = tc.data
			}
			b.holds("f", tc.want)
		})
	}
}

// A whole file is written only over what the model knows of it.
func TestStaleWrite(t *testing.T) {
	b := newBench(t, tool.Options{})
	write := func(content string) m { return m{"path": "f", "content": content} }
	b.ok("write_file", write("a = 1\n"))
	b.ok("write_file", write("a = 2\n")) // its own
	b.ok("bash", m{"command": "echo generated >> f"})
	b.bad("write_file", write("a = 3\n"), "has changed since you last read or wrote it", "read_file")
	b.holds("f", "a = 2\ngenerated\n")
	b.ok("read_file", m{"path": "./f"})
	b.ok("write_file", write("a = 3\n"))
	b.ok("edit_file", m{"path": "f", "old_text": "3", "new_text": "4"})
	b.ok("write_file", write("a = 5\n"))
	// A file that is gone is made again.
	b.ok("bash", m{"command": "rm f"})
	if got := b.ok("write_file", write("a = 6\n")); !strings.HasPrefix(got, "Created f") {
		t.Errorf("got %q", got)
	}

	b.put("small", "key = secret\nlast", 0o644)
	if got := b.ok("write_file", m{"path": "small", "content": "x"}); got != "Replaced small: 1 line, 1 byte.\n[you had not read it; it held:\n     1\tkey = secret\n     2\tlast]" {
		t.Errorf("got %q", got)
	}
	large := strings.Repeat("a line of the file\n", 500)
	for name, data := range map[string]string{"large": large, "wide": strings.Repeat("x", 5000)} {
		b.put(name, data, 0o644)
		b.bad("write_file", m{"path": name, "content": "x"}, "you have not read it", "read_file")
		b.holds(name, data)
	}
	b.put("empty", "", 0o644)
	if got := b.ok("write_file", m{"path": "empty", "content": "x"}); got != "Replaced empty: 1 line, 1 byte." {
		t.Errorf("got %q", got)
	}
}

// A file is replaced only when all of it has been shown, in whatever parts.
func TestWriteOverPartlyRead(t *testing.T) {
	large := strings.Repeat("a line of the file\n", 500)
	for name, tc := range map[string]struct {
		data   string
		before func(b *bench)
		want   string // of the refusal, none if it is replaced
	}{
		"one line":        {large, func(b *bench) { b.ok("read_file", m{"path": "f", "limit": 1}) }, "you have not read all of it"},
		"beyond its end":  {large, func(b *bench) { b.bad("read_file", m{"path": "f", "offset": 900}) }, "you have not read all of it"},
		"all but the top": {large, func(b *bench) { b.ok("read_file", m{"path": "f", "offset": 2}) }, "you have not read all of it"},
		"with a gap": {large, func(b *bench) {
			b.ok("read_file", m{"path": "f", "limit": 249})
			b.ok("read_file", m{"path": "f", "offset": 251})
		}, "you have not read all of it"},
		"in parts, the last one first": {large, func(b *bench) {
			b.ok("read_file", m{"path": "f", "offset": 251})
			b.ok("read_file", m{"path": "f", "limit": 250})
		}, ""},
		"parts of two versions": {large, func(b *bench) {
			b.ok("read_file", m{"path": "f", "limit": 250})
			b.ok("bash", m{"command": "echo more >> f"})
			b.ok("read_file", m{"path": "f", "offset": 251})
		}, "you have not read all of it"},
		"edited unread": {large + "end\n", func(b *bench) { b.ok("edit_file", m{"path": "f", "old_text": "end", "new_text": "END"}) }, "you have not read all of it"},
		"read and edited": {large + "end\n", func(b *bench) {
			b.ok("read_file", m{"path": "f"})
			b.ok("edit_file", m{"path": "f", "old_text": "end", "new_text": "END"})
		}, ""},
		"a long line cut": {strings.Repeat("x", 2500), func(b *bench) { b.ok("read_file", m{"path": "f"}) }, "you have not read all of it"},
		"a long line in parts": {strings.Repeat("y", 2000) + "\n" + strings.Repeat("z", 1500), func(b *bench) {
			b.ok("read_file", m{"path": "f"})
			for _, line := range []int{1, 2} {
				for column := 1; column < 2000; column += 100 {
					b.call("read_file", m{"path": "f", "offset": line, "column": column})
				}
			}
		}, ""},
		"binary": {"a\x00b", func(b *bench) { b.bad("read_file", m{"path": "f"}, "is binary") }, "nor can it be shown"},
		"text that became binary": {"text\n", func(b *bench) {
			b.ok("read_file", m{"path": "f"})
			b.ok("bash", m{"command": `printf 'a\000b' > f`})
		}, "nor can it be shown"},
	} {
		t.Run(name, func(t *testing.T) {
			limit := 20_000
			if strings.HasPrefix(name, "a long line") {
				limit = 1000
			}
			b := newBench(t, tool.Options{MaxOutputBytes: limit})
			b.put("f", tc.data, 0o644)
			tc.before(b)
			if tc.want == "" {
				b.ok("write_file", m{"path": "f", "content": "x"})
				b.holds("f", "x")
				return
			}
			b.bad("write_file", m{"path": "f", "content": "x"}, tc.want, "Nothing was done")
			b.ok("bash", m{"command": "test $(wc -c < f) -gt 1"})
		})
	}
}

// A line that is too long for one result can be read in parts by the columns
// that are named, each byte once.
func TestLongLine(t *testing.T) {
	b := newBench(t, tool.Options{MaxOutputBytes: 3000})
	var line strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&line, "é%d,", i)
	}
	b.put("f", "first\n"+line.String()+"\nlast\n", 0o644)
	text := b.ok("read_file", m{"path": "f"})
	var got strings.Builder
	for range 60 {
		for l := range strings.Lines(text) {
			if l, ok := strings.CutPrefix(l, "     2\t"); ok {
				if _, rest, ok := strings.Cut(l, "[from column "); ok {
					_, l, _ = strings.Cut(rest, "] ")
				}
				l, _, _ = strings.Cut(l, " [... ")
				got.WriteString(strings.TrimSuffix(l, "\n"))
			}
		}
		_, next, ok := strings.Cut(text, "read on with ")
		if !ok {
			break
		}
		var offset, column int
		if _, err := fmt.Sscanf(next, "offset=%d, column=%d", &offset, &column); err != nil {
			t.Fatal(err)
		}
		if text = b.ok("read_file", m{"path": "f", "offset": offset, "column": column}); len(text) > 3000 {
			t.Fatalf("%d bytes", len(text))
		}
	}
	if got.String() != line.String() {
		t.Errorf("%d bytes were read of %d", got.Len(), line.Len())
	}
	b.bad("read_file", m{"path": "f", "offset": 1, "column": 99}, "line 1 ends before column 99")
}
