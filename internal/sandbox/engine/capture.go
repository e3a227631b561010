package engine

import (
	"io"
	"sync"
	"unicode/utf8"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/terminal"
)

// headTail keeps the first and the last bytes of a stream, at most limit
// together, however long the stream is.
type headTail struct {
	limit int
	head  []byte
	// tail is a ring once it has grown to its limit; next is where it continues.
	tail  []byte
	next  int
	total int64
}

func (h *headTail) headLimit() int { return h.limit - h.limit/2 }

func (h *headTail) write(p []byte) {
	h.total += int64(len(p))
	if n := min(h.headLimit()-len(h.head), len(p)); n > 0 {
		h.head = append(h.head, p[:n]...)
		p = p[n:]
	}
	limit := h.limit / 2
	if limit == 0 {
		return
	}
	if len(p) > limit {
		p = p[len(p)-limit:]
	}
	if n := min(limit-len(h.tail), len(p)); n > 0 {
		h.tail = append(h.tail, p[:n]...)
		p = p[n:]
	}
	for len(p) > 0 {
		n := copy(h.tail[h.next:], p)
		h.next = (h.next + n) % limit
		p = p[n:]
	}
}

// kept joins head and tail; cut is where they meet.
func (h *headTail) kept() (data []byte, cut int) {
	data = make([]byte, 0, len(h.head)+len(h.tail))
	data = append(data, h.head...)
	data = append(data, h.tail[h.next:]...)
	return append(data, h.tail[:h.next]...), len(h.head)
}

// bounded gives at most limit bytes of the stream: its head and its tail, with
// the offset of the cut and the count of what is missing there.
func (h *headTail) bounded(limit int) (data []byte, cut int, omitted int64) {
	data, cut = h.kept()
	if h.total <= int64(limit) && h.total == int64(len(data)) {
		return data, 0, 0
	}
	headLen := min(limit-limit/2, cut)
	if h.total == int64(len(data)) { // nothing lost yet: cut anywhere
		headLen = limit - limit/2
	}
	tailLen := min(limit/2, len(data)-headLen)
	head, tail := wholeRunes(data[:headLen], data[len(data)-tailLen:])
	out := append(head[:len(head):len(head)], tail...)
	return out, len(head), h.total - int64(len(out))
}

// wholeRunes drops the parts of a UTF-8 character that a cut has split.
// Bytes that never were UTF-8 stay as they are.
func wholeRunes(head, tail []byte) (h, t []byte) {
	for i := 1; i <= min(utf8.UTFMax-1, len(head)); i++ {
		if b := head[len(head)-i]; utf8.RuneStart(b) {
			if b >= utf8.RuneSelf && !utf8.FullRune(head[len(head)-i:]) {
				head = head[:len(head)-i]
			}
			break
		}
	}
	n := 0
	for n < min(utf8.UTFMax-1, len(tail)) && !utf8.RuneStart(tail[n]) {
		n++
	}
	if n == len(tail) || utf8.RuneStart(tail[n]) {
		tail = tail[n:]
	}
	return head, tail
}

// Write is that of io.Writer.
func (h *headTail) Write(p []byte) (int, error) {
	h.write(p)
	return len(p), nil
}

// stream is one of a command's outputs. With a screen before it, what is kept
// is what a terminal would show: a bar that is drawn a thousand times must not
// push out what matters.
type stream struct {
	headTail
	screen *terminal.Screen
}

func (s *stream) write(p []byte) {
	if s.screen == nil {
		s.headTail.write(p)
		return
	}
	_, _ = s.screen.Write(p) // headTail takes all
}

func (s *stream) close() {
	if s.screen != nil {
		_ = s.screen.Close() // the same
		s.screen = nil
	}
}

// capture collects what a command writes, in bounded memory: both streams'
// heads and tails, and everything in a file once that is not all.
type capture struct {
	mu       sync.Mutex
	limit    int
	out      stream
	err      stream
	total    int64
	terminal bool
	// raw is all that came, as long as there is no file that holds it and the
	// streams hold something else.
	raw    []byte
	dir    *spillDir
	file   *spillFile
	failed bool
}

func newCapture(limit int, dir *spillDir, req tool.ExecRequest) (*capture, error) {
	c := &capture{limit: limit, dir: dir, terminal: req.Terminal}
	for _, s := range []*stream{&c.out, &c.err} {
		if s.limit = limit; c.terminal {
			s.screen = terminal.NewScreen(&s.headTail)
		}
	}
	if req.OutputFile != "" {
		f, err := dir.at(req.OutputFile)
		if err != nil {
			return nil, err
		}
		c.file = f
	}
	return c, nil
}

// writers are one for both streams, or one for each.
func (c *capture) writers(merged bool) []io.Writer {
	w := []io.Writer{captureWriter{c, &c.out}, captureWriter{c, &c.err}}
	if merged {
		return w[:1]
	}
	return w
}

// captureWriter is one stream of a capture.
type captureWriter struct {
	capture *capture
	to      *stream
}

// Write implements io.Writer.
func (w captureWriter) Write(p []byte) (int, error) {
	w.capture.write(w.to, p)
	return len(p), nil
}

func (c *capture) write(to *stream, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total += int64(len(p)); c.file == nil && !c.failed && c.total > int64(c.limit) {
		c.startSpill()
	}
	switch {
	case c.file != nil:
		c.file.write(p)
	case c.terminal && !c.failed:
		c.raw = append(c.raw, p...)
	}
	to.write(p)
}

// startSpill begins the file with what came so far; nothing of it is lost yet,
// because all of it still fits.
func (c *capture) startSpill() {
	f, err := c.dir.create()
	if err != nil {
		c.failed, c.raw = true, nil // the result then says that the rest is nowhere
		return
	}
	c.file = f
	if c.terminal {
		f.write(c.raw)
		c.raw = nil
		return
	}
	for _, s := range []*stream{&c.out, &c.err} {
		data, _ := s.kept()
		f.write(data)
	}
}

// result writes the streams into r.
func (c *capture) result(r *tool.ExecResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.close()
	c.err.close()
	outLimit, errLimit := share(c.limit, c.out.total, c.err.total)
	var cut int
	r.Stdout, cut, r.OmittedStdoutBytes = c.out.bounded(outLimit)
	r.StdoutCut = int64(cut)
	r.Stderr, cut, r.OmittedStderrBytes = c.err.bounded(errLimit)
	r.StderrCut = int64(cut)
	if c.file != nil && c.file.own && c.terminal && r.OmittedStdoutBytes+r.OmittedStderrBytes == 0 {
		c.file.drop() // all that a terminal would show is there
		c.file, c.failed = nil, true
	}
	if c.file != nil {
		r.FullOutputPath, r.FullOutputOmittedBytes = c.file.name, c.file.omitted
	}
}

func (c *capture) close() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil {
		err = c.file.close()
	}
	c.failed, c.file, c.raw = true, nil, nil // late writers keep nothing
	return err
}

// share divides a limit between two streams: half each, and what one does not
// need is the other's.
func share(limit int, a, b int64) (int, int) {
	half := int64(limit / 2)
	switch l := int64(limit); {
	case a+b <= l:
		return int(a), int(b)
	case a <= half:
		return int(a), int(l - a)
	case b <= half:
		return int(l - b), int(b)
	}
	return limit - limit/2, limit / 2
}
