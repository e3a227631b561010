package terminal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFold(t *testing.T) {
	bar := func(what string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "\r%s %5d/%d [===>   ]", what, i+1, n)
		}
		return b.String()
	}
	for name, tc := range map[string]struct{ in, want string }{
		"plain":                    {"a\nb\n", "a\nb\n"},
		"no final newline":         {"a\nb", "a\nb"},
		"blank lines":              {"\n\na\n\n\n", "\n\na\n\n\n"},
		"tabs and spaces stay":     {"\ta  \n  b \n", "\ta  \n  b \n"},
		"CRLF":                     {"a\r\nb\r\n", "a\nb\n"},
		"colours":                  {"\x1b[1;31mred\x1b[0m \x1b[38;5;200mx\x1b[m\n", "red x\n"},
		"bar":                      {bar("get", 4000) + "\ndone\n", "get  4000/4000 [===>   ]\ndone\n"},
		"bar, wiped by blanks":     {"long text\r         \rok\n", "ok\n"},
		"bar, wiped":               {"long text\r\x1b[Kok\n", "ok\n"},
		"bar, wiped as a whole":    {"long text\x1b[2K\rok\n", "ok\n"},
		"shorter over longer":      {"Downloading\rDone\n", "Doneloading\n"},
		"bar of blocks":            {"\r 10%|█   | 1/9\r 20%|██  | 2/9\r100%|████| 9/9\n", "100%|████| 9/9\n"},
		"spinner":                  {"⠋ work\x1b[1G\x1b[0K⠙ work\x1b[1G\x1b[0K✔ done\n", "✔ done\n"},
		"backspace spinner":        {"wait |\b/\b-\b\\\b done\n", "wait  done\n"},
		"overstrike":               {"N\bNA\bAM\bME\bE _\bu\n", "NAME u\n"},
		"two bars":                 {"a 1\nb 1\n\x1b[2Aa 2\nb 2\n\x1b[2A\x1b[2Ka 3\n\x1b[2Kb 3\n", "a 3\nb 3\n"},
		"docker":                   {"#1 build\n#2 load 1s\n\x1b[1A\x1b[2K#2 load 2s\n\x1b[1A\x1b[0G\x1b[2K#2 DONE\nend", "#1 build\n#2 DONE\nend"},
		"bars that go":             {"out\na\nb\x1b[1A\r\x1b[Jdone\n", "out\ndone\n"},
		"up and down":              {"1\n2\n3\x1b[2A\rx\x1b[2B\ry\n", "x\n2\ny\n"},
		"previous line":            {"1\n2\n3\x1b[1Fx\x1b[1Ey\n", "1\nx\ny\n"},
		"save and restore":         {"1\n\x1b7two\nthree\x1b8TWO\n\n", "1\nTWO\nthree\n"},
		"title":                    {"\x1b]0;a title\aa\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", "alink\n"},
		"title never closed":       {"\x1b]0;a title\nimportant\n", "\nimportant\n"},
		"picture":                  {"a\x1bPq#0;2;0~~\x1b\\b\n", "ab\n"},
		"broken sequence":          {"a\x1b[12\nb\x1b\nc\x1b[\x1b[1md\n", "a\nb\ncd\n"},
		"sequence of two":          {"\x1b(Ba\x1b=b\x1b>\n", "ab\n"},
		"cleared screen":           {"first\n\x1b[2J\x1b[3J\x1b[Hsecond\n\x1b[H\x1b[Kthird\n", "first\nthird\n"},
		"cleared by reset":         {"first\x1bcsecond\n", "first\nsecond\n"},
		"full-screen program":      {"$ top\n\x1b[?1049hCPU\x1b[2;1HMEM\x1b[?1049l$ end\n", "$ top\nCPU\nMEM\n$ end\n"},
		"insert, delete, blank":    {"abcdef\r\x1b[2P\x1b[1@\x1b[3C\x1b[1X\n", " cd f\n"},
		"inserted into a long row": {strings.Repeat("a", maxCells) + "\r\x1b[512@b\n", strings.Repeat(" ", 512) + strings.Repeat("a", maxCells) + "b\n"},
		"lines in and out":         {"1\n2\n3\x1b[1A\r\x1b[1L\x1b[1Bx\r\x1b[1M\n", "1\n\n3\n"},
		"wide characters":          {"進捗 10%\r進捗 20%\n漢字\b\bx\n", "進捗 20%\n漢x\n"},
		"half a wide one":          {"漢\r\x1b[1Cx\n", " x\n"},
		"accents":                  {"e\u0301a\rx\n", "xa\n"},
		"no UTF-8 stays":           {"a\xff\xe9b\x00c\n\xc3", "a\xff\xe9b\x00c\n\xc3"},
		"bell":                     {"a\ab\x0e\x0fc\n", "abc\n"},
		"far right":                {"a\x1b[99999Cb\n", "a" + strings.Repeat(" ", maxColumn) + "b\n"},
		"far down":                 {"a\x1b[99999Bb", "a" + strings.Repeat("\n", maxRows/2) + " b"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(Fold([]byte(tc.in))); got != tc.want {
				t.Errorf("%q shows %q, want %q", tc.in, got, tc.want)
			}
			var b bytes.Buffer
			s := NewScreen(&b)
			for i := range len(tc.in) {
				if _, err := s.Write([]byte(tc.in[i : i+1])); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil || b.String() != tc.want {
				t.Errorf("byte by byte it shows %q, want %q", b.String(), tc.want)
			}
			// What is plain stays as it is.
			if again := string(Fold([]byte(tc.want))); again != tc.want {
				t.Errorf("folded again it is %q", again)
			}
		})
	}
}

