package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"strings"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/textfile"
)

// Defaults and caps of ReadLines.
const (
	defaultLines     = 2000
	defaultLineBytes = 2000
	maxLinesBytes    = 1 << 20
	// maxLinesFile bounds what is hashed for one look at a few lines.
	maxLinesFile = 1 << 30
	// maxWholeText is the largest file that is looked at as a whole to tell its
	// format; of a larger one its first maxHead bytes must do.
	maxWholeText = 16 << 20
	maxHead      = 1 << 20
)

// ReadLines implements tool.Executor.
func (e *Engine) ReadLines(ctx context.Context, p string, r tool.LineRange) (*tool.Lines, error) {
	e.touch()
	r.From, r.Column = max(r.From, 1), max(r.Column, 1)
	def2(&r.Count, defaultLines)
	def2(&r.MaxLineBytes, defaultLineBytes)
	def2(&r.MaxBytes, maxLinesBytes)
	r.MaxBytes = min(r.MaxBytes, maxLinesBytes)
	r.MaxLineBytes = min(r.MaxLineBytes, maxLinesBytes)
	f, info, err := e.open(p)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info.Size > maxLinesFile {
		return nil, tooLarge(info.Path, info.Size, maxLinesFile)
	}
	raw := &counter{Hash: sha256.New()}
	text, err := openText(io.TeeReader(io.LimitReader(ctxReader{ctx, f}, maxLinesFile), raw), isOutput(info.Path))
	if err != nil {
		return nil, mapError(info.Path, err)
	}
	s := &lineScanner{r: r, out: &tool.Lines{FileInfo: *info, Binary: text.binary, CR: text.end == '\r'}}
	if !text.format.IsUTF8() {
		s.out.Encoding = text.format.Name()
	}
	if err := s.scan(text); err != nil {
		return nil, mapError(info.Path, err)
	}
	s.out.Size, s.out.Digest = raw.n, digestOf(raw.Sum(nil))
	return s.out, nil
}

func def2(v *int, d int) {
	if *v <= 0 {
		*v = d
	}
}

// counter is a hash that counts.
type counter struct {
	hash.Hash
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.Hash.Write(p)
}

// text is a stream of text in UTF-8, whatever the file is written in.
type text struct {
	io.Reader
	format textfile.Format
	binary bool
	// end is what ends a line: a carriage return where there is nothing else.
	end byte
}

// openText tells a file's format and decodes it. A command's output is taken for
// text, whatever it holds.
func openText(src io.Reader, output bool) (*text, error) {
	head, err := io.ReadAll(io.LimitReader(src, maxWholeText+1))
	if err != nil {
		return nil, err
	}
	t := &text{end: '\n'}
	sample := head
	if whole := len(head) <= maxWholeText; !whole {
		sample, _ = wholeRunes(head[:maxHead], nil)
	}
	if !output {
		t.format, t.binary = textfile.Detect(sample)
	}
	if t.binary {
		t.Reader = io.MultiReader(bytes.NewReader(head), src)
		return t, nil
	}
	if !t.format.IsUTF8() {
		sample = []byte(t.format.Decode(sample))
	}
	if bytes.IndexByte(sample, '\n') < 0 && bytes.IndexByte(sample, '\r') >= 0 {
		t.end = '\r'
	}
	t.Reader = t.format.Reader(io.MultiReader(bytes.NewReader(head), src))
	return t, nil
}

// lineScanner keeps the wanted lines and counts the rest.
type lineScanner struct {
	r   tool.LineRange
	out *tool.Lines

	line    []byte // of the current line, up to MaxLineBytes
	lineLen int
	last2   [2]byte
	kept    int
	full    bool
}

const bom = "\ufeff"

func (s *lineScanner) scan(t *text) error {
	br := bufio.NewReaderSize(t, 64<<10)
	if head, _ := br.Peek(len(bom)); !t.binary && string(head) == bom {
		s.out.BOM = true
		_, _ = br.Discard(len(bom)) // has been peeked
	}
	for {
		chunk, err := br.ReadSlice(t.end)
		s.chunk(chunk)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == nil || errors.Is(err, io.EOF) {
			s.endLine(err == nil)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
	}
}

// chunk takes a part of a line, with its line end if that has come.
func (s *lineScanner) chunk(p []byte) {
	before := s.lineLen
	s.lineLen += len(p)
	if n := len(p); n >= 2 {
		s.last2 = [2]byte(p[n-2:])
	} else if n == 1 {
		s.last2 = [2]byte{s.last2[1], p[0]}
	}
	if s.wanted() {
		p = p[min(max(s.skip()-before, 0), len(p)):]
		// Four more than shown, so that a line of just the limit is seen as such, end and all.
		if n := min(len(p), s.r.MaxLineBytes+4-len(s.line)); n > 0 {
			s.line = append(s.line, p[:n]...)
		}
	}
}

// skip is how much of the current line comes before what is wanted.
func (s *lineScanner) skip() int {
	if s.out.TotalLines+1 == s.r.From {
		return s.r.Column - 1
	}
	return 0
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
	case ended && !s.out.CR && s.lineLen >= 2 && s.last2 == [2]byte{'\r', '\n'}:
		s.out.CRLF++
		content -= 2
	case ended:
		content--
	default:
		s.out.NoFinalNewline = true
	}
	if s.wanted() {
		s.keep(max(content-s.skip(), 0))
	}
	s.out.TotalLines++
	s.line, s.lineLen, s.last2 = s.line[:0], 0, [2]byte{}
}

func (s *lineScanner) keep(content int) {
	part := s.line[:min(content, s.r.MaxLineBytes, len(s.line))]
	line := tool.Line{OmittedBytes: content - len(part)}
	if line.OmittedBytes > 0 {
		if cut, _ := wholeRunes(part, nil); len(cut) > 0 {
			part = cut
		}
		line.OmittedBytes = content - len(part)
		line.Next = s.skip() + len(part) + 1
	}
	if s.kept += len(part) + 1; s.kept > s.r.MaxBytes && len(s.out.Lines) > 0 {
		s.full = true
		return
	}
	var n textfile.Shown
	line.Text, n = textfile.Show(string(part))
	if s.out.CR { // where a line feed ends no line, it is a control like others
		n.Controls += strings.Count(line.Text, "\n")
		line.Text = strings.ReplaceAll(line.Text, "\n", "␊")
	}
	s.out.Controls += n.Controls
	s.out.Stray += n.Stray
	s.out.Lines = append(s.out.Lines, line)
}
