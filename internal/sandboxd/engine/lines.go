package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// Defaults and caps of ReadLines.
const (
	defaultLines     = 2000
	defaultLineBytes = 2000
	maxLinesBytes    = 1 << 20
	// maxLinesFile bounds what is hashed for one look at a few lines.
	maxLinesFile = 1 << 30
	// sniffBytes is how much of a file is looked at to tell text from the rest, as in git.
	sniffBytes = 8000
)

// ReadLines implements tool.Executor.
func (e *Engine) ReadLines(ctx context.Context, p string, r tool.LineRange) (*tool.Lines, error) {
	e.touch()
	r.From = max(r.From, 1)
	def2(&r.Count, defaultLines)
	def2(&r.MaxLineBytes, defaultLineBytes)
	def2(&r.MaxBytes, maxLinesBytes)
	r.MaxBytes = min(r.MaxBytes, maxLinesBytes)
	f, info, err := e.open(p)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info.Size > maxLinesFile {
		return nil, tooLarge(info.Path, info.Size, maxLinesFile)
	}
	sum := sha256.New()
	src := io.LimitReader(ctxReader{ctx, f}, maxLinesFile)
	br := bufio.NewReaderSize(io.TeeReader(src, sum), 64<<10)
	s := &lineScanner{r: r, out: &tool.Lines{FileInfo: *info}}
	if head, _ := br.Peek(sniffBytes); bytes.IndexByte(head, 0) >= 0 {
		s.out.Binary = true
	}
	for {
		chunk, err := br.ReadSlice('\n')
		s.chunk(chunk)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == nil || errors.Is(err, io.EOF) {
			s.endLine(err == nil)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, mapError(info.Path, err)
		}
	}
	s.out.Size, s.out.Digest = s.size, digestOf(sum.Sum(nil))
	return s.out, nil
}

func def2(v *int, d int) {
	if *v <= 0 {
		*v = d
	}
}

// lineScanner keeps the wanted lines and counts the rest.
type lineScanner struct {
	r    tool.LineRange
	out  *tool.Lines
	size int64

	line    []byte // of the current line, up to MaxLineBytes
	lineLen int
	last2   [2]byte
	kept    int
	full    bool
}

// chunk takes a part of a line, with its line end if that has come.
func (s *lineScanner) chunk(p []byte) {
	s.size += int64(len(p))
	s.lineLen += len(p)
	if n := len(p); n >= 2 {
		s.last2 = [2]byte(p[n-2:])
	} else if n == 1 {
		s.last2 = [2]byte{s.last2[1], p[0]}
	}
	if s.wanted() {
		// Four more than shown, so that a line of just the limit is seen as such, end and all.
		if n := min(len(p), s.r.MaxLineBytes+4-len(s.line)); n > 0 {
			s.line = append(s.line, p[:n]...)
		}
	}
}

func (s *lineScanner) wanted() bool {
	n := s.out.TotalLines + 1
	return !s.out.Binary && !s.full && n >= s.r.From && n-s.r.From < s.r.Count
}

// endLine closes the current line; ended says that it had a line end.
func (s *lineScanner) endLine(ended bool) {
	if s.lineLen == 0 {
		return // the end of the file after a line end
	}
	content := s.lineLen
	switch {
	case ended && s.lineLen >= 2 && s.last2 == [2]byte{'\r', '\n'}:
		s.out.CRLF++
		content -= 2
	case ended:
		content--
	default:
		s.out.NoFinalNewline = true
	}
	if s.wanted() {
		s.keep(content)
	}
	s.out.TotalLines++
	s.line, s.lineLen, s.last2 = s.line[:0], 0, [2]byte{}
}

func (s *lineScanner) keep(content int) {
	text := s.line[:min(content, s.r.MaxLineBytes, len(s.line))]
	omitted := content - len(text)
	if omitted > 0 {
		cut, _ := wholeRunes(text, nil)
		omitted += len(text) - len(cut)
		text = cut
	}
	if s.kept += len(text) + 1; s.kept > s.r.MaxBytes && len(s.out.Lines) > 0 {
		s.full = true
		return
	}
	s.out.Lines = append(s.out.Lines, tool.Line{Text: strings.ToValidUTF8(string(text), "\uFFFD"), OmittedBytes: omitted})
}
