package record

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"gocloud.dev/blob"
	"golang.org/x/sync/errgroup"

	"github.com/sampan-dev/sampan/internal/record/folder"
)

// Swept says what a sweep did.
type Swept struct {
	// Records is how many records it kept, and Deleted how many it deleted.
	Records, Deleted int
	// Chunks is how many chunks it removed, and Bytes how much room they took.
	Chunks int
	Bytes  int64
	// Temporary is how many files that a crash had left it removed.
	Temporary int
}

func (w Swept) String() string {
	return fmt.Sprintf("%d records kept, %d deleted, %d chunks of %d bytes and %d temporary files removed", w.Records, w.Deleted, w.Chunks, w.Bytes, w.Temporary)
}

// The objects of a sweep, see vouch.go: SWEEP/announcement, then SWEEP/plan.
const (
	announcement = "/announcement"
	planned      = "/plan"
	// maxPlan bounds the chunks that one sweep removes from a namespace, so that its plan
	// is an object of some megabytes. The next sweep removes more.
	maxPlan = 1 << 17
)

type announced struct {
	// Until is when the sweep has ended, whatever happens.
	Until time.Time `json:"until"`
}

type plan struct {
	Chunks []Digest `json:"chunks"`
}

func sweepPrefix(namespace string) string { return sweepsPrefix + namespace + "/" }

// Sweep deletes the records that keep says no to, and then the chunks that nothing names.
// The Info is zero where the record has none; keep is asked about such a record only when
// nothing was written to it for the grace. Where a namespace cannot be swept, because something in it is damaged, say, none of its
// chunks is removed, and the others are swept nevertheless.
func (s *Store) Sweep(ctx context.Context, keep func(Task, Info) bool) (Swept, error) {
	var res Swept
	errs := []error{s.sweepRecords(ctx, keep, &res)}
	namespaces, err := s.parts(ctx, chunksPrefix)
	errs = append(errs, err)
	for _, ns := range namespaces {
		if err := s.sweepChunks(ctx, ns, &res); err != nil {
			errs = append(errs, fmt.Errorf("sweeping the namespace %s: %w", ns, err))
		}
	}
	var c folder.Cleaner
	if s.b.As(&c) {
		n, err := c.RemoveTemporary(s.opts.Now().Add(-s.opts.Grace))
		res.Temporary = n
		if err != nil {
			errs = append(errs, fmt.Errorf("removing temporary files: %w", err))
		}
	}
	return res, errors.Join(errs...)
}

// parts gives the next parts of the keys with a prefix.
func (s *Store) parts(ctx context.Context, prefix string) ([]string, error) {
	var res []string
	err := s.list(ctx, prefix, "/", func(obj *blob.ListObject) error {
		if obj.IsDir {
			res = append(res, strings.TrimSuffix(strings.TrimPrefix(obj.Key, prefix), "/"))
		}
		return nil
	})
	return res, err
}

// tasksOf gives the tasks of a namespace that have records.
func (s *Store) tasksOf(ctx context.Context, namespace string) ([]Task, error) {
	uids, err := s.parts(ctx, tasksPrefix+namespace+"/")
	res := make([]Task, len(uids))
	for i, uid := range uids {
		res[i] = Task{Namespace: namespace, UID: uid}
	}
	return res, err
}

