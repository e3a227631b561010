package record

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// What another task goes on from stays for it, though its record is deleted.
func TestHold(t *testing.T) {
	dir := t.TempDir()
	s := New(openPlace(t, "file://"+dir), Options{Grace: time.Hour})
	r := s.Recorder(theTask, podA)
	add(t, r, "a", 1, 3)
	want(t, s.Describe(t.Context(), theTask, Info{Name: "x"}), nil)
	first := commit(t, r, podA, 1, 3)
	second := commit(t, r, podA, 2, 3)
	last, err := s.Hold(t.Context(), theTask, Last)
	want(t, err, nil)
	equal(t, last, second)

	age(t, dir, 2*time.Hour)
	held, err := s.Hold(t.Context(), theTask, 1)
	want(t, err, nil)
	equal(t, held, first)
	equal(t, sweep(t, s, func(Task, Info) bool { return false }).Deleted, 1)
	named := 0
	want(t, s.named(t.Context(), theTask.Namespace, held.Tree, func(d Digest) error {
		named++
		equal(t, has(t, s, theTask.Namespace, d), true)
		return nil
	}), nil)
	equal(t, named, 2)
	for _, d := range second.Tree {
		equal(t, has(t, s, theTask.Namespace, d), false)
	}
}

// However many chunks are to be written again, and for however many requests, few of them are
// in memory at once.
func TestHoldTakesLittleMemory(t *testing.T) {
	dir := t.TempDir()
	opts := Options{Grace: time.Hour}
	r := New(openPlace(t, "file://"+dir), opts).Recorder(theTask, podA)
	add(t, r, "a", 1, 3)
	var entries strings.Builder
	for i := range 20 {
		content := putChunk(t, r, fmt.Sprint("chunk ", i))
		_, _ = fmt.Fprintf(&entries, `{"path":"Zg==","type":"file","mode":420,"pieces":[{"chunk":%q,"length":3}]}`+"\n", content)
	}
	tree := putChunk(t, r, entries.String())
	want(t, r.Commit(t.Context(), Checkpoint{Turn: 1, Events: 3, Writer: podA, Tree: []Digest{tree}}), nil)
	of := func(key string) bool {
		return strings.HasPrefix(key, chunksPrefix) && key != chunkKey(theTask.Namespace, tree)
	}
	age(t, dir, 2*time.Hour)

	var held, most, written atomic.Int64
	s := New(wrap(t, openPlace(t, "file://"+dir), func(op, key string) error {
		if op != "read" || !of(key) {
			return nil
		}
		n := held.Add(1)
		for range 1000 { // so that others that may come do
			runtime.Gosched()
			n = max(n, held.Load())
		}
		for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
		}
		return nil
	}, func(op, key string) error {
		if op == "write" && of(key) {
			written.Add(1)
			held.Add(-1)
		}
		return nil
	}), opts)
	g, ctx := errgroup.WithContext(t.Context())
	for range 2 {
		g.Go(func() error {
			_, err := s.Hold(ctx, theTask, 1)
			return err
		})
	}
	want(t, g.Wait(), nil)
	if n := written.Load(); n < 20 || most.Load() > touches {
		t.Errorf("%d chunks are written again, and up to %d are held at once", n, most.Load())
	}
}

func TestHoldOfWhatIsNotThere(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		s := p.store(t)
		r := s.Recorder(theTask, podA)
		_, err := s.Hold(t.Context(), theTask, Last)
		want(t, err, ErrNotFound)
		add(t, r, "a", 1, 3)
		commit(t, r, podA, 1, 3)
		_, err = s.Hold(t.Context(), theTask, 2)
		want(t, err, ErrNotFound)
		equal(t, err.Error(), "no checkpoint of turn 2; there are those of turns 1")
		_, err = s.Hold(t.Context(), Task{Namespace: "team-b", UID: theTask.UID}, 1)
		want(t, err, ErrNotFound)
	})
}

func TestRanges(t *testing.T) {
	many := make([]int, 0, 20)
	for i := range 20 {
		many = append(many, 2*i)
	}
	for want, numbers := range map[string][]int{
		"0": {0}, "0-2": {0, 1, 2}, "0, 2-3, 5": {0, 2, 3, 5}, "…, 24, 26, 28, 30, 32, 34, 36, 38": many,
	} {
		equal(t, ranges(numbers), want)
	}
}
