package openai

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A sign outside of Unicode's first plane may come in two events: servers in
// JavaScript cut between its two UTF-16 units ("\ud83d", then "\ude80"), others
// between its bytes. encoding/json replaces each half at once, and it is lost. So
// the pieces of a text are read with their halves, and made whole once joined.

// unquote reads a JSON string, which must be a valid one, and keeps half signs: a
// surrogate that stands alone becomes the three bytes that UTF-8 would have for
// it, and bytes that are no UTF-8 stay.
func unquote(data []byte) string {
	body := data[1 : len(data)-1]
	escape := indexEscape(body)
	if escape < 0 {
		return string(body)
	}
	out := make([]byte, 0, len(body))
	for escape >= 0 {
		out = append(out, body[:escape]...)
		c := body[escape+1]
		if c == 'u' {
			out = appendUnit(out, hex4(body[escape+2:escape+6]))
			body = body[escape+6:]
		} else {
			out = append(out, unescaped(c))
			body = body[escape+2:]
		}
		escape = indexEscape(body)
	}
	return string(append(out, body...))
}

func indexEscape(body []byte) int {
	for i, c := range body {
		if c == '\\' {
			return i
		}
	}
	return -1
}

func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // a quote, a slash or a backslash
}

func hex4(digits []byte) rune {
	var r rune
	for _, c := range digits {
		switch {
		case c >= 'a':
			c -= 'a' - 10
		case c >= 'A':
			c -= 'A' - 10
		default:
			c -= '0'
		}
		r = r<<4 | rune(c)
	}
	return r
}

// appendUnit appends a UTF-16 unit; a surrogate joins with one before it.
func appendUnit(out []byte, unit rune) []byte {
	if !utf16.IsSurrogate(unit) {
		return utf8.AppendRune(out, unit)
	}
	return append(out, 0xE0|byte(unit>>12&0x0F), 0x80|byte(unit>>6&0x3F), 0x80|byte(unit&0x3F))
}

// wholeSigns joins what unquote has kept apart: two surrogates become the sign
// that they stand for, and what is then still no UTF-8 becomes U+FFFD.
func wholeSigns(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var out strings.Builder
	out.Grow(len(s))
	for i := 0; i < len(s); {
		if high := surrogateAt(s, i); high != 0 {
			if r := utf16.DecodeRune(high, surrogateAt(s, i+3)); r != utf8.RuneError {
				out.WriteRune(r)
				i += 6
			} else {
				out.WriteRune(utf8.RuneError)
				i += 3
			}
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		out.WriteRune(r)
		i += size
	}
	return out.String()
}

// surrogateAt reads a surrogate in its three bytes; 0 where there is none.
func surrogateAt(s string, i int) rune {
	if i+3 > len(s) || s[i] != 0xED || s[i+1] < 0xA0 || s[i+1] > 0xBF || s[i+2]&0xC0 != 0x80 {
		return 0
	}
	return 0xD000 | rune(s[i+1]&0x3F)<<6 | rune(s[i+2]&0x3F)
}