func (s *Store) sweepRecords(ctx context.Context, keep func(Task, Info) bool, res *Swept) error {
	namespaces, err := s.parts(ctx, tasksPrefix)
	if err != nil {
		return err
	}
	var errs []error
	for _, ns := range namespaces {
		tasks, err := s.tasksOf(ctx, ns)
		errs = append(errs, err)
		for _, t := range tasks {
			errs = append(errs, s.sweepRecord(ctx, t, keep, res))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) sweepRecord(ctx context.Context, t Task, keep func(Task, Info) bool, res *Swept) error {
	info, err := s.Info(ctx, t)
	young := false
	if errors.Is(err, ErrNotFound) { // it has just begun, or has lost it
		young, err = s.young(ctx, t)
	}
	if err != nil {
		return err
	}
	if young || keep(t, info) {
		res.Records++
		return nil
	}
	removed, err := s.delete(ctx, t)
	if removed > 0 {
		res.Deleted++
	}
	return err
}

// young reports whether something was written to a record within the grace.
func (s *Store) young(ctx context.Context, t Task) (young bool, err error) {
	before := s.opts.Now().Add(-s.opts.Grace)
	err = s.list(ctx, t.prefix(), "", func(obj *blob.ListObject) error {
		young = young || !obj.ModTime.Before(before)
		return nil
	})
	return young, err
}

// sweepChunks removes the chunks of a namespace that nothing names. It announces itself
// only when there seem to be any, because those who name chunks wait for its plan.
func (s *Store) sweepChunks(ctx context.Context, namespace string, res *Swept) error {
	if err := s.clearSweeps(ctx, namespace); err != nil {
		return err
	}
	old, err := s.oldChunks(ctx, namespace)
	if err != nil || len(old) == 0 {
		return err
	}
	m := newMark(s, namespace)
	if err := m.update(ctx); err != nil {
		return err
	}
	m.strike(old)
	if len(old) == 0 {
		return nil
	}
	return s.removeChunks(ctx, m, old, res)
}

// lease is how long a sweep of a namespace may take from its announcement on.
func (s *Store) lease() time.Duration { return min(s.opts.Grace/8, 10*time.Minute) }

func (s *Store) removeChunks(ctx context.Context, m *mark, old map[Digest]int64, res *Swept) error {
	sweep := sweepPrefix(m.namespace) + rand.Text()
	until := s.opts.Now().Add(s.lease())
	ctx, cancel := context.WithTimeout(ctx, s.lease())
	defer cancel()
	if err := s.announce(ctx, sweep, until); err != nil {
		return err
	}
	doomed, err := s.plan(ctx, sweep, m, old)
	if err == nil {
		if err := s.carryOut(ctx, m.namespace, doomed, until, res); err != nil {
			return err
		}
	}
	return errors.Join(err, s.remove(ctx, sweep+announcement), s.remove(ctx, sweep+planned))
}

func (s *Store) announce(ctx context.Context, sweep string, until time.Time) error {
	payload, err := marshal("a sweep", announced{Until: until})
	if err != nil {
		return err
	}
	return s.put(ctx, sweep+announcement, payload)
}

// plan finds out which of the chunks that seemed to be old and unnamed are so still.
func (s *Store) plan(ctx context.Context, sweep string, m *mark, old map[Digest]int64) ([]doomedChunk, error) {
	still, err := s.stillOld(ctx, m.namespace, old)
	if err != nil {
		return nil, err
	}
	if err := m.update(ctx); err != nil {
		return nil, err
	}
	m.strike(still)
	var p plan
	doomed := make([]doomedChunk, 0, len(still))
	for d, size := range still {
		p.Chunks = append(p.Chunks, d)
		doomed = append(doomed, doomedChunk{d, size})
	}
	payload, err := marshal("the plan of a sweep", p)
	if err != nil {
		return nil, err
	}
	return doomed, s.put(ctx, sweep+planned, payload)
}

type doomedChunk struct {
	digest Digest
	size   int64
}

func (s *Store) carryOut(ctx context.Context, namespace string, doomed []doomedChunk, until time.Time, res *Swept) error {
	var chunks, bytes atomic.Int64
	g, gCtx := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for _, c := range doomed {
		g.Go(func() error {
			if s.opts.Now().Add(s.opts.Timeout).After(until) {
				return errors.New("the time of the sweep is over; the next goes on")
			}
			if err := s.remove(gCtx, chunkKey(namespace, c.digest)); err != nil {
				return err
			}
			chunks.Add(1)
			bytes.Add(c.size)
			return nil
		})
	}
	err := g.Wait()
	res.Chunks += int(chunks.Load())
	res.Bytes += bytes.Load()
	return err
}

// oldChunks gives the chunks that are older than the grace, with their sizes.
func (s *Store) oldChunks(ctx context.Context, namespace string) (map[Digest]int64, error) {
	before := s.opts.Now().Add(-s.opts.Grace)
	res := map[Digest]int64{}
	err := s.list(ctx, chunkPrefix(namespace), "", func(obj *blob.ListObject) error {
		d := Digest(digestPrefix + strings.TrimPrefix(obj.Key, chunkPrefix(namespace)))
		if err := d.check(); err != nil {
			return &CorruptError{Object: obj.Key, Reason: "it is no chunk of the store"}
		}
		if obj.ModTime.Before(before) {
			res[d] = obj.Size
		}
		return nil
	})
	return res, err
}

// stillOld looks again for chunks that were old.
func (s *Store) stillOld(ctx context.Context, namespace string, old map[Digest]int64) (map[Digest]int64, error) {
	before := s.opts.Now().Add(-s.opts.Grace)
	res := map[Digest]int64{}
	for d, size := range old {
		at, err := s.modified(ctx, chunkKey(namespace, d))
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if at.Before(before) && len(res) < maxPlan {
			res[d] = size
		}
	}
	return res, nil
}

// clearSweeps removes what sweeps that have died have left.
func (s *Store) clearSweeps(ctx context.Context, namespace string) error {
	return s.list(ctx, sweepPrefix(namespace), "", func(obj *blob.ListObject) error {
		if obj.ModTime.Add(s.opts.Grace).Before(s.opts.Now()) {
			return s.remove(ctx, obj.Key)
		}
		return nil
	})
}
