package textfile

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/text/encoding/htmlindex"
)

// encoded gives text in an encoding, by its name in the WHATWG standard.
func encoded(t *testing.T, name, text string) []byte {
	t.Helper()
	enc, err := htmlindex.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	out, err := enc.NewEncoder().Bytes([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// samples are lines as they stand in sources, short on purpose.
var samples = []struct{ encoding, name, text string }{
	{"windows-1252", "windows-1252", "# café menü\nprice = 1\n"},
	{"windows-1252", "windows-1252", "/* Größe der Straße */\nint x;\n"},
	{"windows-1252", "windows-1252", "// “quoted” – dash’s\n"},
	{"windows-1252", "windows-1252", "ES: ¿Cómo está? ¡Bien! 5€, 20°\n"},
	{"windows-1252", "windows-1252", "© 2001 Müller GmbH\n"},
	{"windows-1252", "windows-1252", "français: «été» œuvre, Ünïcödé\n"},
	{"shift_jis", "Shift_JIS", "# 設定ファイルを読み込む\nx = 1\n"},
	{"shift_jis", "Shift_JIS", "表示能力 ソース\n"},
	{"euc-jp", "EUC-JP", "// エラー：ファイルがありません\n"},
	{"gbk", "GB18030", "// 测试配置文件\nint x;\n"},
	{"gbk", "GB18030", "错误：文件不存在\n"},
	{"big5", "Big5", "// 測試設定檔案\n"},
	{"euc-kr", "EUC-KR", "// 설정 파일을 읽는다\n"},
	{"euc-kr", "EUC-KR", "# 가격 = 1\n"},
	{"windows-1251", "windows-1251", "# ОШИБКА: файл не найден\n"},
	{"koi8-r", "KOI8-R", "# цена = 1\n"},
	{"windows-1250", "windows-1250", "Příliš žluťoučký kůň\n"},
	{"iso-8859-7", "ISO-8859-7", "Καλημέρα κόσμε\n"},
	{"iso-2022-jp", "ISO-2022-JP", "// 日本語です\nx\n"},
	{"utf-16le", "UTF-16LE", "a = 1\n"},
	{"utf-16be", "UTF-16BE", "héllo\n日本\n"},
	{"utf-16le", "UTF-16LE", "\ufeff日本語😀"},
	{"utf-8", "UTF-8", "日本語\x1b[0m\n"},
	{"utf-8", "UTF-8", "\ufeffplain"},
}

func TestDetect(t *testing.T) {
	for _, tc := range samples {
		raw := encoded(t, tc.encoding, tc.text)
		f, binary := Detect(raw)
		if binary || f.Name() != tc.name || f.Decode(raw) != tc.text {
			t.Errorf("%q in %s is taken for %s (binary: %v) and reads %q", tc.text, tc.encoding, f.Name(), binary, f.Decode(raw))
		}
		if out, err := io.ReadAll(f.Reader(bytes.NewReader(raw))); err != nil || string(out) != tc.text {
			t.Errorf("%q in %s streams as %q, %v", tc.text, tc.encoding, out, err)
		}
	}
}

func TestDetectOthers(t *testing.T) {
	for name, tc := range map[string]struct {
		raw    string
		format string
		binary bool
	}{
		"empty":                      {"", UTF8, false},
		"NUL":                        {"a\x00b\n", UTF8, true},
		"NUL-separated":              {"one\x00two\x00three\x00", UTF8, true},
		"program":                    {"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x3e\x00", UTF8, true},
		"little numbers":             {"\x01\x00\x02\x00\x03\x00\x04\x00", UTF8, true},
		"UTF-8 with a stray byte":    {"caf\xc3\xa9 na\xefve\n", UTF8, false},
		"many words of UTF-8, stray": {"größer älter über na\xefve\n", UTF8, false},
		"UTF-32 with a mark":         {"\xff\xfe\x00\x00a\x00\x00\x00", "UTF-32LE", false},
		"UTF-32 without":             {"\x00\x00\x00a\x00\x00\x00\n\x00\x00\x00b", "UTF-32BE", false},
		"half a surrogate":           {"\xff\xfea\x00\x00\xd8b\x00", UTF8, true},
	} {
		if f, binary := Detect([]byte(tc.raw)); f.Name() != tc.format && !tc.binary || binary != tc.binary {
			t.Errorf("%s: %s, binary: %v", name, f.Name(), binary)
		}
	}
}

// What is spliced in is in the file's encoding, and no other byte changes.
func TestSplice(t *testing.T) {
	for _, tc := range samples {
		raw := encoded(t, tc.encoding, tc.text)
		f, _ := Detect(raw)
		text := f.Decode(raw)
		for i := range text {
			out, err := f.Splice(raw, text, i, i, "xy")
			if err != nil {
				t.Fatal(err)
			}
			if got, want := f.Decode(out), text[:i]+"xy"+text[i:]; got != want {
				t.Fatalf("%s: spliced at %d it reads %q, want %q", tc.encoding, i, got, want)
			}
			if !f.stateful && len(out) != len(raw)+len(encoded(t, tc.encoding, "xy")) {
				t.Errorf("%s: bytes changed", tc.encoding)
			}
		}
	}
	// Two ways to write one character, of which an encoder knows but one.
	raw := []byte("\x93\xfa\x96\x7b\x8c\xea\x82\xcc\xfb\xfc\x82\xc6x\n") // 日本語の髙とx
	f, _ := Detect(raw)
	text := f.Decode(raw)
	i := strings.Index(text, "x")
	out, err := f.Splice(raw, text, i, i+1, "y")
	if want := strings.Replace(string(raw), "x", "y", 1); err != nil || string(out) != want {
		t.Errorf("%s: %q, %v; want %q", f.Name(), out, err, want)
	}
}

func TestUnencodable(t *testing.T) {
	raw := encoded(t, "windows-1252", "caf\u00e9\n")
	f, _ := Detect(raw)
	_, err := f.Splice(raw, f.Decode(raw), 0, 0, "→→ 日 ok")
	var e *UnencodableError
	if !errors.As(err, &e) || string(e.Runes) != "→日" {
		t.Fatalf("%v", err)
	}
	if want := "the encoding of the file, windows-1252, does not have U+2192 RIGHTWARDS ARROW, U+65E5 <CJK Ideograph>"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

func TestReplace(t *testing.T) {
	raw := []byte("\x93\xfa\x96\x7b\x8c\xea\x82\xcc\xfb\xfc\x82\xc6x\n") // 日本語の髙とx
	f, _ := Detect(raw)
	out, err := f.Replace(raw, strings.Replace(f.Decode(raw), "x", "本", 1))
	if want := strings.Replace(string(raw), "x", "\x96\x7b", 1); err != nil || string(out) != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
	for _, content := range []string{"", "短い", f.Decode(raw) + f.Decode(raw)} {
		out, err := f.Replace(raw, content)
		if err != nil || f.Decode(out) != content {
			t.Errorf("%q became %q, %v", content, f.Decode(out), err)
		}
	}
}

func TestShow(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\n": "plain\ttext\n",
		"\x1b[32mok\r":  "␛[32mok␍",
		"a\x00\x7fb":    "a␀␡b",
		"na\xefve \xc3": "na<EF>ve <C3>",
		"\u0085\u009b":  "<U+0085><U+009B>",
		"é�":            "é�",
	} {
		got, n := Show(in)
		if got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
		if (n != Shown{}) != (got != in) {
			t.Errorf("%q: %+v", in, n)
		}
		if back := Unshow(got, in); back != in {
			t.Errorf("%q came back as %q", in, back)
		}
	}
	for name, tc := range map[string]struct{ s, file, want string }{
		"nothing special":     {"<E9>␛", "plain", "<E9>␛"},
		"another byte":        {"<E9><EA>", "x\xe9", "\xe9<EA>"},
		"in both ways":        {"<E9>", "\xe9 <E9>", "<E9>"},
		"pictures themselves": {"␛", "\x1b ␛", "␛"},
		"a new control":       {"␇", "\x1b", "\a"},
	} {
		if got := Unshow(tc.s, tc.file); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestInvisible(t *testing.T) {
	if got := string(Invisible("a\u00a0b\u200bc\u00a0é\u3000\u202e", 2)); got != "\u00a0\u200b" {
		t.Errorf("%q", got)
	}
}

// No byte is lost on the way through Show and Unshow, nor by an edit of any file.
func FuzzFormat(f *testing.F) {
	f.Add([]byte("caf\xe9\n"), 2)
	f.Add([]byte("\xff\xfea\x00"), 1)
	f.Add([]byte("\x1b$B$3\x1b(B\n"), 1)
	f.Fuzz(func(t *testing.T, raw []byte, at int) {
		format, binary := Detect(raw)
		if binary {
			return
		}
		text := format.Decode(raw)
		if shown, _ := Show(text); !strings.ContainsAny(text, "<␡") && strings.IndexFunc(text, isPicture) < 0 && Unshow(shown, text) != text {
			t.Errorf("%q is shown as %q and comes back as %q", text, shown, Unshow(shown, text))
		}
		at = runeStart(text, min(max(at, 0), len(text)))
		out, err := format.Splice(raw, text, at, at, "x")
		if err != nil {
			t.Fatalf("%s: %v", format.Name(), err)
		}
		if len(out) < len(raw) {
			t.Errorf("%q became %q", raw, out)
		}
		if out, err = format.Splice(raw, text, at, at, ""); err != nil || !bytes.Equal(out, raw) {
			t.Errorf("%q in %s became %q, %v", raw, format.Name(), out, err)
		}
	})
}