// Many lines come out while they come in, and a bar among the last of them can
// still be drawn over.
func TestScreenIsBounded(t *testing.T) {
	var b bytes.Buffer
	s := NewScreen(&b)
	var want strings.Builder
	for i := range 100_000 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		if _, err := s.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.rows) > maxRows || b.Len() < want.Len()-maxRows*20 {
		t.Errorf("%d rows are held, %d bytes of %d given out", len(s.rows), b.Len(), want.Len())
	}
	_, _ = s.Write([]byte("\x1b[2Alast one\x1b[K"))
	_ = s.Close()
	if got := b.String(); !strings.HasSuffix(got, "line 99997\nlast one\nline 99999") {
		t.Errorf("ends %q", got[len(got)-60:])
	}
	// A line without an end is held no longer than it could be a bar.
	b.Reset()
	long := strings.Repeat("0123456789é", 100_000)
	_, _ = s.Write([]byte(long))
	if held := len(long) - b.Len(); held > 2*maxRowBytes {
		t.Errorf("%d bytes are held", held)
	}
	if _ = s.Close(); b.String() != long {
		t.Errorf("%d bytes came out of %d", b.Len(), len(long))
	}
}

// held is about the memory that a screen's rows take, and the most of one row.
func held(s *Screen) (all, most int) {
	for _, r := range s.rows {
		n := cap(r.text)
		for _, c := range r.cells {
			n += len(c)
		}
		n += 16 * cap(r.cells)
		all, most = all+n, max(most, n)
	}
	return all, most
}

// maxHeld is for the text or the cells of one row, and what slices grow by.
const maxHeld = 2*16*maxCells + 2*maxRowBytes

