package record

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Writers follow one another. Each claims the record, once, before it writes or asks
// for the checkpoint to go on from. The claims of a record are numbered without gaps,
// and of two writers who create the same one wins. The number is the writer's term.
//
// What makes an older writer lose for good:
//   - A segment has its writer's term, and none follows one of a higher term.
//   - A checkpoint is kept under its writer's term, and acknowledged only when there is
//     no newer claim after it was written. A new writer looks for the checkpoint to go
//     on from after it has claimed, so that it sees each that was acknowledged, and
//     keeps which one it is (the base). One that an older writer was still about to write
//     appears, if at all, after the base in an older term, where nobody looks.
//   - Outputs are kept under their writer's term; the highest counts.
type claim struct {
	Term   int64  `json:"term"`
	Writer Writer `json:"writer"`
	// Before are those that have claimed the record before.
	Before []string `json:"before,omitempty"`
}

// base is the checkpoint that a writer goes on from. Without one the term is 0.
type base struct {
	Term int64 `json:"term"`
	Turn int   `json:"turn"`
}

// term gives the writer's term, claiming the record if need be. Fresh finds claims of
// others that this store has not seen.
func (r *recorder) term(ctx context.Context, st *task, fresh bool) (int64, error) {
	if fresh || st.claim.Writer != r.w {
		if err := r.claim(ctx, st); err != nil {
			return 0, err
		}
	}
	if !st.settled {
		if err := r.s.settle(ctx, r.t, st.claim.Term); err != nil {
			return 0, err
		}
		st.settled = true
	}
	return st.claim.Term, nil
}

// maxClaims bounds how many times a writer tries to claim a record while others do.
const maxClaims = 8

func (r *recorder) claim(ctx context.Context, st *task) error {
	for range maxClaims {
		if err := r.s.newestClaim(ctx, r.t, st); err != nil {
			return err
		}
		old := st.claim
		if old.Term > 0 && old.Writer == r.w {
			return nil
		}
		if old.Term > 0 && (r.w.Attempt < old.Writer.Attempt || slices.Contains(old.Before, r.w.id())) {
			return r.fenced(old.Writer)
		}
		mine := claim{Term: old.Term + 1, Writer: r.w}
		if old.Term > 0 {
			mine.Before = append(slices.Clone(old.Before), old.Writer.id())
		}
		payload, err := marshal("the claim of a writer", mine)
		if err != nil {
			return err
		}
		created, _, err := r.s.create(ctx, r.t.claimKey(mine.Term), payload)
		if err != nil {
			return err
		}
		if created {
			st.claim, st.settled = mine, false
			return nil
		}
	}
	return fmt.Errorf("%w: others claim the record of %s/%s all the time", ErrUnavailable, r.t.Namespace, r.t.UID)
}

func (r *recorder) fenced(by Writer) error {
	return fmt.Errorf("%w: the pod %s of attempt %d has taken it over from the pod %s of attempt %d", ErrFenced, by.PodUID, by.Attempt, r.w.PodUID, r.w.Attempt)
}

// newestClaim looks for claims after the newest that was seen.
func (s *Store) newestClaim(ctx context.Context, t Task, st *task) error {
	next := st.claim.Term + 1
	if st.claim.Term == 0 {
		last, found, err := s.last(ctx, t.claimPrefix(), math.MaxInt64)
		if err != nil || !found {
			return err
		}
		next = last
	}
	// Claims are few, and each of them was made by a pod that had to start.
	for ; ; next++ {
		var c claim
		err := s.getJSON(ctx, t.claimKey(next), &c)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if c.Term != next {
			return &CorruptError{Object: t.claimKey(next), Reason: "it is the claim of another term"}
		}
		st.claim, st.settled = c, false
	}
}

// settle keeps the checkpoint that the writer of a term goes on from.
func (s *Store) settle(ctx context.Context, t Task, term int64) error {
	found, err := s.exists(ctx, t.baseKey(term))
	if found || err != nil {
		return err
	}
	b, err := s.before(ctx, t, term)
	if err != nil {
		return err
	}
	payload, err := marshal("the checkpoint to go on from", b)
	if err != nil {
		return err
	}
	_, _, err = s.create(ctx, t.baseKey(term), payload)
	return err
}

// before finds the last checkpoint before a term: the newest of the term before, or else
// what that went on from. A term that has no base did not write anything.
func (s *Store) before(ctx context.Context, t Task, term int64) (base, error) {
	for m := term - 1; m > 0; m-- {
		turn, found, err := s.last(ctx, t.checkpointPrefix(m), math.MaxInt64)
		if err != nil {
			return base{}, err
		}
		if found {
			return base{Term: m, Turn: int(turn)}, nil
		}
		b, err := s.base(ctx, t, m)
		if !errors.Is(err, ErrNotFound) {
			return b, err
		}
	}
	return base{}, nil
}

func (s *Store) base(ctx context.Context, t Task, term int64) (base, error) {
	var b base
	if err := s.getJSON(ctx, t.baseKey(term), &b); err != nil {
		return base{}, err
	}
	if b.Term < 0 || b.Term >= term || b.Turn < 0 {
		return base{}, &CorruptError{Object: t.baseKey(term), Reason: "it names a checkpoint that is not from before"}
	}
	return b, nil
}
