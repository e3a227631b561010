package record

import (
	"context"

	"gocloud.dev/blob"
)

// LastRecorder is Recorder for a record that is gone on from at its end alone: a checkpoint
// that is committed takes the place of those before it, which are deleted. Their chunks are
// for Sweep.
//
// Whoever claims the record meanwhile goes on from the last one as well: it looks for it
// after its claim, and what was committed without a claim in between was there before.
// Since no checkpoint before is there to name a chunk, each makes sure of all that it
// names, see vouch.go.
func (s *Store) LastRecorder(t Task, w Writer) Recorder {
	return &recorder{s: s, t: t, w: w, last: true}
}

// prune deletes the checkpoints before the one of a turn that the writer of a term has
// committed.
func (r *recorder) prune(ctx context.Context, term int64, turn int) error {
	last := r.t.checkpointKey(term, turn)
	return r.s.list(ctx, r.t.checkpointsPrefix(), "", func(obj *blob.ListObject) error {
		if obj.Key >= last {
			return nil
		}
		return r.s.remove(ctx, obj.Key)
	})
}