// No sequence makes a row grow without a bound, nor a long one stay, whatever is
// in the row: it would be the memory of the server that the program's pod has.
func TestSequencesAreBounded(t *testing.T) {
	fills := map[string]string{
		"a letter": "a\r", "a full row": strings.Repeat("a", maxCells-1), "a full row's begin": strings.Repeat("a", maxCells-1) + "\r",
		"a long text": strings.Repeat("a", maxRowBytes-1) + "\r\x1b[5C", "wide ones": strings.Repeat("漢", 4000) + "\r\x1b[3C",
		"cells": strings.Repeat("a", 5000) + "\rx\x1b[4999C",
	}
	repeated := []string{"x", "\t", "e\u0301", "\u0301", "漢", "\x1b[65535Cx", "\x1b[65535Gx", "\x1b[1;65535Hx", "\x1b[65535dx", "\x1b[2Kx", "\x1b[Lx", "\x1b[999Lx", "\x1b[Mx",
		"\x1b7\x1b[Lx\x1b8x", "\x1b[Kx\n", "\r\x1b[C\x1b[K\n", "\x1b[65535bx", "x\x1b[65535I"}
	for _, final := range "@ABCDEFGHIJKLMPSTXZ\x60abdefsu" {
		for _, n := range []int{1, 7, 512, 65535} {
			repeated = append(repeated, fmt.Sprintf("\x1b[%d%c", n, final), fmt.Sprintf("\x1b[%d%cx\r\x1b[3C", n, final))
		}
	}
	for name, fill := range fills {
		for _, seq := range repeated {
			s := NewScreen(io.Discard)
			for range 3 {
				_, _ = s.Write([]byte(fill))
				for range 60 {
					_, _ = s.Write([]byte(seq))
				}
				if _, most := held(s); most > maxHeld {
					t.Fatalf("%s, then %q: %d bytes are held of one row", name, seq, most)
				}
			}
		}
	}
}

// The marks on a row's characters are bounded, too.
func TestMarksAreBounded(t *testing.T) {
	s := NewScreen(io.Discard)
	_, _ = s.Write([]byte("a\rb"))
	for range maxCells - 10 {
		_, _ = s.Write([]byte("a" + strings.Repeat("\u0301", 40)))
		if _, most := held(s); most > maxHeld {
			t.Fatalf("%d bytes are held", most)
		}
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestScreenError(t *testing.T) {
	s := NewScreen(brokenWriter{})
	_, _ = s.Write([]byte("x"))
	if err := s.Close(); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
}

// Whatever comes: no panic, the same text however it is cut, nothing but text.
func FuzzFold(f *testing.F) {
	f.Add([]byte("a\r\x1b[2Kb\x1b[1A\x1b[10;10Hx\x1b[L\x1b[M漢\b"), uint64(1))
	f.Add([]byte("\x1b]0;x\x1b\\\x1b[5@\x1b[3P\x1b7\x1b8\x1bM\x1bD\xe6\xbc"), uint64(2))
	f.Add([]byte("a\r"+strings.Repeat("\x1b[512@", 100)), uint64(3))
	f.Add([]byte(strings.Repeat("a", 2*maxCells)+"\r\x1b[1C\x1b[K\n\x1b[X\x1b[2K\x1b[Lx"), uint64(4))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		want := Fold(in)
		var b bytes.Buffer
		s := NewScreen(&b)
		rnd := rand.New(rand.NewPCG(seed, 0))
		for p := in; len(p) > 0; {
			n := 1 + rnd.IntN(len(p))
			_, _ = s.Write(p[:n])
			p = p[n:]
			if all, most := held(s); most > maxHeld || all > 64*len(in)*maxColumn+maxHeld {
				t.Fatalf("%q: %d bytes are held, %d of one row", in, all, most)
			}
		}
		_ = s.Close()
		if !bytes.Equal(b.Bytes(), want) {
			t.Fatalf("%q gives %q in parts, %q at once", in, b.Bytes(), want)
		}
		if i := bytes.IndexFunc(want, func(r rune) bool { return r == 0x1b || r == '\r' || r == '\b' }); i >= 0 {
			t.Fatalf("%q gives %q", in, want)
		}
		if utf8.Valid(in) && !utf8.Valid(want) {
			t.Fatalf("%q gives %q, which is no UTF-8", in, want)
		}
		if limit := 10*len(in)*(maxColumn+maxRows) + 1000; len(want) > limit {
			t.Fatalf("%d bytes became %d", len(in), len(want))
		}
	})
}

func BenchmarkFold(b *testing.B) {
	var lines, bar bytes.Buffer
	for i := range 50_000 {
		fmt.Fprintf(&lines, "%d: a line of an ordinary build log\n", i)
		fmt.Fprintf(&bar, "\r%5d/50000 [======>        ]", i)
	}
	for name, data := range map[string][]byte{"lines": lines.Bytes(), "bar": bar.Bytes(), "utf-8": bytes.Repeat([]byte("日本語のログ é\n"), 50_000)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				Fold(data)
			}
		})
	}
}
