package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// Stream is one of the outputs of a process.
type Stream int

// The streams; a terminal has the first only.
const (
	Stdout Stream = iota
	Stderr
)

// Chunk is some output of a process.
type Chunk struct {
	Stream Stream
	// Position counts the bytes of both streams before it, Offset those of its own.
	Position, Offset int64
	Data             []byte
}

// End is the position behind it.
func (c Chunk) End() int64 { return c.Position + int64(len(c.Data)) }

// Gap is output that was asked for and is gone.
type Gap struct {
	// From and To are positions: what is between them is lost.
	From, To int64
	// Offsets are where each stream goes on.
	Offsets [2]int64
}

// Batch is what a Reader has got: a gap, if there is one, then what follows it.
type Batch struct {
	Gap    *Gap
	Chunks []Chunk
	// Done says that nothing comes after it, since the process has ended.
	Done bool
}

// Sizes of chunks and batches.
const (
	minChunk = 256
	maxChunk = 32 << 10
	maxBatch = 256 << 10
	// lastBytes is by how much a log may exceed its limit at the end, so that what is
	// still in the pipes of a process that has ended is not lost to a slow reader.
	lastBytes = 256 << 10
)

// outputLog keeps the last output of a process for those who follow it. While
// somebody does, the process waits for who is a whole log behind, as one with a pipe
// waits; else the oldest output goes.
type outputLog struct {
	mu     sync.Mutex
	limit  int
	chunks []Chunk
	// size is the memory of the chunks.
	size    int
	next    int64
	offsets [2]int64
	readers map[*Reader]struct{}
	// changed is closed, and made again, when somebody waits and something is new.
	changed chan struct{}
	waiting bool
	// hurried says that nobody is waited for any more, done that all has come.
	hurried, done bool
}

func newOutputLog(limit int) *outputLog {
	return &outputLog{limit: limit, readers: map[*Reader]struct{}{}, changed: make(chan struct{})}
}

// logWriter is one stream of a log.
type logWriter struct {
	log    *outputLog
	stream Stream
}

// Write implements io.Writer.
func (w logWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), w.log.maxChunk())
		w.log.put(w.stream, rest[:n])
		rest = rest[n:]
	}
	return len(p), nil
}

// maxChunk keeps chunks small beside the log, which drops whole ones.
func (l *outputLog) maxChunk() int { return max(1, min(maxChunk, l.limit/8)) }

func (l *outputLog) put(stream Stream, p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.makeRoom(len(p))
	if !l.extend(stream, p) {
		room := minChunk
		if n := len(l.chunks); n > 0 && l.chunks[n-1].Stream == stream {
			room = min(2*cap(l.chunks[n-1].Data), l.maxChunk())
		}
		data := make([]byte, len(p), max(room, len(p)))
		copy(data, p)
		l.chunks = append(l.chunks, Chunk{Stream: stream, Position: l.next, Offset: l.offsets[stream], Data: data})
		l.size += cap(data)
	}
	l.next += int64(len(p))
	l.offsets[stream] += int64(len(p))
	l.notify()
}

// extend adds to the last chunk, where there is room for it. What readers have got
// of it stays as it is.
func (l *outputLog) extend(stream Stream, p []byte) bool {
	if len(l.chunks) == 0 {
		return false
	}
	last := &l.chunks[len(l.chunks)-1]
	if last.Stream != stream || cap(last.Data)-len(last.Data) < len(p) {
		return false
	}
	last.Data = append(last.Data, p...)
	return true
}

// makeRoom drops the oldest output, or waits for those who have not got it.
func (l *outputLog) makeRoom(n int) {
	for len(l.chunks) > 0 {
		limit := l.limit
		if l.hurried {
			limit += lastBytes
		}
		switch {
		case l.size+n <= limit:
			return
		case l.hurried || !l.wanted(l.chunks[0]):
			l.size -= cap(l.chunks[0].Data)
			l.chunks[0] = Chunk{}
			l.chunks = l.chunks[1:]
		default:
			l.wait()
		}
	}
}

func (l *outputLog) wanted(c Chunk) bool {
	for r := range l.readers {
		if r.position < c.End() {
			return true
		}
	}
	return false
}

// wait returns when something has changed. The lock is let go meanwhile.
func (l *outputLog) wait() {
	changed := l.change()
	l.mu.Unlock()
	<-changed
	l.mu.Lock()
}

func (l *outputLog) change() <-chan struct{} {
	l.waiting = true
	return l.changed
}

func (l *outputLog) notify() {
	if l.waiting {
		close(l.changed)
		l.changed, l.waiting = make(chan struct{}), false
	}
}

// hurry lets nobody keep the process waiting any more.
func (l *outputLog) hurry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hurried = true
	l.notify()
}

// finish says that all has come.
func (l *outputLog) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hurried, l.done = true, true
	l.notify()
}

// position is the number of bytes that have come.
func (l *outputLog) position() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// Reader follows the output of a process. It must be closed.
type Reader struct {
	log *outputLog
	// position is where it is: what is before it has been taken.
	position int64
	// pending is where it will be with the next call of Next.
	pending int64
	leave   func()
}

func (l *outputLog) attach(after int64, leave func()) (*Reader, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after < 0 || after > l.next {
		return nil, fmt.Errorf("%w: position %d is not one of this output, which has %d bytes", tool.ErrInvalid, after, l.next)
	}
	r := &Reader{log: l, position: after, pending: after, leave: leave}
	l.readers[r] = struct{}{}
	return r, nil
}

// Close lets go of the process.
func (r *Reader) Close() {
	r.log.mu.Lock()
	delete(r.log.readers, r)
	r.log.notify()
	r.log.mu.Unlock()
	r.leave()
}

// Next says that the last batch was taken, and gives the next one. Where nothing
// comes for a while it is empty.
func (r *Reader) Next(ctx context.Context, patience time.Duration) (Batch, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		b, changed := r.take()
		if changed == nil {
			return b, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return Batch{}, nil
		case <-ctx.Done():
			return Batch{}, context.Cause(ctx)
		}
	}
}

// take gives what is there, or else what to wait for.
func (r *Reader) take() (b Batch, changed <-chan struct{}) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.pending != r.position {
		r.position = r.pending
		l.notify()
	}
	if r.position == l.next {
		if l.done {
			return Batch{Done: true}, nil
		}
		return Batch{}, l.change()
	}
	if first := l.first(); r.position < first.Position {
		b.Gap = l.gap(r.position, first)
		r.pending = first.Position
	}
	size := 0
	for _, c := range l.chunks {
		if c.End() <= r.pending {
			continue
		}
		if size >= maxBatch {
			return b, nil
		}
		if skip := r.pending - c.Position; skip > 0 {
			c.Position, c.Offset, c.Data = c.Position+skip, c.Offset+skip, c.Data[skip:]
		}
		b.Chunks = append(b.Chunks, c)
		size += len(c.Data)
		r.pending = c.End()
	}
	b.Done = l.done
	return b, nil
}

// first is the oldest output that is there.
func (l *outputLog) first() Chunk {
	if len(l.chunks) == 0 {
		return Chunk{Position: l.next}
	}
	return l.chunks[0]
}

// gap says what is lost before a chunk: the other stream goes on where its own
// first chunk begins, or where it ends if it has none.
func (l *outputLog) gap(from int64, first Chunk) *Gap {
	g := &Gap{From: from, To: first.Position, Offsets: l.offsets}
	for _, c := range l.chunks {
		g.Offsets[c.Stream] -= int64(len(c.Data))
	}
	return g
}
