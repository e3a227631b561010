package tool

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// bom is the byte order mark with which some editors begin UTF-8 files.
const bom = "\ufeff"

// applyEdit replaces the one place where old is in data, and gives the line
// (counted from 1) at which the change begins. Models write "\n"; a file's own
// line ends, its byte order mark, and every byte outside of the change stay as
// they are.
func applyEdit(data []byte, old, new string) (out []byte, line int, err error) {
	if old == "" {
		return nil, 0, errors.New("old_text is empty. Give the text to replace; to add lines, give a line beside them and repeat it in new_text; to write a whole file use write_file.")
	}
	if old == new {
		return nil, 0, errors.New("old_text and new_text are the same. Nothing was done.")
	}
	if strings.Contains(old+new, "\r") && bytes.Count(data, []byte(old)) == 1 {
		// The model speaks of line ends itself: take it at its word.
		i := bytes.Index(data, []byte(old))
		return splice(data, i, i+len(old), []byte(new)), lineAt(data, i), nil
	}
	t := normalise(data)
	old, new = plain(old), plain(new)
	if old == new {
		return nil, 0, errors.New("old_text and new_text differ only in line ends or a byte order mark, which edit_file keeps. Use bash to change those.")
	}
	if old == "" {
		return nil, 0, errors.New("old_text holds nothing but a byte order mark.")
	}
	at := t.find(old)
	if len(at) == 0 {
		// The last line may have no line end where the model believes in one.
		if o := strings.TrimSuffix(old, "\n"); o != "" && o != old && strings.HasSuffix(t.text, o) {
			old, new = o, strings.TrimSuffix(new, "\n")
			at = []int{len(t.text) - len(o)}
		}
	}
	switch len(at) {
	case 0:
		return nil, 0, errors.New(explainMiss(t.text, old))
	case 1:
	default:
		return nil, 0, fmt.Errorf("old_text is there %s, in lines %s. Nothing was done. Take in more of the lines around the one you mean, so that it is there only once.",
			times(len(at)), t.lines(at))
	}
	out = t.replace(at[0], old, new)
	return out, 1 + strings.Count(t.text[:at[0]], "\n"), nil
}

func lineAt(data []byte, i int) int { return 1 + bytes.Count(data[:i], []byte("\n")) }

// plain brings a model's text into the form of normalised.text.
func plain(s string) string {
	return strings.ReplaceAll(strings.TrimPrefix(s, bom), "\r\n", "\n")
}

// normalised is a file without byte order mark, each of its line ends "\n".
type normalised struct {
	raw  []byte
	text string
	// start is where text begins in raw; crs are the offsets in text of each
	// "\n" that is "\r\n" in raw, in order.
	start int
	crs   []int
}

func normalise(raw []byte) *normalised {
	t := &normalised{raw: raw}
	if bytes.HasPrefix(raw, []byte(bom)) {
		t.start = len(bom)
	}
	body := raw[t.start:]
	if !bytes.Contains(body, []byte("\r\n")) {
		t.text = string(body)
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

// offset maps a place in text to raw. The place of a "\n" that is "\r\n" maps
// to its "\r".
func (t *normalised) offset(i int) int {
	n := countBelow(t.crs, i)
	return t.start + i + n
}

// countBelow counts the values below i in a sorted list.
func countBelow(sorted []int, i int) int {
	lo, hi := 0, len(sorted)
	for lo < hi {
		if mid := (lo + hi) / 2; sorted[mid] < i {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
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

// replace puts new in the place of old at i. What both have in common at their
// ends is not touched, so that mixed line ends survive there; lines in between
// get the line end of what they replace, or of their neighbours.
func (t *normalised) replace(i int, old, new string) []byte {
	head := commonPrefix(old, new)
	tail := commonPrefixReversed(old[head:], new[head:])
	from, to := i+head, i+len(old)-tail
	middle := new[head : len(new)-tail]
	if strings.Contains(middle, "\n") && t.crlfAt(from, to) {
		middle = strings.ReplaceAll(middle, "\n", "\r\n")
	}
	return splice(t.raw, t.offset(from), t.offset(to), []byte(middle))
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

func splice(data []byte, from, to int, middle []byte) []byte {
	out := make([]byte, 0, len(data)-(to-from)+len(middle))
	out = append(out, data[:from]...)
	out = append(out, middle...)
	return append(out, data[to:]...)
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
