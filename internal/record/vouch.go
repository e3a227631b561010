package record

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// vouchCheckpoint makes sure that every chunk that a checkpoint names is there.
func (r *recorder) vouchCheckpoint(ctx context.Context, c Checkpoint) error {
	if len(c.Tree) == 0 {
		return nil
	}
	set := map[Digest]struct{}{}
	err := r.s.named(ctx, r.t.Namespace, c.Tree, func(d Digest) error {
		set[d] = struct{}{}
		if len(set) > maxAsked {
			return fmt.Errorf("a checkpoint names at most %d chunks", maxAsked)
		}
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("the tree of the checkpoint: %w", err)
	}
	if err != nil {
		return err
	}
	return r.vouch(ctx, set)
}

func (r *recorder) vouch(ctx context.Context, set map[Digest]struct{}) error {
	all := make([]Digest, 0, len(set))
	for d := range set {
		all = append(all, d)
	}
	slices.Sort(all)
	missing, err := r.s.missing(ctx, r.t.Namespace, all)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of the chunks that it names, such as %s: %w", len(missing), missing[0], ErrNotFound)
	}
	return nil
}
