package record

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"gocloud.dev/blob"
)

// errNoEvent is a writer's mistake: only who has appended has the record.
var errNoEvent = errors.New("the writer has to append an event to the log before it keeps a checkpoint")

const (
	maxLeftOut = 100
	// maxTree bounds the chunks that list a folder: half a million entries fit, of
	// which a chunk of a listing has 16 at least.
	maxTree = 1 << 15
)

func (c Checkpoint) check(w Writer) error {
	switch {
	case c.Turn < 0 || c.Events < 0 || c.Files < 0 || c.Bytes < 0:
		return errors.New("a checkpoint has no negative numbers")
	case c.Writer != w:
		return fmt.Errorf("a checkpoint of the pod %s of attempt %d cannot be kept by the pod %s of attempt %d", c.Writer.PodUID, c.Writer.Attempt, w.PodUID, w.Attempt)
	case len(c.LeftOut) > maxLeftOut:
		return fmt.Errorf("a checkpoint names at most %d files that it leaves out, not %d", maxLeftOut, len(c.LeftOut))
	}
	if err := checkTree(c.Tree); err != nil || c.Home == nil {
		return err
	}
	if c.Home.Files < 0 || c.Home.Bytes < 0 {
		return errors.New("a checkpoint's home has no negative numbers")
	}
	return checkTree(c.Home.Chunks)
}

