package record

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"sync"

	"gocloud.dev/blob"
	"golang.org/x/sync/errgroup"
)

// mark is what a namespace's checkpoints and outputs name.
type mark struct {
	s         *Store
	namespace string

	mu    sync.Mutex
	named map[[32]byte]struct{}
	// read are the checkpoints that need not be read again, for they never change.
	read map[string]struct{}
}

func newMark(s *Store, namespace string) *mark {
	return &mark{s: s, namespace: namespace, named: map[[32]byte]struct{}{}, read: map[string]struct{}{}}
}

// update adds what is named by now. It fails rather than leave anything out.
func (m *mark) update(ctx context.Context) error {
	tasks, err := m.s.tasksOf(ctx, m.namespace)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if err := m.each(ctx, t.checkpointsPrefix(), m.checkpoint); err != nil {
			return err
		}
		if err := m.each(ctx, t.outputsPrefix(), m.output); err != nil {
			return err
		}
	}
	return nil
}

// each calls f with the keys that have a prefix, several at a time.
func (m *mark) each(ctx context.Context, prefix string, f func(context.Context, string) error) error {
	g, gCtx := errgroup.WithContext(ctx)
	g.SetLimit(4) // each holds a chunk
	err := m.s.list(ctx, prefix, "", func(obj *blob.ListObject) error {
		g.Go(func() error { return f(gCtx, obj.Key) })
		return nil
	})
	return errors.Join(err, g.Wait())
}

func (m *mark) checkpoint(ctx context.Context, key string) error {
	m.mu.Lock()
	_, done := m.read[key]
	m.mu.Unlock()
	if done {
		return nil
	}
	var c Checkpoint
	if err := m.s.getJSON(ctx, key, &c); err != nil {
		return ended(err) // its record was deleted meanwhile
	}
	if err := m.s.named(ctx, m.namespace, c.lists(), m.add); err != nil {
		return lost(key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read[key] = struct{}{}
	return nil
}

func (m *mark) output(ctx context.Context, key string) error {
	var o Output
	if err := m.s.getJSON(ctx, key, &o); err != nil {
		return ended(err)
	}
	for _, p := range o.Pieces {
		if err := m.add(p.Chunk); err != nil {
			return err
		}
	}
	return nil
}

func (m *mark) add(d Digest) error {
	if err := d.check(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.named[sumOf(d)] = struct{}{}
	return nil
}

func sumOf(d Digest) (sum [32]byte) {
	_, _ = hex.Decode(sum[:], []byte(strings.TrimPrefix(string(d), digestPrefix))) // it was checked
	return sum
}

// strike removes the chunks that are named from some.
func (m *mark) strike(chunks map[Digest]int64) {
	for d := range chunks {
		if _, ok := m.named[sumOf(d)]; ok {
			delete(chunks, d)
		}
	}
}
