package text

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestVisible(t *testing.T) {
	for name, tc := range map[string]struct{ in, want, inline string }{
		"plain":                 {"go test ./... 100%", "go test ./... 100%", ""},
		"other scripts":         {"Prüfung 测试 проверка δοκιμή €", "Prüfung 测试 проверка δοκιμή €", ""},
		"emoji":                 {"👩\u200d💻 1️⃣ 👩🏽\u200d🚀 🏳️\u200d🌈 ❤️", "👩\u200d💻 1️⃣ 👩🏽\u200d🚀 🏳️\u200d🌈 ❤️", ""},
		"a joiner that belongs": {"می\u200cخواهم क्\u200dष", "می\u200cخواهم क्\u200dष", ""},
		"colours":               {"\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`, ""},
		"a title":               {"\x1b]0;OWNED\x07\x1b[2J", `\x1b]0;OWNED\x07\x1b[2J`, ""},
		"a hyperlink":           {"\x1b]8;;http://evil\x1b\\text", `\x1b]8;;http://evil\x1b\text`, ""},
		"C1 as characters":      {"\u009b2J\u0085", `\u009b2J\u0085`, ""},
		"C1 as bytes":           {"\x9b2J\x90", `\x9b2J\x90`, ""},
		"backspaces":            {"rm -rf\x08\x08\x7f", `rm -rf\x08\x08\x7f`, ""},
		"lines":                 {"a\nb\r\nc\rd\te", "a\nb\nc\\rd    e", `a\nb\r\nc\rd\te`},
		"other lines":           {"a\u2028b\u2029c\vd\fe", `a\u2028b\u2029c\x0bd\x0ce`, ""},
		"directions":            {"a\u202egpj.exe\u2066x\u2069\u200f\u061c", `a\u202egpj.exe\u2066x\u2069\u200f\u061c`, ""},
		"no width":              {"pass\u200bword\u200d\u200c\u2060\ufeff\u00ad", `pass\u200bword\u200d\u200c\u2060\ufeff\u00ad`, ""},
		"fillers and selectors": {"\u3164\u115f\u034fa\ufe0f\U000e0100", `\u3164\u115f\u034fa\ufe0f\U000e0100`, ""},
		"tags":                  {"hi\U000e0068\U000e0069", `hi\U000e0068\U000e0069`, ""},
		"a NUL":                 {"a\x00b", `a\x00b`, ""},
		"half a character":      {"é"[:1] + "x", `\xc3x`, ""},
	} {
		if tc.inline == "" {
			tc.inline = tc.want
		}
		if got := Visible(tc.in); got != tc.want {
			t.Errorf("%s: Visible gives %q, want %q", name, got, tc.want)
		}
		if got := Inline(tc.in); got != tc.inline {
			t.Errorf("%s: Inline gives %q, want %q", name, got, tc.inline)
		}
	}
}

// hides finds a character that must not be shown: joiners have to have something
// to join.
func hides(s string) (rune, bool) {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") || unicode.IsControl(r) && r != '\n' {
			return r, true
		}
		if unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) && r != zeroWidthJoiner && r != zeroWidthNonJoiner {
			return r, true
		}
		if before, _ := utf8.DecodeLastRuneInString(s[:i]); before < 0x80 && unicode.Is(unicode.Cf, r) {
			return r, true
		}
	}
	return 0, false
}

func FuzzVisible(f *testing.F) {
	for _, s := range []string{"\x1b]0;x\x07", "\x9b2J", "a\u202eb", "👩\u200d💻", "a\u200d", "\xa9\u200d", "\U000e0041", "x\r\n\ty", "\xe2\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Visible(s)
		if r, found := hides(got); found {
			t.Errorf("%q is shown as %q, with %U", s, got, r)
		}
		if again := Visible(got); again != got {
			t.Errorf("%q is shown as %q, and that as %q", s, got, again)
		}
		for _, line := range []string{Inline(s), OneLine(s)} {
			if r, found := hides(line); found || strings.Contains(line, "\n") {
				t.Errorf("%q is %q on one line, with %U", s, line, r)
			}
		}
	})
}

// What is escaped means what it meant.
func FuzzEscapeJSON(f *testing.F) {
	for _, s := range []string{"\u009b2J\x7f", "a\u202eb", "👩\u200d💻", "\U000e0041\\", "\xe2\x80", "plain \" text\\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		data, err := json.Marshal(map[string]string{s: s})
		if err != nil {
			t.Fatal(err)
		}
		var want, got map[string]string
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		escaped := string(EscapeJSON(data))
		if r, found := hides(escaped); found || Visible(escaped) != escaped {
			t.Errorf("%q is %s, with %U", s, escaped, r)
		}
		if err := json.Unmarshal([]byte(escaped), &got); err != nil {
			t.Fatalf("%s: %v", escaped, err)
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s means %v, want %v", escaped, got, want)
			}
		}
	})
}

// A colour is one of ours, or a text that says so.
func TestWriter(t *testing.T) {
	var b strings.Builder
	w := NewColourWriter(&b)
	if err := w.Print(Part{Dim, "a\x1b[8mb"}, Part{Text: " c\u202e\n"}); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write([]byte("\x1b[31mx")); n != 6 || err != nil {
		t.Errorf("Write gives %d, %v", n, err)
	}
	if want := "\x1b[2ma\\x1b[8mb\x1b[0m c\\u202e\n\\x1b[31mx"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	b.Reset()
	if err := NewWriter(&b).Print(Part{Red, "no\n"}); err != nil || b.String() != "no\n" {
		t.Errorf("without colours: %q, %v", b.String(), err)
	}
}
