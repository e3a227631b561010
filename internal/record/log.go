package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
)

// maxSteps bounds how many segments are read one after the other to catch up with a
// log, before it is listed.
const maxSteps = 32

// refresh makes the head that of the log as it is now. The segment that would follow
// the head has one place, so that a look there tells.
func (s *Store) refresh(ctx context.Context, t Task, st *task) error {
	if st.loaded {
		done, err := s.catchUp(ctx, t, st)
		if done || err != nil {
			return err
		}
	}
	first, found, err := s.last(ctx, t.logPrefix(), math.MaxInt64)
	if err != nil {
		return err
	}
	st.loaded = true
	if found {
		g, err := s.segment(ctx, t, first)
		if err != nil {
			st.loaded = false
			return err
		}
		st.advance(g.head(g.sum))
	}
	done, err := s.catchUp(ctx, t, st)
	if err == nil && !done {
		err = fmt.Errorf("%w: the log of %s/%s grows faster than it is read", ErrUnavailable, t.Namespace, t.UID)
	}
	return err
}

func (s *Store) catchUp(ctx context.Context, t Task, st *task) (done bool, err error) {
	for range maxSteps {
		g, err := s.segment(ctx, t, st.head.last+1)
		if errors.Is(err, ErrNotFound) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if g.Chain != st.head.sum {
			return false, brokenChain(g)
		}
		st.advance(g.head(g.sum))
	}
	return false, nil
}

func brokenChain(g stored) error {
	return &CorruptError{Object: g.key, Reason: "it does not follow the segment before it"}
}

// Append implements Recorder. Of lines that are in the log already those that are not
// are appended, so that a caller may repeat a call whose answer was lost with more
// lines than it had then.
func (r *recorder) Append(ctx context.Context, first int64, lines []byte) error {
	if err := r.check(); err != nil {
		return err
	}
	if first < 1 || len(lines) == 0 || len(lines) > MaxAppend || lines[len(lines)-1] != '\n' {
		return fmt.Errorf("%d bytes from event %d on cannot be appended: they have to be whole lines, at most %d bytes, from an event that is not before 1", len(lines), first, MaxAppend)
	}
	st, unlock, err := r.s.remembered(ctx, r.t)
	if err != nil {
		return err
	}
	defer unlock()
	for range 3 {
		placed, err := r.place(ctx, st, first, lines)
		if placed || err != nil {
			return err
		}
		// Somebody else has the place, perhaps this very call before its answer was lost.
		if err := r.s.refresh(ctx, r.t, st); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: others append to the log of %s/%s all the time", ErrUnavailable, r.t.Namespace, r.t.UID)
}

// place appends lines, and says whether nobody was faster.
func (r *recorder) place(ctx context.Context, st *task, first int64, lines []byte) (bool, error) {
	if !st.loaded || first != st.head.last+1 || st.head.writer != r.w {
		if err := r.s.refresh(ctx, r.t, st); err != nil {
			return false, err
		}
	}
	term, err := r.term(ctx, st, false)
	if err != nil {
		return false, err
	}
	if term < st.head.term {
		return false, r.fenced(st.head.writer)
	}
	if first > st.head.last+1 {
		return false, fmt.Errorf("the log ends with event %d: event %d cannot be appended before those in between", st.head.last, first)
	}
	if first <= st.head.last {
		if lines, err = r.s.beyond(ctx, r.t, st.head, first, lines); err != nil {
			return false, err
		}
		if len(lines) == 0 {
			return true, r.s.confirm(ctx, r.t.logKey(st.head.first), maxHeader+maxCompressed(MaxAppend))
		}
	}
	return r.write(ctx, st, term, lines)
}

// write appends lines after the head.
func (r *recorder) write(ctx context.Context, st *task, term int64, lines []byte) (bool, error) {
	first := st.head.last + 1
	g := segment{
		First:  first,
		Last:   first + countLines(lines) - 1,
		Writer: r.w,
		Term:   term,
		Lines:  DigestOf(lines),
		Size:   len(lines),
		Chain:  st.head.sum,
	}
	payload, err := encodeSegment(g, lines)
	if err != nil {
		return false, err
	}
	created, sum, err := r.s.create(ctx, r.t.logKey(first), payload)
	if created {
		st.advance(g.head(sum))
	}
	return created, err
}

// beyond compares lines with those that the log has from an event on, and gives those
// that come after the log's end.
func (s *Store) beyond(ctx context.Context, t Task, h head, first int64, lines []byte) ([]byte, error) {
	log := &logReader{ctx: ctx, s: s, t: t, from: first, end: h.last}
	buf := make([]byte, min(len(lines), 64<<10))
	for len(lines) > 0 {
		n, err := log.Read(buf[:min(len(lines), len(buf))])
		if !bytes.Equal(buf[:n], lines[:n]) {
			return nil, fmt.Errorf("%w: the log has other lines from event %d on, the last by the pod %s of attempt %d", ErrFenced, first, h.writer.PodUID, h.writer.Attempt)
		}
		lines = lines[n:]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// confirm makes sure that an object which is there outlives a crash. Who wrote it may
// have died before it knew; a store waits for that also where it refuses to create.
func (s *Store) confirm(ctx context.Context, key string, limit int) error {
	payload, _, err := s.get(ctx, key, limit)
	if err != nil {
		return err
	}
	_, _, err = s.create(ctx, key, payload)
	return err
}
