package terminal

import (
	"bytes"
	"strconv"
	"strings"
)

// The states of the parser of sequences, after ECMA-48.
const (
	ground = iota
	escape
	escapeSecond // one more byte ends it, such as ESC ( B
	csi
	str       // a title or a picture, up to its end
	strEscape // ESC within one
)

const (
	maxParameters = 64
	// maxString is the longest title or picture: what goes on longer was none.
	maxString = 256 << 10
)

type parser struct {
	state int
	// params of a control sequence, and the length of a string.
	params []byte
	length int
}

// sequence takes as much of p as belongs to the sequence that has begun.
func (s *Screen) sequence(p []byte) int {
	c, ps := p[0], &s.parser
	switch ps.state {
	case escape:
		return s.escaped(c)
	case escapeSecond:
		ps.state = ground
	case csi:
		switch {
		case c >= 0x40 && c <= 0x7e:
			ps.state = ground
			s.apply(c, string(ps.params))
			ps.params = ps.params[:0]
		case c >= 0x20 && c < 0x40 && len(ps.params) < maxParameters:
			ps.params = append(ps.params, c)
		default: // broken off
			ps.state, ps.params = ground, ps.params[:0]
			return 0
		}
	case str:
		return s.inString(p)
	case strEscape:
		if ps.state = ground; c != '\\' {
			ps.state = escape // a new sequence has broken it off
			return 0
		}
	}
	return 1
}

func (s *Screen) escaped(c byte) int {
	ps := &s.parser
	ps.state = ground
	switch c {
	case '[':
		ps.state = csi
	case ']', 'P', 'X', '^', '_':
		ps.state, ps.length = str, 0
	case '7':
		s.saveX, s.saveY = s.x, s.y
	case '8':
		s.moveTo(s.saveY, s.saveX)
	case 'M':
		s.moveTo(max(s.y-1, s.home), s.x)
	case 'D':
		s.down()
	case 'E':
		s.control('\n')
	case 'c':
		s.clear()
	default:
		switch {
		case c >= 0x20 && c < 0x30:
			ps.state = escapeSecond
		case c < 0x20 || c >= 0x7f:
			return 0 // no sequence
		}
	}
	return 1
}

// inString passes over a string. A line end ends it, too: nothing that a reader
// should see may vanish in a title that is never closed.
func (s *Screen) inString(p []byte) int {
	ps := &s.parser
	i := bytes.IndexAny(p, "\a\x1b\n\x18\x1a")
	if i < 0 {
		if ps.length += len(p); ps.length > maxString {
			ps.state = ground
		}
		return len(p)
	}
	switch p[i] {
	case 0x1b:
		ps.state = strEscape
	case '\n':
		ps.state = ground
		return i
	default:
		ps.state = ground
	}
	return i + 1
}

// apply does what a control sequence says of the cursor and the text; colours
// and modes say nothing of them.
func (s *Screen) apply(final byte, params string) {
	if strings.HasPrefix(params, "?") {
		if (final == 'h' || final == 'l') && (params == "?1049" || params == "?47" || params == "?1047") {
			s.clear() // the other screen of a full-screen program, and back
		}
		return
	}
	if params != "" && (params[0] < '0' || params[0] > ';') {
		return
	}
	first, second, _ := strings.Cut(params, ";")
	n := number(first, 1)
	if s.move(final, n, second) {
		return
	}
	s.erase(final, number(first, 0), n)
	// Also without a character a row becomes longer, or of cells, or another
	// one is at the cursor.
	if s.row().long() {
		s.giveLong()
	}
	s.x = min(s.x, s.row().len()+maxColumn)
}

// move does what a control sequence says of the cursor alone.
func (s *Screen) move(final byte, n int, second string) bool {
	switch final {
	case 'A':
		s.moveTo(max(s.y-n, min(s.home, s.y)), s.x)
	case 'B', 'e':
		s.moveTo(s.y+n, s.x)
	case 'C', 'a':
		s.moveTo(s.y, s.x+n)
	case 'D':
		s.moveTo(s.y, s.x-n)
	case 'E':
		s.moveTo(s.y+n, 0)
	case 'F':
		s.moveTo(max(s.y-n, min(s.home, s.y)), 0)
	case 'G', '`':
		s.moveTo(s.y, n-1)
	case 'd':
		s.moveTo(s.home+n-1, s.x)
	case 'H', 'f':
		s.moveTo(s.home+n-1, number(second, 1)-1)
	case 's':
		s.saveX, s.saveY = s.x, s.y
	case 'u':
		s.moveTo(s.saveY, s.saveX)
	default:
		return false
	}
	return true
}

// erase is what changes text: mode is the parameter of those that have 0 for
// their default, n that of the others.
func (s *Screen) erase(final byte, mode, n int) {
	r := s.row()
	switch final {
	case 'J':
		switch mode {
		case 0:
			r.cut(s.x)
			for i := s.y + 1; i < len(s.rows); i++ {
				s.rows[i].clear()
			}
		case 2, 3:
			s.clear()
		}
	case 'K':
		switch mode {
		case 0:
			r.cut(s.x)
		case 1:
			r.blank(0, s.x+1)
		case 2:
			r.clear()
		}
	case 'P':
		r.remove(s.x, n)
	case '@':
		r.insert(s.x, n)
	case 'X':
		r.blank(s.x, n)
	case 'L', 'M':
		s.shift(final == 'L', min(n, maxRows))
	}
}

// shift makes room for n rows at the cursor, or takes n out.
func (s *Screen) shift(in bool, n int) {
	if !in {
		n = min(n, len(s.rows)-s.y)
		s.rows = append(s.rows[:s.y:s.y], s.rows[s.y+n:]...)
		if s.y == len(s.rows) {
			s.rows = append(s.rows, &row{})
		}
		return
	}
	n = min(n, maxRows-len(s.rows))
	rows := append([]*row{}, s.rows[:s.y]...)
	for range n {
		rows = append(rows, &row{})
	}
	s.rows = append(rows, s.rows[s.y:]...)
}

// number reads a parameter; 0 means the default, as it does to a terminal.
func number(s string, def int) int {
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		return def
	}
	return min(n, 1<<16)
}
