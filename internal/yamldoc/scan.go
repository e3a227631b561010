package yamldoc

import (
	"bytes"
	"fmt"

	"github.com/sampan-dev/sampan/internal/text"
)

// Check refuses a document that is over its limits. It reads the bytes once, with
// memory for Depth numbers, and needs no parser: what a document nests by brackets,
// by indentation and by "- - -", "? ? ?" in one line, and how many scalars, items,
// anchors, aliases and tags it has. Brackets within scalars and comments do not count.
func Check(data []byte, l Limits) error {
	if len(data) > l.Bytes {
		return &Problem{Message: fmt.Sprintf("the document has %d bytes, the limit is %d", len(data), l.Bytes)}
	}
	s := scanner{data: data, limits: l, line: 1, within: outside}
	for s.pos < len(s.data) {
		if p := s.scanLine(); p != nil {
			return p
		}
	}
	return nil
}

// outside says that no scalar goes on from an earlier line.
const outside = -2

// scanner goes through a document token by token and remembers only what nests.
type scanner struct {
	data   []byte
	limits Limits
	// pos is the next byte, in a line that began at lineStart.
	pos, line, lineStart int
	// flow counts open brackets and braces; indents are the columns of the block
	// collections around pos.
	flow    int
	indents []int
	nodes   int
	// empty says that between brackets nothing has come since the last comma.
	empty bool
	// within is the indentation of what holds the scalar that the line before left
	// open: lines that are indented further belong to it. outside if there is none.
	within int
}

// scanLine goes through one line, or, where a quoted scalar is longer, through several.
func (s *scanner) scanLine() *Problem {
	s.lineStart = s.pos
	for s.pos < len(s.data) && s.data[s.pos] == ' ' {
		s.pos++
	}
	column := s.column()
	s.skipBlanks()
	switch {
	case s.atLineEnd():
		s.endLine()
		return nil
	case s.within != outside && column > s.within && !s.atMarker():
		s.skipLine()
		return nil
	}
	s.within = outside
	if s.flow == 0 {
		for len(s.indents) > 0 && s.indents[len(s.indents)-1] > column {
			s.indents = s.indents[:len(s.indents)-1]
		}
	}
	for !s.atLineEnd() {
		if p := s.scanToken(); p != nil {
			return p
		}
		s.skipBlanks()
	}
	s.endLine()
	return nil
}

// scanToken goes past one token, which is not in the middle of a scalar.
func (s *scanner) scanToken() *Problem {
	column := s.column()
	switch c := s.data[s.pos]; {
	case c == '#':
		s.skipToLineEnd()
		return nil
	case s.atMarker():
		s.pos += len("---")
		s.flow, s.indents = 0, s.indents[:0]
		return s.node()
	case s.atFlow(c):
		return s.scanFlow(c)
	case c == '&' || c == '*' || c == '!':
		s.skipProperty()
		return s.node()
	case s.flow == 0 && (c == '|' || c == '>'):
		s.skipToLineEnd()
		s.within = s.parent()
		return s.node()
	case (c == '-' || c == '?' || c == ':') && s.blankAt(s.pos+1):
		s.pos++
		if s.flow == 0 {
			s.push(column)
		}
		return s.node()
	case c == '"' || c == '\'':
		s.skipQuoted(c)
		return s.endScalar(column)
	}
	s.skipPlain()
	return s.endScalar(column)
}

// skipProperty goes past an anchor, an alias or a tag.
func (s *scanner) skipProperty() {
	for s.pos < len(s.data) && !blank(s.data[s.pos]) && (s.flow == 0 || !flowIndicator(s.data[s.pos])) {
		s.pos++
	}
}

// atFlow says that scanFlow is for the sign that comes.
func (s *scanner) atFlow(c byte) bool {
	return c == '[' || c == '{' || s.flow > 0 && (c == ']' || c == '}' || c == ',')
}

// scanFlow goes past a sign that begins, ends or parts a list or a mapping in
// brackets.
func (s *scanner) scanFlow(c byte) (p *Problem) {
	s.pos++
	switch c {
	case ']', '}':
		s.flow--
		return nil
	case ',':
		if s.empty {
			p = s.node()
		}
	default:
		s.flow++
		p = s.node()
	}
	s.empty = true
	return p
}

