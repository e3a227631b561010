package text

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// hiding are the characters that nobody sees and that a terminal, or a reader,
// obeys: controls, marks of direction, joiners, what has no width, tags, and the
// separators that are line ends to some.
var hiding = []*unicode.RangeTable{
	unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp,
	unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Noncharacter_Code_Point,
}

// joined are the scripts that are not written right without joiners.
var joined = []*unicode.RangeTable{
	unicode.Arabic, unicode.Syriac, unicode.Nko, unicode.Mongolian, unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi,
	unicode.Gujarati, unicode.Oriya, unicode.Tamil, unicode.Telugu, unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Khmer,
}

const (
	zeroWidthNonJoiner = '\u200c'
	zeroWidthJoiner    = '\u200d'
	textStyle          = '\ufe0e'
	emojiStyle         = '\ufe0f'
	keycap             = '\u20e3'
)

// Visible makes a text safe to be shown, whoever wrote it: characters that would
// steer a terminal or hide from the reader are written as \x1b or \u202e. Line
// ends stay, a tab becomes spaces. What is visible already is not changed.
func Visible(s string) string { return visible(s, false) }

// Inline is Visible for what is to be on one line, such as a name: line ends and
// tabs are written out, too.
func Inline(s string) string { return visible(s, true) }

func visible(s string, inline bool) string {
	i := plain(s)
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	b.WriteString(s[:i])
	prev, _ := utf8.DecodeLastRuneInString(s[:i])
	for i < len(s) {
		r, size := utf8.DecodeRuneInString(s[i:])
		next, more := utf8.DecodeRuneInString(s[i+size:])
		if more == 0 {
			next = 0
		}
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' && !inline:
			b.WriteByte('\n')
		case r == '\r' && next == '\n' && !inline:
		case r == '\t' && !inline:
			b.WriteString("    ")
		case unicode.In(r, hiding...) && !joins(prev, r, next):
			escape(&b, r)
		default:
			b.WriteString(s[i : i+size])
		}
		prev, i = r, i+size
	}
	return b.String()
}

// plain is how much of a text is printable ASCII, which most texts are as a whole.
func plain(s string) int {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return i
		}
	}
	return len(s)
}

// joins reports whether a joiner or a selector does its work here: within an
// emoji, or between letters of a script that needs it.
func joins(prev, r, next rune) bool {
	if prev == utf8.RuneError || next == utf8.RuneError {
		return false // a byte that is no character, to be escaped itself
	}
	emoji := unicode.Is(unicode.So, prev) || unicode.Is(unicode.Sk, prev) && prev > 0xffff || prev == emojiStyle
	switch r {
	case zeroWidthJoiner:
		return emoji && unicode.In(next, unicode.So, unicode.Sm) || unicode.In(prev, joined...) && unicode.In(next, joined...)
	case zeroWidthNonJoiner:
		return unicode.In(prev, joined...) && unicode.In(next, joined...)
	case emojiStyle, textStyle:
		return unicode.In(prev, unicode.So, unicode.Sm) || next == keycap && strings.ContainsRune("0123456789#*", prev)
	}
	return false
}

// escape writes a character as Go and others do in a string.
func escape(b *strings.Builder, r rune) {
	switch {
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\r':
		b.WriteString(`\r`)
	case r == '\t':
		b.WriteString(`\t`)
	case r < 0x80:
		fmt.Fprintf(b, `\x%02x`, r)
	case r > 0xffff:
		fmt.Fprintf(b, `\U%08x`, r)
	default:
		fmt.Fprintf(b, `\u%04x`, r)
	}
}

// EscapeJSON gives JSON that means the same and in which nothing hides: JSON by
// itself escapes only the controls of ASCII.
func EscapeJSON(data []byte) []byte {
	return escapeQuoted(data, func(out []byte, r rune) []byte {
		high, low := utf16.EncodeRune(r)
		return fmt.Appendf(out, `\u%04x\u%04x`, high, low)
	})
}

// EscapeYAML does so with JSON that is read as YAML, which has no pairs of escapes.
func EscapeYAML(data []byte) []byte {
	return escapeQuoted(data, func(out []byte, r rune) []byte { return fmt.Appendf(out, `\U%08x`, r) })
}

func escapeQuoted(data []byte, wide func([]byte, rune) []byte) []byte {
	var out []byte
	done := 0
	for i := 0; i < len(data); {
		if data[i] < 0x7f {
			i++
			continue
		}
		r, size := utf8.DecodeRune(data[i:])
		if unicode.In(r, hiding...) {
			out = append(out, data[done:i]...)
			if r > 0xffff {
				out = wide(out, r)
			} else {
				out = fmt.Appendf(out, `\u%04x`, r)
			}
			done = i + size
		}
		i += size
	}
	if done == 0 {
		return data
	}
	return append(out, data[done:]...)
}

// Style is how a part of a line is shown on a terminal: the parameters of the
// sequence that selects it.
type Style string

// The styles in use.
const (
	Normal Style = ""
	Dim    Style = "2"
	Green  Style = "32"
	Red    Style = "31"
	Yellow Style = "33"
)

// Part is a piece of text in one style.
type Part struct {
	Style Style
	Text  string
}

// Writer is the only way to a terminal or a log: what is written to it comes out
// Visible. Colours are given apart from the text, in which they are as
// unwelcome as anything else. A character must not be cut by two writes.
type Writer struct {
	w io.Writer
	// colours shows styles, log keeps JSON what it is.
	colours, log bool
}

// NewWriter gives a Writer that shows no styles.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// NewColourWriter gives one that does.
func NewColourWriter(w io.Writer) *Writer { return &Writer{w: w, colours: true} }

// NewLogWriter gives one for lines of JSON, or of text.
func NewLogWriter(w io.Writer) *Writer { return &Writer{w: w, log: true} }

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	shown := p
	if w.log {
		shown = EscapeJSON(p)
	}
	if _, err := io.WriteString(w.w, Visible(string(shown))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Print writes parts, all at once.
func (w *Writer) Print(parts ...Part) error {
	var b strings.Builder
	for _, p := range parts {
		if p.Style == Normal || !w.colours {
			b.WriteString(Visible(p.Text))
			continue
		}
		b.WriteString("\x1b[" + string(p.Style) + "m" + Visible(p.Text) + "\x1b[0m")
	}
	_, err := io.WriteString(w.w, b.String())
	return err
}
