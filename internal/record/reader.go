package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// end is the head of a task's log.
func (s *Store) end(ctx context.Context, t Task) (head, error) {
	if err := t.Check(); err != nil {
		return head{}, err
	}
	st, unlock, err := s.remembered(ctx, t)
	if err != nil {
		return head{}, err
	}
	defer unlock()
	if err := s.refresh(ctx, t, st); err != nil {
		return head{}, err
	}
	return st.head, nil
}

// LastEvent gives the number of the last event of a log, 0 where there is none.
func (s *Store) LastEvent(ctx context.Context, t Task) (int64, error) {
	h, err := s.end(ctx, t)
	return h.last, err
}

// Wait returns when a log has an event after a given one. It learns at once of what is
// appended by way of this store, and looks for what others append, ever less often.
func (s *Store) Wait(ctx context.Context, t Task, after int64) error {
	for {
		appended := s.state(t).appended()
		last, err := s.LastEvent(ctx, t)
		if err != nil || last > after {
			return err
		}
		if err := s.poll(ctx, t, last, appended); err != nil {
			return err
		}
	}
}

// poll waits for the segment after an event.
func (s *Store) poll(ctx context.Context, t Task, last int64, appended <-chan struct{}) error {
	pause := s.opts.Poll
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for event %d of %s/%s: %w", last+1, t.Namespace, t.UID, ctx.Err())
		case <-appended:
			return nil
		case <-timer.C:
		}
		if found, err := s.exists(ctx, t.logKey(last+1)); found || err != nil {
			return err
		}
		pause = min(pause*3/2, s.opts.MaxPoll)
		timer.Reset(pause)
	}
}

// Log gives the lines of a log from an event on (from 1) to what is its last now; none
// where the log ends before. It holds one segment at a time.
func (s *Store) Log(ctx context.Context, t Task, from int64) (io.ReadCloser, error) {
	if from < 1 {
		return nil, fmt.Errorf("a log begins with event 1, there is no event %d", from)
	}
	h, err := s.end(ctx, t)
	if err != nil {
		return nil, err
	}
	return &logReader{ctx: ctx, s: s, t: t, from: from, end: h.last, held: held{room: s.opts.Room}}, nil
}

// logReader reads a log from one event to another.
type logReader struct {
	ctx       context.Context
	s         *Store
	t         Task
	from, end int64
	// sum is that of the segment last read, empty before the first.
	sum  string
	data []byte
	// held is what data and the segment that it comes from take.
	held held
}

// Close implements io.Closer.
func (l *logReader) Close() error {
	l.data = nil
	l.held.atMost(0)
	return nil
}

func (l *logReader) Read(p []byte) (int, error) {
	for len(l.data) == 0 {
		if l.from > l.end {
			return 0, io.EOF
		}
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.data)
	l.data = l.data[n:]
	return n, nil
}

// next reads the segment with the event that is next.
func (l *logReader) next() error {
	first := l.from
	if l.sum == "" && first > 1 {
		var err error
		if first, _, err = l.s.last(l.ctx, l.t.logPrefix(), first); err != nil {
			return err
		}
	}
	l.held.atMost(0) // what it held has been read
	g, lines, err := l.lines(first)
	for errors.Is(err, errCrowded) {
		if err := l.held.wait(l.ctx); err != nil {
			return err
		}
		g, lines, err = l.lines(first)
	}
	if err != nil {
		return err
	}
	for ; first < l.from; first++ {
		lines = lines[bytes.IndexByte(lines, '\n')+1:]
	}
	l.data, l.sum, l.from = lines, g.sum, g.Last+1
	return nil
}

// lines gives a segment and its lines, errCrowded where there is no room for them.
func (l *logReader) lines(first int64) (stored, []byte, error) {
	g, err := l.s.segmentHeld(l.ctx, l.t, first, &l.held)
	if err != nil {
		return stored{}, nil, lost(l.t.logKey(first), err)
	}
	if l.sum != "" && g.Chain != l.sum || g.Last < l.from {
		return stored{}, nil, brokenChain(g)
	}
	if !l.held.atLeast(int64(len(g.body) + g.Size)) {
		return stored{}, nil, errCrowded
	}
	lines, err := g.lines()
	g.body = nil
	l.held.atMost(int64(g.Size))
	return g, lines, err
}