// endScalar counts a scalar, and the mapping whose key it is.
func (s *scanner) endScalar(column int) *Problem {
	s.skipBlanks()
	if s.pos < len(s.data) && s.data[s.pos] == ':' && (s.flow > 0 || s.blankAt(s.pos+1)) {
		s.pos++
		if s.flow == 0 {
			s.push(column)
		}
	} else if s.flow == 0 && s.atLineEnd() {
		s.within = s.parent()
	}
	return s.node()
}

// node counts one node and looks at both limits.
func (s *scanner) node() *Problem {
	s.nodes++
	s.empty = false
	switch {
	case len(s.indents)+s.flow > s.limits.Depth:
		return &Problem{Line: s.line, Column: s.column(), Message: tooDeep(s.limits)}
	case s.nodes > s.limits.Nodes:
		return &Problem{Line: s.line, Column: s.column(), Message: tooMany(s.limits)}
	}
	return nil
}

func tooDeep(l Limits) string { return fmt.Sprintf("is nested deeper than %d levels", l.Depth) }

func tooMany(l Limits) string {
	return fmt.Sprintf("the document has more than %s", text.Plural(l.Nodes, "value"))
}

// push opens a block collection at a column, if it is not open already.
func (s *scanner) push(column int) {
	if column > s.parent() && len(s.indents) <= s.limits.Depth {
		s.indents = append(s.indents, column)
	}
}

// parent is the indentation of the innermost block collection.
func (s *scanner) parent() int {
	if len(s.indents) == 0 {
		return -1
	}
	return s.indents[len(s.indents)-1]
}

// skipQuoted goes past a quoted scalar, which may have several lines.
func (s *scanner) skipQuoted(quote byte) {
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == quote:
			s.pos++
			return
		case c == '\\' && quote == '"':
			s.pos++
			if s.pos < len(s.data) && s.data[s.pos] == '\n' {
				s.line, s.lineStart = s.line+1, s.pos+1
			}
		case c == '\n':
			s.line, s.lineStart = s.line+1, s.pos+1
		}
	}
	s.pos = min(s.pos, len(s.data))
}

// skipPlain goes past a plain scalar, or the part of it in this line.
func (s *scanner) skipPlain() {
	for begin := s.pos; !s.atLineEnd(); s.pos++ {
		switch c := s.data[s.pos]; {
		case s.flow > 0 && flowIndicator(c) && s.pos > begin,
			c == ':' && (s.blankAt(s.pos+1) || s.flow > 0 && flowIndicator(s.data[s.pos+1])) && s.pos > begin,
			c == '#' && s.pos > begin && blank(s.data[s.pos-1]):
			return
		}
	}
}

func (s *scanner) column() int { return s.pos - s.lineStart }

// atMarker reports whether a document begins or ends here.
func (s *scanner) atMarker() bool {
	rest := s.data[s.pos:]
	return s.column() == 0 && (bytes.HasPrefix(rest, []byte("---")) || bytes.HasPrefix(rest, []byte("..."))) && s.blankAt(s.pos+3)
}

func (s *scanner) skipBlanks() {
	for s.pos < len(s.data) && (s.data[s.pos] == ' ' || s.data[s.pos] == '\t') {
		s.pos++
	}
}

func (s *scanner) atLineEnd() bool {
	return s.pos >= len(s.data) || s.data[s.pos] == '\n' || s.data[s.pos] == '\r'
}

func (s *scanner) skipToLineEnd() {
	for !s.atLineEnd() {
		s.pos++
	}
}

func (s *scanner) skipLine() {
	s.skipToLineEnd()
	s.endLine()
}

// endLine goes past a line's end, be it one byte or two.
func (s *scanner) endLine() {
	if s.pos < len(s.data) && s.data[s.pos] == '\r' {
		s.pos++
		if s.pos >= len(s.data) || s.data[s.pos] != '\n' {
			s.line++
			return
		}
	}
	s.pos++
	s.line++
}

func (s *scanner) blankAt(i int) bool { return i >= len(s.data) || blank(s.data[i]) }

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func flowIndicator(c byte) bool { return c == ',' || c == '[' || c == ']' || c == '{' || c == '}' }
