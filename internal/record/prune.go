package record

import (
	"context"
	"math"

	"gocloud.dev/blob"
)

// KeepLast deletes the checkpoints of a record but for its last one, which the writer has
// committed: it is for a record that is gone on from at its end alone. The chunks are for
// Sweep. Whoever claims the record meanwhile goes on from the last one as well: it looks
// for it after the claim, and it was there before.
func (s *Store) KeepLast(ctx context.Context, t Task, w Writer) error {
	r := &recorder{s: s, t: t, w: w}
	if err := r.check(); err != nil {
		return err
	}
	l, err := r.leads(ctx)
	if err != nil {
		return err
	}
	turn, found, err := s.last(ctx, t.checkpointPrefix(l.term), math.MaxInt64)
	if err != nil || !found {
		return err
	}
	last := t.checkpointKey(l.term, int(turn))
	return s.list(ctx, t.checkpointsPrefix(), "", func(obj *blob.ListObject) error {
		if obj.Key >= last { // of a later writer, if it is not the last one itself
			return nil
		}
		return s.remove(ctx, obj.Key)
	})
}
