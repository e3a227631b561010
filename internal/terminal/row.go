package terminal

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// row is one row of a screen: text as long as it is only appended to, which is
// what nearly all are, and cells from then on.
type row struct {
	text []byte
	// width of text, in cells.
	width int
	cells []string
	// split says that cells hold the row. A wide character is in two cells, of
	// which the second is empty.
	split bool
	// wiped says that something was written over, or made blank.
	wiped bool
	// marks is the length of the marks that were joined to cells.
	marks int
}

func (r *row) clear() { *r = row{text: r.text[:0]} }

// len is counted in cells.
func (r *row) len() int {
	if r.split {
		return len(r.cells)
	}
	return r.width
}

// long says that the row is too long to be held.
func (r *row) long() bool {
	return len(r.text) > maxRowBytes || len(r.cells) > maxCells || r.marks > maxRowBytes/4
}

// append puts ASCII at the end.
func (r *row) append(p []byte) {
	if !r.split {
		r.text = append(r.text, p...)
		r.width += len(p)
		return
	}
	for _, c := range p {
		r.cells = append(r.cells, ascii[c:c+1])
	}
}

// ascii is a string of all ASCII characters, so that a cell needs no memory of its own.
var ascii = func() string {
	var b strings.Builder
	for c := range byte(utf8.RuneSelf) {
		b.WriteByte(c)
	}
	return b.String()
}()

func (r *row) toCells() {
	if r.split {
		return
	}
	text := r.text
	r.cells, r.split = make([]string, 0, r.width+16), true
	for len(text) > 0 {
		_, size := utf8.DecodeRune(text)
		switch w := cellsOf(text[:size]); {
		case size == 1 && text[0] < utf8.RuneSelf:
			r.cells = append(r.cells, ascii[text[0]:text[0]+1])
		case w == 0 && len(r.cells) > 0:
			r.join(len(r.cells), text[:size])
		default:
			r.cells = append(r.cells, string(text[:size]))
			if w == 2 {
				r.cells = append(r.cells, "")
			}
		}
		text = text[size:]
	}
	r.text = r.text[:0]
}

// put writes a character into w cells at x.
func (r *row) put(x int, char []byte, w int) {
	if x == r.len() && !r.split {
		r.text = append(r.text, char...)
		r.width += w
		return
	}
	r.toCells()
	r.wiped = r.wiped || x < len(r.cells)
	for len(r.cells) < x+w {
		r.cells = append(r.cells, " ")
	}
	r.breakWide(x)
	if x+w < len(r.cells) {
		r.breakWide(x + w)
	}
	if len(char) == 1 && char[0] < utf8.RuneSelf {
		r.cells[x] = ascii[char[0] : char[0]+1]
	} else {
		r.cells[x] = string(char)
	}
	if w == 2 {
		r.cells[x+1] = ""
	}
}

// breakWide makes blanks of a wide character whose second cell is x.
func (r *row) breakWide(x int) {
	if x > 0 && x < len(r.cells) && r.cells[x] == "" {
		r.cells[x-1], r.cells[x] = " ", " "
	}
}

// join adds a mark to the character before x.
func (r *row) join(x int, mark []byte) {
	if x == r.len() && !r.split {
		r.text = append(r.text, mark...)
		return
	}
	r.toCells()
	for x = min(x, len(r.cells)) - 1; x > 0 && r.cells[x] == ""; {
		x--
	}
	if x >= 0 && len(r.cells[x]) < 64 {
		r.cells[x] += string(mark)
		r.marks += len(mark)
	}
}

// cut removes all from x on.
func (r *row) cut(x int) {
	if x >= r.len() {
		return
	}
	r.toCells()
	r.breakWide(x)
	r.keep(r.cells[:x])
}

// keep makes the row of those cells, which are some of its own. It does not hold
// on to the memory of a row that was much longer.
func (r *row) keep(cells []string) {
	clear(r.cells[len(cells):])
	if r.cells = cells; cap(cells) > 2*maxCells && len(cells) <= maxCells {
		r.cells = slices.Clone(cells)
	}
}

// blank makes n cells from x on blank.
func (r *row) blank(x, n int) {
	r.toCells()
	r.wiped = true
	n = min(n, len(r.cells)-x)
	for i := range max(n, 0) {
		r.breakWide(x + i)
		if x+i+1 < len(r.cells) {
			r.breakWide(x + i + 1)
		}
		r.cells[x+i] = " "
	}
}

// remove takes out n cells from x on; what follows moves up.
func (r *row) remove(x, n int) {
	if x < r.len() {
		r.toCells()
		r.breakWide(x)
		end := min(x+n, len(r.cells))
		r.breakWide(end)
		r.keep(append(r.cells[:x], r.cells[end:]...))
	}
}

var blanks = slices.Repeat([]string{" "}, maxColumn)

// insert puts n blanks before x.
func (r *row) insert(x, n int) {
	if n = min(n, maxColumn); x < r.len() {
		r.toCells()
		r.breakWide(x)
		r.cells = slices.Insert(r.cells, x, blanks[:n]...)
	}
}

// bytes gives the row's text. Blanks at the end of what was written over are
// what has been wiped out.
func (r *row) bytes() []byte {
	if !r.split {
		return r.text
	}
	text := []byte(strings.Join(r.cells, ""))
	if r.wiped {
		text = bytes.TrimRight(text, " ")
	}
	return text
}

// cellsOf is how many cells a character takes.
func cellsOf(char []byte) int {
	c, size := utf8.DecodeRune(char)
	switch {
	case c == utf8.RuneError && size <= 1, c < 0x300:
		if c >= 0x80 && c < 0xa0 && size > 1 {
			return 0
		}
		return 1
	case c >= 0x3400 && c <= 0x9fff, c >= 0xac00 && c <= 0xd7a3, c >= 0x3041 && c <= 0x3096, c >= 0x30a0 && c <= 0x30ff:
		return 2 // most of what is wide, without a look into tables
	case unicode.In(c, unicode.Mn, unicode.Me), unicode.Is(unicode.Cf, c):
		return 0
	}
	switch width.LookupRune(c).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	default:
		return 1
	}
}