// Workspace is a digest of the workspace that a checkpoint has: "sha256:" and hex digits.
func (c Checkpoint) Workspace() string {
	h := sha256.New()
	for _, d := range c.Tree {
		_, _ = io.WriteString(h, string(d)+"\n")
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func checkTree(tree []Digest) error {
	if len(tree) > maxTree {
		return fmt.Errorf("a checkpoint's tree has at most %d chunks, not %d", maxTree, len(tree))
	}
	for _, d := range tree {
		if err := d.check(); err != nil {
			return err
		}
	}
	return nil
}

// lists gives the chunks that list all that a checkpoint has.
func (c Checkpoint) lists() []Digest {
	if c.Home == nil {
		return c.Tree
	}
	return slices.Concat(c.Tree, c.Home.Chunks)
}

// Commit implements Recorder.
func (r *recorder) Commit(ctx context.Context, c Checkpoint) error {
	if err := r.check(); err != nil {
		return err
	}
	if err := c.check(r.w); err != nil {
		return err
	}
	payload, err := marshal("a checkpoint", c)
	if err != nil {
		return err
	}
	// What is made sure of now is named before that is out of date, see vouch.go.
	ctx, cancel := context.WithTimeout(ctx, r.s.opts.Grace/8)
	defer cancel()
	l, err := r.leads(ctx)
	if err != nil {
		return err
	}
	if c.Events > l.last {
		return fmt.Errorf("a checkpoint after event %d cannot be kept: the log ends with event %d", c.Events, l.last)
	}
	named, err := r.vouchCheckpoint(ctx, c, l.named)
	if err != nil {
		return err
	}
	if err := r.s.createSame(ctx, r.t.checkpointKey(l.term, c.Turn), payload); err != nil {
		return err
	}
	if err := r.stillLeads(ctx, l.term); err != nil {
		return err
	}
	if r.last {
		return r.prune(ctx, l.term, c.Turn)
	}
	return r.remember(ctx, named)
}

// createSame creates an object, or fails with ErrFenced where another is in its place.
func (s *Store) createSame(ctx context.Context, key string, payload []byte) error {
	created, _, err := s.create(ctx, key, payload)
	if created || err != nil {
		return err
	}
	there, _, err := s.get(ctx, key, maxDocument)
	if err != nil {
		return err
	}
	if !bytes.Equal(there, payload) {
		return fmt.Errorf("%w: another checkpoint of this turn has been kept, at %s", ErrFenced, key)
	}
	return nil
}

// Latest implements Recorder. It claims the record.
func (r *recorder) Latest(ctx context.Context) (Checkpoint, error) {
	if err := r.check(); err != nil {
		return Checkpoint{}, err
	}
	st, unlock, err := r.s.remembered(ctx, r.t)
	if err != nil {
		return Checkpoint{}, err
	}
	defer unlock()
	term, err := r.term(ctx, st, true)
	if err != nil {
		return Checkpoint{}, err
	}
	return r.s.latest(ctx, r.t, term)
}

// latest is the newest checkpoint as the writer of a term sees it.
func (s *Store) latest(ctx context.Context, t Task, term int64) (Checkpoint, error) {
	turn, found, err := s.last(ctx, t.checkpointPrefix(term), math.MaxInt64)
	if err != nil {
		return Checkpoint{}, err
	}
	if found {
		return s.checkpoint(ctx, t, term, int(turn))
	}
	b, err := s.base(ctx, t, term)
	if err != nil {
		return Checkpoint{}, lost(t.baseKey(term), err)
	}
	if b.Term == 0 {
		return Checkpoint{}, fmt.Errorf("a checkpoint of %s/%s: %w", t.Namespace, t.UID, ErrNotFound)
	}
	c, err := s.checkpoint(ctx, t, b.Term, b.Turn)
	return c, lost(t.checkpointKey(b.Term, b.Turn), err)
}

func (s *Store) checkpoint(ctx context.Context, t Task, term int64, turn int) (Checkpoint, error) {
	key := t.checkpointKey(term, turn)
	var c Checkpoint
	if err := s.getJSON(ctx, key, &c); err != nil {
		return Checkpoint{}, err
	}
	if c.Turn != turn {
		return Checkpoint{}, &CorruptError{Object: key, Reason: "it is the checkpoint of another turn"}
	}
	return c, nil
}

// Latest gives the checkpoint of the highest turn, ErrNotFound without one.
func (s *Store) Latest(ctx context.Context, t Task) (Checkpoint, error) {
	h, err := s.end(ctx, t)
	if err != nil {
		return Checkpoint{}, err
	}
	if h.term == 0 {
		return Checkpoint{}, fmt.Errorf("a checkpoint of %s/%s: %w", t.Namespace, t.UID, ErrNotFound)
	}
	return s.latest(ctx, t, h.term)
}

// Checkpoint gives the checkpoint of a turn, ErrNotFound without one.
func (s *Store) Checkpoint(ctx context.Context, t Task, turn int) (Checkpoint, error) {
	res, err := Checkpoint{}, fmt.Errorf("a checkpoint of turn %d of %s/%s: %w", turn, t.Namespace, t.UID, ErrNotFound)
	if turn < 0 {
		return res, err
	}
	walkErr := s.terms(ctx, t, func(term int64, upTo int) (bool, error) {
		if turn > upTo {
			return false, nil
		}
		c, found := s.checkpoint(ctx, t, term, turn)
		if errors.Is(found, ErrNotFound) {
			return true, nil
		}
		res, err = c, found
		return false, nil
	})
	if walkErr != nil {
		return Checkpoint{}, walkErr
	}
	return res, err
}

// Turns gives the turns that there are checkpoints of, in their order.
func (s *Store) Turns(ctx context.Context, t Task) ([]int, error) {
	var turns []int
	err := s.terms(ctx, t, func(term int64, upTo int) (bool, error) {
		own, err := s.numbers(ctx, t.checkpointPrefix(term), int64(upTo))
		turns = append(turns, own...)
		return true, err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(turns)
	return slices.Compact(turns), nil
}

// terms calls f with the terms whose checkpoints count, the newest first, and up to
// which turn they do, until f does not want more.
func (s *Store) terms(ctx context.Context, t Task, f func(term int64, upTo int) (more bool, err error)) error {
	h, err := s.end(ctx, t)
	if err != nil {
		return err
	}
	for term, upTo := h.term, math.MaxInt; term > 0; {
		more, err := f(term, upTo)
		if !more || err != nil {
			return err
		}
		b, err := s.base(ctx, t, term)
		if err != nil {
			return lost(t.baseKey(term), err)
		}
		term, upTo = b.Term, min(upTo, b.Turn)
	}
	return nil
}

// decodePieces gives the chunks of an entry of a tree.
func decodePieces(line []byte) ([]Piece, error) {
	var e struct {
		Pieces []Piece `json:"pieces"`
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return nil, err
	}
	return e.Pieces, nil
}

// numbers gives the numbers up to a limit that the keys with a prefix end with.
func (s *Store) numbers(ctx context.Context, prefix string, limit int64) ([]int, error) {
	var res []int
	err := s.list(ctx, prefix, "", func(obj *blob.ListObject) error {
		n, err := lastNumber(obj.Key)
		if err == nil && n <= limit {
			res = append(res, int(n))
		}
		return err
	})
	return res, err
}
