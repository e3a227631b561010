package record

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"
	"golang.org/x/sync/errgroup"
)

// Why nothing that is acknowledged names a chunk that a sweep removes. Let G be the grace
// and L the lease of a sweep, at most an eighth of G.
//
// A sweep announces itself, then looks at the ages of the chunks that it may remove,
// then reads what names chunks, then publishes what it is going to remove (the plan), and
// removes only what is older than G and was not named. It ends before its lease does. One
// that fails while it removes leaves announcement and plan until they are out of date, for
// a request of it may still be under way.
//
// Who is about to name chunks first makes sure of each, and within G/8 names them:
//
//  1. It looks for sweeps that have not ended. One that has no plan yet it waits for, and
//     a chunk that is in a plan has to wait for the end of the sweep.
//  2. It looks for each chunk, and writes one older than G/2 again.
//  3. If it has written any, it does 1 and 2 again.
//
// A sweep that ended before 1 has removed what it was going to before 2 looked. One that
// was seen in 1 removes only what is in its plan. One that announces itself after the last
// 1 sees ages after that: it finds a chunk older than G only if it looks about G/2 later,
// and then it finds it named, for naming takes at most G/8. The clocks of those who use a
// store may differ by L. None of this depends on which process does what: announcement,
// plan and ages are in the store.
//
// Chunks that the checkpoint before of the same writer names already are not looked for:
// that checkpoint is there for as long as the record is. Where only the last one is kept,
// every chunk is looked for.

// vouchCheckpoint makes sure of every chunk that a checkpoint names and no checkpoint
// before it. Parts of the listing that one before has, too, are not read again: what
// they name is named. It gives all that is named by now, or nothing where that has
// become too much to remember.
func (r *recorder) vouchCheckpoint(ctx context.Context, c Checkpoint, before map[Digest]struct{}) (named map[Digest]struct{}, err error) {
	var unread []Digest
	for _, d := range c.lists() {
		if _, ok := before[d]; !ok {
			unread = append(unread, d)
		}
	}
	fresh := map[Digest]struct{}{}
	err = r.s.named(ctx, r.t.Namespace, unread, func(d Digest) error {
		if _, ok := before[d]; !ok {
			fresh[d] = struct{}{}
		}
		if len(fresh) > maxAsked {
			return fmt.Errorf("a checkpoint names at most %d chunks", maxAsked)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("the tree of a checkpoint: %w", err)
	}
	if len(before)+len(fresh) > maxAsked {
		return nil, r.s.vouch(ctx, r.t.Namespace, fresh)
	}
	named = maps.Clone(fresh)
	maps.Copy(named, before)
	return named, r.s.vouch(ctx, r.t.Namespace, fresh)
}

// vouch makes sure of chunks that are named within a part of the grace from now.
func (s *Store) vouch(ctx context.Context, namespace string, set map[Digest]struct{}) error {
	all := make([]Digest, 0, len(set))
	for d := range set {
		all = append(all, d)
	}
	slices.Sort(all)
	for range 3 {
		touched, err := s.vouchOnce(ctx, namespace, all)
		if !touched || err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: chunks of %s are as old again as soon as they are written: do the clocks agree?", ErrUnavailable, namespace)
}

func (s *Store) vouchOnce(ctx context.Context, namespace string, all []Digest) (touched bool, err error) {
	if len(all) == 0 {
		return false, nil
	}
	doomed, err := s.doomed(ctx, namespace)
	if err != nil {
		return false, err
	}
	young := s.opts.Now().Add(-s.opts.Grace / 2)
	old := make([]bool, len(all))
	g, gCtx := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for i, d := range all {
		if _, ok := doomed[d]; ok {
			err := fmt.Errorf("%w: a sweep is about to remove the chunk %s, which has to be written again then", ErrUnavailable, d)
			return false, errors.Join(err, g.Wait())
		}
		g.Go(func() error {
			at, err := s.modified(gCtx, chunkKey(namespace, d))
			if errors.Is(err, ErrNotFound) {
				return absent(d)
			}
			if err != nil || at.After(young) {
				return err
			}
			old[i] = true
			return s.touch(gCtx, namespace, d)
		})
	}
	err = g.Wait()
	return slices.Contains(old, true), err
}

func absent(d Digest) error { return fmt.Errorf("the chunk %s: %w", d, ErrNotFound) }

// touches is how many chunks of a store are made young at a time. Each takes some 20 MiB, of
// which no request tells.
const touches = 2

// touch makes a chunk young again.
func (s *Store) touch(ctx context.Context, namespace string, d Digest) error {
	if err := s.touching.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("waiting to write the chunk %s again: %w", d, err)
	}
	defer s.touching.Release(1)
	data, err := s.chunk(ctx, namespace, d)
	if err != nil {
		return err
	}
	return s.put(ctx, chunkKey(namespace, d), compress(nil, data))
}

// doomed gives the chunks of a namespace that sweeps under way are going to remove. It
// waits for plans that are still to be made.
func (s *Store) doomed(ctx context.Context, namespace string) (map[Digest]struct{}, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	pause := s.opts.Poll
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		res, planning, err := s.plans(ctx, namespace)
		if planning == "" || err != nil {
			return res, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: the sweep %s makes its plan", ErrUnavailable, planning)
		case <-timer.C:
		}
		pause = min(pause*3/2, s.opts.MaxPoll)
		timer.Reset(pause)
	}
}

// plans reads the plans of the sweeps under way in a namespace, and says which of them
// has none yet.
func (s *Store) plans(ctx context.Context, namespace string) (doomed map[Digest]struct{}, planning string, err error) {
	doomed = map[Digest]struct{}{}
	err = s.list(ctx, sweepPrefix(namespace), "", func(obj *blob.ListObject) error {
		if !strings.HasSuffix(obj.Key, announcement) {
			return nil
		}
		var a announced
		if err := s.getJSON(ctx, obj.Key, &a); err != nil {
			return ended(err)
		}
		if s.opts.Now().After(a.Until.Add(s.lease())) {
			return nil // its process has died
		}
		var p plan
		err := s.getJSON(ctx, strings.TrimSuffix(obj.Key, announcement)+planned, &p)
		if errors.Is(err, ErrNotFound) {
			planning = obj.Key
			return nil
		}
		for _, d := range p.Chunks {
			doomed[d] = struct{}{}
		}
		return err
	})
	return doomed, planning, err
}

// ended turns the error of a sweep that is not there any more into none.
func ended(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
