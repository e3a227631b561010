package tool

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sampan-dev/sampan/internal/textfile"
)

// bom is the byte order mark with which some editors begin UTF-8 files.
const bom = "\ufeff"

// edit is one change of a text: middle takes the place of text[from:to].
type edit struct {
	from, to int
	middle   string
	// line, counted from 1, is where the change begins.
	line int
	// notes are what the model should know of how its text was understood.
	notes []string
}

// findEdit finds the one place of a file's text where old is. Models write
// "\n" and plain characters; a file's own line ends, its byte order mark, and
// whatever is outside of the change stay as they are.
func findEdit(text, old, replacement string) (edit, error) {
	if old == "" {
		return edit{}, errors.New("old_text is empty. Give the text to replace; to add lines, give a line beside them and repeat it in new_text.")
	}
	if old == replacement {
		return edit{}, errors.New("old_text and new_text are the same. Nothing was done.")
	}
	if strings.Contains(old+replacement, "\r") && strings.Count(text, old) == 1 {
		// The model speaks of line ends itself: take it at its word.
		i := strings.Index(text, old)
		return edit{from: i, to: i + len(old), middle: replacement, line: lineAt(text, i)}, nil
	}
	t := normalise(text)
	old, replacement = plain(old), plain(replacement)
	if old == replacement {
		return edit{}, errors.New("old_text and new_text differ only in line ends or a byte order mark, which edit_file keeps.")
	}
	if old == "" {
		return edit{}, errors.New("old_text holds nothing but a byte order mark.")
	}
	at := t.find(old)
	if len(at) == 0 { // as read_file shows what cannot be shown as it is
		if o := textfile.Unshow(old, t.text); o != old {
			old, at = o, t.find(o)
		}
	}
	replacement = textfile.Unshow(replacement, t.text)
	if len(at) == 0 {
		// The last line may have no line end where the model believes in one.
		if o := strings.TrimSuffix(old, "\n"); o != "" && o != old && strings.HasSuffix(t.text, o) {
			old, replacement = o, strings.TrimSuffix(replacement, "\n")
			at = []int{len(t.text) - len(o)}
		}
	}
	if len(at) == 0 {
		if e, err := t.findAlike(old, replacement); e.line > 0 || err != nil {
			return e, err
		}
		if why := explainMiss(t.text, old); why != "" {
			return edit{}, errors.New(why)
		}
		return edit{}, errNothingSimilar
	}
	if len(at) > 1 {
		return edit{}, t.ambiguous(at)
	}
	return t.edit(at[0], old, replacement), nil
}

func (t *normalised) ambiguous(at []int) error {
	return fmt.Errorf("old_text is there %s, in lines %s. Nothing was done. Take in more of the lines around the one you mean, so that it is there only once.",
		times(len(at)), t.lines(at))
}

func lineAt(text string, i int) int { return 1 + strings.Count(text[:i], "\n") }

// plain brings a model's text into the form of normalised.text.
func plain(s string) string {
	return strings.ReplaceAll(strings.TrimPrefix(s, bom), "\r\n", "\n")
}

// normalised is a text without byte order mark, each of its line ends "\n".
type normalised struct {
	text string
	// start is where text begins in the original; crs are the offsets in text of
	// each "\n" that is "\r\n" there, in order.
	start int
	crs   []int
	// cr says that each "\n" is "\r" in the original.
	cr bool
}

func normalise(body string) *normalised {
	t := &normalised{}
	if strings.HasPrefix(body, bom) {
		t.start = len(bom)
	}
	body = body[t.start:]
	switch {
	case strings.IndexByte(body, '\n') < 0 && strings.IndexByte(body, '\r') >= 0:
		t.cr, t.text = true, strings.ReplaceAll(body, "\r", "\n")
		return t
	case !strings.Contains(body, "\r\n"):
		t.text = body
		return t
	}
	var b strings.Builder
	b.Grow(len(body))
	for i := 0; i < len(body); i++ {
		if body[i] == '\r' && i+1 < len(body) && body[i+1] == '\n' {
			t.crs = append(t.crs, b.Len())
			continue
		}
		b.WriteByte(body[i])
	}
	t.text = b.String()
	return t
}

// offset maps a place in text to the original. The place of a "\n" that is
// "\r\n" maps to its "\r".
func (t *normalised) offset(i int) int {
	n := countBelow(t.crs, i)
	return t.start + i + n
}

// countBelow counts the values below i in a sorted list.
func countBelow(sorted []int, i int) int {
	n, _ := slices.BinarySearch(sorted, i)
	return n
}

// maxShownMatches bounds how many line numbers an error names.
const maxShownMatches = 20

// find gives every place of old, also those that overlap.
func (t *normalised) find(old string) []int {
	var at []int
	for i := 0; i <= len(t.text)-len(old); {
		j := strings.Index(t.text[i:], old)
		if j < 0 {
			break
		}
		at = append(at, i+j)
		i += j + 1
	}
	return at
}

func (t *normalised) lines(at []int) string {
	var b strings.Builder
	for i, p := range at {
		switch {
		case i == maxShownMatches:
			fmt.Fprintf(&b, " and %d more", len(at)-i)
			return b.String()
		case i > 0:
			b.WriteString(", ")
		}
		fmt.Fprint(&b, 1+strings.Count(t.text[:p], "\n"))
	}
	return b.String()
}

// edit puts the replacement in the place of old at i. What both have in common at their
// ends is not touched, so that mixed line ends survive there; lines in between
// get the line end of what they replace, or of their neighbours.
func (t *normalised) edit(i int, old, replacement string) edit {
	head := commonPrefix(old, replacement)
	tail := commonPrefixReversed(old[head:], replacement[head:])
	return t.place(i, i+head, i+len(old)-tail, replacement[head:len(replacement)-tail])
}

// place is the edit that replaces from..to of text, of a match that begins at i.
func (t *normalised) place(i, from, to int, middle string) edit {
	switch {
	case t.cr:
		middle = strings.ReplaceAll(middle, "\n", "\r")
	case strings.Contains(middle, "\n") && t.crlfAt(from, to):
		middle = strings.ReplaceAll(middle, "\n", "\r\n")
	}
	return edit{from: t.offset(from), to: t.offset(to), middle: middle, line: lineAt(t.text, i)}
}

// crlfAt says which line end new lines at a place get: that of the first line
// end replaced, else of the line before, else of the line after.
func (t *normalised) crlfAt(from, to int) bool {
	isCR := func(nl int) bool {
		n := countBelow(t.crs, nl)
		return n < len(t.crs) && t.crs[n] == nl
	}
	if j := strings.IndexByte(t.text[from:to], '\n'); j >= 0 {
		return isCR(from + j)
	}
	if j := strings.LastIndexByte(t.text[:from], '\n'); j >= 0 {
		return isCR(j)
	}
	if j := strings.IndexByte(t.text[to:], '\n'); j >= 0 {
		return isCR(to + j)
	}
	return false
}

// commonPrefix is the length of what a and b share at their beginning, up to a
// line's end: cuts inside a line would be right too, but never help.
func commonPrefix(a, b string) int {
	n, line := 0, 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
		if a[n-1] == '\n' {
			line = n
		}
	}
	return line
}

// commonPrefixReversed is the same from the end: the length of the last lines
// that a and b share, each with the line end before it.
func commonPrefixReversed(a, b string) int {
	n, line := 0, 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
		if a[len(a)-n] == '\n' {
			line = n
		}
	}
	return line
}

func times(n int) string {
	if n == 2 {
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}
