package record

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Last asks for the last checkpoint, in place of that of a turn.
const Last = -1

// Hold gives the checkpoint of a turn, or the last one, for another task of the namespace
// to go on from. Without one the error is ErrNotFound, and says which there are. Its chunks stay for half the grace from now at
// least, whatever becomes of the record.
func (s *Store) Hold(ctx context.Context, t Task, turn int) (Checkpoint, error) {
	find := func() (Checkpoint, error) { return s.Checkpoint(ctx, t, turn) }
	if turn == Last {
		find = func() (Checkpoint, error) { return s.Latest(ctx, t) }
	}
	c, err := find()
	if errors.Is(err, ErrNotFound) {
		return Checkpoint{}, s.noCheckpoint(ctx, t, turn)
	}
	if err != nil {
		return Checkpoint{}, err
	}
	chunks := map[Digest]struct{}{}
	err = s.named(ctx, t.Namespace, c.lists(), func(d Digest) error {
		chunks[d] = struct{}{}
		if len(chunks) > maxAsked {
			return fmt.Errorf("a checkpoint names at most %d chunks", maxAsked)
		}
		return nil
	})
	if err == nil {
		err = s.vouch(ctx, t.Namespace, chunks)
	}
	if err != nil {
		return Checkpoint{}, lost(fmt.Sprintf("what the checkpoint of turn %d of %s/%s names", c.Turn, t.Namespace, t.UID), err)
	}
	return c, nil
}

// noCheckpointError is an ErrNotFound that says what there is instead.
type noCheckpointError struct {
	turn  int
	there []int
}

func (e *noCheckpointError) Error() string {
	if len(e.there) == 0 {
		return "no checkpoint"
	}
	return fmt.Sprintf("no checkpoint of turn %d; there are those of turns %s", e.turn, ranges(e.there))
}

// Is makes it an ErrNotFound.
func (e *noCheckpointError) Is(target error) bool { return target == ErrNotFound }

func (s *Store) noCheckpoint(ctx context.Context, t Task, turn int) error {
	there, err := s.Turns(ctx, t)
	if err != nil {
		return err
	}
	return &noCheckpointError{turn: turn, there: there}
}

// maxRanges bounds how many ranges are told.
const maxRanges = 8

// ranges writes sorted numbers as in "0-3, 5". Of many it leaves out the first.
func ranges(numbers []int) string {
	var out []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		words := strconv.Itoa(numbers[i])
		if j > i {
			words += "-" + strconv.Itoa(numbers[j])
		}
		out, i = append(out, words), j+1
	}
	if n := len(out); n > maxRanges {
		out = slices.Insert(out[n-maxRanges:], 0, "…")
	}
	return strings.Join(out, ", ")
}
