package record

import (
	"context"
	"fmt"
)

// Last asks for the last checkpoint, in place of that of a turn.
const Last = -1

// Hold gives the checkpoint of a turn, or the last one, for another task of the namespace
// to go on from, ErrNotFound without one. Its chunks stay for half the grace from now at
// least, whatever becomes of the record.
func (s *Store) Hold(ctx context.Context, t Task, turn int) (Checkpoint, error) {
	find := func() (Checkpoint, error) { return s.Checkpoint(ctx, t, turn) }
	if turn == Last {
		find = func() (Checkpoint, error) { return s.Latest(ctx, t) }
	}
	c, err := find()
	if err != nil {
		return Checkpoint{}, err
	}
	chunks := map[Digest]struct{}{}
	err = s.named(ctx, t.Namespace, c.Tree, func(d Digest) error {
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
