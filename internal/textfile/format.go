// Package textfile reads text files as they are: in whatever encoding, with
// bytes that belong to none, with control characters. What it shows of them can
// be turned back into the same bytes.
package textfile

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/runenames"
)

// UTF8 is the name of the encoding that needs no word.
const UTF8 = "UTF-8"

// Format is how a file writes its text. The zero value is UTF-8.
type Format struct {
	// name is that of the WHATWG Encoding Standard, or UTF-32LE or UTF-32BE.
	name string
	enc  encoding.Encoding
	// stateful encodings mean by a byte what an escape sequence before it says:
	// a piece cannot be replaced by itself.
	stateful bool
}

// Name of the encoding.
func (f Format) Name() string {
	if f.enc == nil {
		return UTF8
	}
	return f.name
}

// IsUTF8 is true for plain UTF-8, also with bytes in it that are not.
func (f Format) IsUTF8() bool { return f.enc == nil }

// Reader decodes a stream. Bytes that are not valid in the encoding become
// U+FFFD, except in UTF-8, where they stay.
func (f Format) Reader(r io.Reader) io.Reader {
	if f.enc == nil {
		return r
	}
	return transform.NewReader(r, f.enc.NewDecoder())
}

// Decode gives a file's text, a byte order mark included.
func (f Format) Decode(raw []byte) string {
	if f.enc == nil {
		return string(raw)
	}
	out, err := f.enc.NewDecoder().Bytes(raw)
	if err != nil { // decoders replace what they cannot read
		return strings.ToValidUTF8(string(raw), "\uFFFD")
	}
	return string(out)
}

// encode fails with an *UnencodableError.
func (f Format) encode(s string) ([]byte, error) {
	if f.enc == nil {
		return []byte(s), nil
	}
	out, err := f.enc.NewEncoder().Bytes([]byte(s))
	if err == nil && f.Decode(out) == s {
		return out, nil
	}
	e := &UnencodableError{Encoding: f.name}
	for _, r := range s {
		out, err := f.enc.NewEncoder().Bytes([]byte(string(r)))
		if (err != nil || f.Decode(out) != string(r)) && !slices.Contains(e.Runes, r) {
			e.Runes = append(e.Runes, r)
		}
	}
	return nil, e
}

// Splice replaces text[from:to], of the text that raw decodes to, and leaves
// every other byte of raw as it is. It fails with an *UnencodableError.
func (f Format) Splice(raw []byte, text string, from, to int, middle string) ([]byte, error) {
	if f.stateful {
		return f.encode(text[:from] + middle + text[to:])
	}
	m, err := f.encode(middle)
	if err != nil {
		return nil, err
	}
	a, err := f.offset(raw, from)
	if err != nil {
		return nil, err
	}
	b, err := f.offset(raw, to)
	if err != nil {
		return nil, err
	}
	return slices.Concat(raw[:a], m, raw[b:]), nil
}

// offset maps a place in the text to raw.
func (f Format) offset(raw []byte, at int) (int, error) {
	if f.enc == nil {
		return at, nil
	}
	// A decoder that has room for just so many bytes stops after the character
	// that fills it.
	n, read, err := f.enc.NewDecoder().Transform(make([]byte, at), raw, true)
	if n != at {
		return 0, fmt.Errorf("finding a place in text in %s: %w", f.name, err)
	}
	return read, nil
}

// Replace writes a whole new text in the format of the old one. What both have
// in common at their ends keeps its bytes. It fails with an *UnencodableError.
func (f Format) Replace(raw []byte, content string) ([]byte, error) {
	old := f.Decode(raw)
	if f.enc == nil || f.stateful {
		return f.encode(content)
	}
	from := 0
	for from < min(len(old), len(content)) && old[from] == content[from] {
		from++
	}
	from = runeStart(old, from)
	tail := 0
	for tail < min(len(old), len(content))-from && old[len(old)-1-tail] == content[len(content)-1-tail] {
		tail++
	}
	for tail > 0 && !utf8.RuneStart(old[len(old)-tail]) {
		tail--
	}
	return f.Splice(raw, old, from, len(old)-tail, content[from:len(content)-tail])
}

func runeStart(s string, i int) int {
	for i > 0 && i < len(s) && !utf8.RuneStart(s[i]) {
		i--
	}
	return i
}

// UnencodableError says which characters an encoding does not have.
type UnencodableError struct {
	Encoding string
	Runes    []rune
}

func (e *UnencodableError) Error() string {
	const most = 8
	var names []string
	for _, r := range e.Runes[:min(len(e.Runes), most)] {
		names = append(names, RuneName(r))
	}
	if n := len(e.Runes) - most; n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	return fmt.Sprintf("the encoding of the file, %s, does not have %s", e.Encoding, strings.Join(names, ", "))
}

// RuneName gives "U+00A0 NO-BREAK SPACE".
func RuneName(r rune) string {
	return strings.TrimSpace(fmt.Sprintf("U+%04X %s", r, runenames.Name(r)))
}

// sample gives those lines of data that are not plain ASCII, up to n bytes: a
// word that tells the encoding may be the only one in a long program.
func sample(data []byte, n int) []byte {
	var out []byte
	for len(data) > 0 && len(out) < n {
		line := data
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			line = data[:i+1]
		}
		data = data[len(line):]
		if i := slices.IndexFunc(line, func(b byte) bool { return b >= utf8.RuneSelf }); i >= 0 {
			line = line[max(0, i-n/4):]
			out = append(out, line[:min(len(line), n-len(out))]...)
		}
	}
	return out
}
