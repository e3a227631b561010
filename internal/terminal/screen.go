// Package terminal gives what is left on a terminal of a program's output:
// progress bars in their last state, no colours, no sequences.
package terminal

import (
	"bytes"
	"io"
	"unicode/utf8"
)

const (
	// maxRows is how far up a program can come back: more than there are lines of
	// any screen that it draws bars on. Rows beyond it are given out.
	maxRows = 256
	// maxRowBytes is the longest row that is held: more of it is given out.
	maxRowBytes = 64 << 10
	// maxCells is the same for a row of cells, which take more memory.
	maxCells = maxRowBytes / 8
	// maxColumn is how far right of a row's end a program can go.
	maxColumn = 512
)

// Screen takes a program's output and gives out the text that a terminal of
// unlimited width and height would show at the end. It holds no more than the
// last rows. What is cleared with the whole screen stays, as in a terminal's
// scrollback. Bytes that are no UTF-8, and NUL, pass through.
type Screen struct {
	out  io.Writer
	rows []*row
	// x and y are where the next character goes; x is counted in cells.
	x, y   int
	saveX  int
	saveY  int
	home   int // the row that a program takes for its screen's first
	parser parser
	// partial is the beginning of a character whose rest has not come.
	partial []byte
	err     error
	spare   *row
}

// NewScreen gives a screen that writes to out.
func NewScreen(out io.Writer) *Screen { return &Screen{out: out, rows: []*row{{}}} }

// Fold gives a whole output as a terminal would show it.
func Fold(output []byte) []byte {
	var b bytes.Buffer
	s := NewScreen(&b)
	_, _ = s.Write(output) // a buffer takes all
	_ = s.Close()
	return b.Bytes()
}

// Write takes output; an error is one of the writer below.
func (s *Screen) Write(p []byte) (int, error) {
	n := len(p)
	if len(s.partial) > 0 {
		p = append(s.partial, p...)
		s.partial = nil
	}
	for len(p) > 0 {
		if s.parser.state != ground {
			p = p[s.sequence(p):]
			continue
		}
		if i := plainRun(p); i > 0 {
			s.text(p[:i])
			p = p[i:]
			continue
		}
		if c := p[0]; c >= utf8.RuneSelf {
			if !utf8.FullRune(p) && len(p) < utf8.UTFMax {
				s.partial = bytes.Clone(p)
				break
			}
			_, size := utf8.DecodeRune(p)
			s.cell(p[:size])
			p = p[size:]
			continue
		}
		s.control(p[0])
		p = p[1:]
	}
	return n, s.err
}

// plainRun is how much of p goes where the cursor is: printable ASCII, tabs, and
// NUL, which no terminal shows, but without which its neighbours would be one word.
func plainRun(p []byte) int {
	for i, c := range p {
		if c < ' ' && c != '\t' && c != 0 || c >= 0x7f {
			return i
		}
	}
	return len(p)
}

// Close gives out what is still held.
func (s *Screen) Close() error {
	if len(s.partial) > 0 {
		s.cell(s.partial)
		s.partial = nil
	}
	last := len(s.rows) - 1
	for last > s.y && s.rows[last].len() == 0 {
		last--
	}
	for i, r := range s.rows[:last+1] {
		s.give(r.bytes())
		if i < last {
			s.give([]byte{'\n'})
		}
	}
	s.rows, s.x, s.y, s.home = []*row{{}}, 0, 0, 0
	return s.err
}

func (s *Screen) give(p []byte) {
	if s.err == nil && len(p) > 0 {
		_, s.err = s.out.Write(p)
	}
}

func (s *Screen) row() *row { return s.rows[s.y] }

// text puts printable ASCII where the cursor is.
func (s *Screen) text(p []byte) {
	if r := s.row(); s.x == r.len() {
		if r.append(p); r.long() {
			s.giveLong()
			return
		}
		s.x += len(p)
		return
	}
	for i := range p {
		s.cell(p[i : i+1])
	}
}

// cell puts one character where the cursor is.
func (s *Screen) cell(char []byte) {
	w, r := cellsOf(char), s.row()
	if w == 0 && s.x > 0 {
		if r.join(s.x, char); r.long() {
			s.giveLong()
		}
		return
	}
	w = max(w, 1)
	r.put(s.x, char, w)
	if s.x += w; r.long() {
		s.giveLong()
	}
}

// giveLong gives out all up to the cursor's row, without a line end: what is
// that long is no bar.
func (s *Screen) giveLong() {
	for i, r := range s.rows[:s.y+1] {
		s.give(r.bytes())
		if i < s.y {
			s.give([]byte{'\n'})
		}
	}
	s.rows = append([]*row{{}}, s.rows[s.y+1:]...)
	s.x, s.y, s.home, s.saveX, s.saveY = 0, 0, 0, 0, 0
}

// control is a control character outside of a sequence.
func (s *Screen) control(c byte) {
	switch c {
	case '\n', '\v', '\f':
		s.down()
		s.x = 0
	case '\r':
		s.x = 0
	case '\b':
		s.x = max(s.x-1, 0)
	case 0x1b:
		s.parser.state = escape
	}
}

// down goes to the next row, which is made if there is none.
func (s *Screen) down() {
	if s.y++; s.y < len(s.rows) {
		return
	}
	s.rows = append(s.rows, s.fresh())
	if len(s.rows) > maxRows {
		s.scroll()
	}
}

func (s *Screen) fresh() *row {
	if r := s.spare; r != nil {
		s.spare = nil
		return r
	}
	return &row{}
}

// scroll gives out the first row.
func (s *Screen) scroll() {
	first := s.rows[0]
	s.give(append(first.bytes(), '\n'))
	first.clear()
	s.spare = first
	s.rows = s.rows[1:]
	s.y--
	s.home, s.saveY = max(s.home-1, 0), max(s.saveY-1, 0)
}

// clear leaves what there is and begins a new screen below it.
func (s *Screen) clear() {
	s.y = len(s.rows) - 1
	if s.row().len() > 0 {
		s.down()
	}
	s.x, s.home = 0, s.y
}

// moveTo goes to a place, making the rows that it needs.
func (s *Screen) moveTo(y, x int) {
	y = min(max(y, 0), len(s.rows)-1+maxRows/2)
	for s.y = min(s.y, len(s.rows)-1); len(s.rows) <= y && len(s.rows) < maxRows; {
		s.rows = append(s.rows, s.fresh())
	}
	s.y = min(y, len(s.rows)-1)
	s.x = min(max(x, 0), s.row().len()+maxColumn)
}
