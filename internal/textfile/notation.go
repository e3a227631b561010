package textfile

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Shown counts what Show wrote in another way than it is.
type Shown struct {
	// Controls were written as control pictures, such as ␛ for U+001B, or as
	// <U+0085> where there is none.
	Controls int
	// Stray bytes, which are no UTF-8, were written in hexadecimal, as <E9>.
	Stray int
}

// Show writes a text so that each control character and each stray byte of it
// can be seen. Tabs and line feeds stay.
func Show(s string) (string, Shown) {
	var n Shown
	i := strings.IndexFunc(s, special)
	if i < 0 {
		return s, n
	}
	var b strings.Builder
	b.WriteString(s[:i])
	for i < len(s) {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			n.Stray++
			b.WriteString(strayName(s[i]))
		case r != utf8.RuneError && special(r):
			n.Controls++
			b.WriteString(controlName(r))
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String(), n
}

// ShowName is Show for the name of a file, in which a line feed or a tab is
// as special as any other control character.
func ShowName(s string) string {
	shown, _ := Show(s)
	return names.Replace(shown)
}

var names = strings.NewReplacer("\n", "␊", "\t", "␉")

// IsShown says that a name holds something that ShowName may have written.
func IsShown(s string) bool {
	return strings.ContainsAny(s, "<␡") || strings.IndexFunc(s, isPicture) >= 0
}

// special is true for what cannot be shown as it is; utf8.RuneError stands for
// itself or a stray byte.
func special(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError
}

func strayName(b byte) string { return fmt.Sprintf("<%02X>", b) }

func controlName(r rune) string {
	switch {
	case r < ' ':
		return string('␀' + r)
	case r == 0x7f:
		return "␡"
	}
	return fmt.Sprintf("<U+%04X>", r)
}

// Unshow turns what Show wrote of file back. Only what file holds is: a <E9>
// in a file without such a byte is three letters and their brackets; and what
// is there in both ways is left as it is.
func Unshow(s, file string) string {
	if strings.IndexFunc(file, special) < 0 || !IsShown(s) {
		return s
	}
	var pairs []string
	add := func(name, sign string) {
		if !strings.Contains(file, name) {
			pairs = append(pairs, name, sign)
		}
	}
	controls, pictures := map[rune]bool{}, false
	stray := map[byte]bool{}
	for i := 0; i < len(file); {
		r, size := utf8.DecodeRuneInString(file[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			stray[file[i]] = true
		case r != utf8.RuneError && special(r):
			controls[r] = true
			pictures = pictures || r < 0x80
		}
		i += size
	}
	for r := range controls {
		if r >= 0x80 {
			add(controlName(r), string(r))
		}
	}
	for b := range stray {
		add(strayName(b), string([]byte{b}))
	}
	// All pictures are meant as such where any is.
	if pictures && strings.IndexFunc(file, isPicture) < 0 {
		for r := range rune(0x80) {
			if special(r) {
				pairs = append(pairs, controlName(r), string(r))
			}
		}
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

func isPicture(r rune) bool { return r >= '␀' && r <= '␟' || r == '␡' }

// invisible characters are told of: a reader cannot see them, and a text without
// them does not match.
func invisible(r rune) bool {
	return r >= utf8.RuneSelf && (unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zs, r) && r != '\u3000')
}

// Invisible gives the characters beyond ASCII that look like nothing or like a
// space, each once, in the order in which they come, at most n.
func Invisible(s string, n int) []rune {
	var out []rune
	for _, r := range s {
		if len(out) < n && invisible(r) && !strings.ContainsRune(string(out), r) {
			out = append(out, r)
		}
	}
	return out
}
