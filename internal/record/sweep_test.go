package record

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gocloud.dev/blob"
)

// later are options with which all that is written now is old.
func later() Options {
	return Options{Grace: time.Hour, Now: func() time.Time { return time.Now().Add(2 * time.Hour) }}
}

func keepAll(Task, Info) bool { return true }

func sweep(t *testing.T, s *Store, keep func(Task, Info) bool) Swept {
	t.Helper()
	res, err := s.Sweep(t.Context(), keep)
	want(t, err, nil)
	return res
}

func has(t *testing.T, s *Store, namespace string, d Digest) bool {
	t.Helper()
	found, err := s.exists(t.Context(), chunkKey(namespace, d))
	want(t, err, nil)
	return found
}

func TestSweep(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		s := p.storeWith(t, Options{Grace: time.Hour})
		other := Task{Namespace: theTask.Namespace, UID: "other"}
		elsewhere := Task{Namespace: "team-b", UID: "elsewhere"}
		var trash []Digest
		for _, task := range []Task{theTask, other, elsewhere} {
			r := s.Recorder(task, podA)
			add(t, r, "a", 1, 3)
			want(t, s.Describe(t.Context(), task, Info{Name: task.UID}), nil)
			commit(t, r, podA, 1, 3)
			commit(t, r, podA, 2, 3)
			outputOf(t, r, podA, "of "+task.UID)
			trash = append(trash, putChunk(t, r, "trash of "+task.UID))
		}
		// All is young.
		equal(t, sweep(t, s, keepAll), Swept{Records: 3})

		old := p.storeWith(t, later())
		res := sweep(t, old, keepAll)
		if res.Bytes == 0 {
			t.Fatal("it does not say how much room it made")
		}
		res.Bytes = 0
		equal(t, res, Swept{Records: 3, Chunks: 3})
		for i, ns := range []string{"team-a", "team-a", "team-b"} {
			equal(t, has(t, s, ns, trash[i]), false)
		}
		for _, task := range []Task{theTask, other, elsewhere} {
			c, err := old.Latest(t.Context(), task)
			want(t, err, nil)
			named := 0
			want(t, s.named(t.Context(), task.Namespace, c.Tree, func(d Digest) error {
				named++
				equal(t, has(t, s, task.Namespace, d), true)
				return nil
			}), nil)
			equal(t, named, 2)
			_, r, err := s.OutputContent(t.Context(), task, "report.json")
			want(t, err, nil)
			equal(t, r.Close(), nil)
		}
		// A record is deleted, and the chunks that only it named.
		res = sweep(t, old, func(task Task, i Info) bool { equal(t, i.Name, task.UID); return task != other })
		res.Bytes = 0
		equal(t, res, Swept{Records: 2, Deleted: 1, Chunks: 2}) // two of its output; the rest is also of theTask
		equal(t, sweep(t, old, keepAll), Swept{Records: 2})
		last, err := p.store(t).LastEvent(t.Context(), other)
		want(t, err, nil)
		equal(t, last, int64(0))
		left := 0
		want(t, s.list(t.Context(), sweepsPrefix, "", func(*blob.ListObject) error { left++; return nil }), nil)
		equal(t, left, 0)
	})
}

// What cannot be read might name anything.
func TestSweepOfDamagedNamespace(t *testing.T) {
	p := inMemory(t)
	s := p.store(t)
	r := s.Recorder(theTask, podA)
	add(t, r, "a", 1, 3)
	commit(t, r, podA, 1, 3)
	trash := putChunk(t, r, "trash")
	elsewhere := putChunk(t, s.Recorder(Task{Namespace: "team-b", UID: "x"}, podA), "trash")
	key := theTask.checkpointKey(1, 1)
	want(t, s.b.WriteAll(t.Context(), key, []byte("damaged"), nil), nil)
	res, err := p.storeWith(t, later()).Sweep(t.Context(), keepAll)
	var c *CorruptError
	if !errors.As(err, &c) || c.Object != key {
		t.Fatalf("got %v, want that %s is damaged", err, key)
	}
	equal(t, has(t, s, "team-a", trash), true)
	equal(t, has(t, s, "team-b", elsewhere), false)
	equal(t, res.Chunks, 1)
}

// age makes the chunks of a folder older.
func age(t *testing.T, dir string, by time.Duration) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "chunks/*/*"))
	want(t, err, nil)
	at := time.Now().Add(-by)
	for _, f := range files {
		want(t, os.Chtimes(f, at, at), nil)
	}
}

// In every place of a sweep another replica commits a checkpoint whose chunks are old and
// named by nobody. Either the commit is refused, or all that it names stays.
func TestCommitWhileSweeping(t *testing.T) {
	refused, kept := 0, 0
	for k := 0; ; k++ {
		dir := t.TempDir()
		steps, done := 0, false
		opts := Options{Grace: time.Hour, Poll: time.Millisecond, MaxPoll: time.Millisecond}
		other := New(openPlace(t, "file://"+dir), opts)
		r := other.Recorder(theTask, podA)
		impatient := opts
		impatient.Timeout = 500 * time.Millisecond // for the sweep stands still meanwhile
		during := New(openPlace(t, "file://"+dir), impatient).Recorder(theTask, podA)
		add(t, r, "a", 1, 3)
		c := checkpointOf(t, r, podA, 1, 3)
		age(t, dir, 2*time.Hour)
		var result error
		// Chunks are removed several at a time: one after the other here.
		var mu sync.Mutex
		step := func(string, string) error {
			mu.Lock()
			defer mu.Unlock()
			if steps == k {
				done = true
				result = during.Commit(context.Background(), c)
			}
			steps++
			return nil
		}
		s := New(wrap(t, openPlace(t, "file://"+dir), step, nil), opts)
		_, err := s.Sweep(t.Context(), keepAll)
		want(t, err, nil)
		if !done {
			break
		}
		if result == nil {
			kept++
			for _, d := range append(c.Tree, DigestOf([]byte("the file after turn 1 of pod-a"))) {
				if !has(t, other, theTask.Namespace, d) {
					t.Fatalf("at step %d a checkpoint was acknowledged whose chunk %s is gone", k, d)
				}
			}
			continue
		}
		refused++
		if !errors.Is(result, ErrUnavailable) && !errors.Is(result, ErrNotFound) {
			t.Fatalf("at step %d: %v", k, result)
		}
		// It can be made when the chunks have been written again.
		commit(t, r, podA, 1, 3)
	}
	if refused == 0 || kept == 0 {
		t.Fatalf("%d commits were refused and %d kept: the test tests nothing", refused, kept)
	}
}

// The other way round: in every place of a commit another replica sweeps.
func TestSweepWhileCommitting(t *testing.T) {
	swept := 0
	for k := 0; ; k++ {
		dir := t.TempDir()
		opts := Options{Grace: time.Hour, Poll: time.Millisecond, MaxPoll: time.Millisecond}
		other := New(openPlace(t, "file://"+dir), opts)
		var steps atomic.Int64
		var on atomic.Bool
		var once sync.Once
		s := New(wrap(t, openPlace(t, "file://"+dir), func(string, string) error {
			if on.Load() && steps.Add(1) == int64(k)+1 {
				once.Do(func() {
					res, err := other.Sweep(context.Background(), keepAll)
					if err != nil {
						t.Error(err)
					}
					swept += res.Chunks
				})
			}
			return nil
		}, nil), opts)
		r := s.Recorder(theTask, podA)
		add(t, r, "a", 1, 3)
		c := checkpointOf(t, r, podA, 1, 3)
		age(t, dir, 2*time.Hour)
		on.Store(true)
		err := r.Commit(t.Context(), c)
		on.Store(false)
		if err == nil {
			for _, d := range append(c.Tree, DigestOf([]byte("the file after turn 1 of pod-a"))) {
				if !has(t, other, theTask.Namespace, d) {
					t.Fatalf("at step %d a checkpoint was acknowledged whose chunk %s is gone", k, d)
				}
			}
		} else if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrNotFound) {
			t.Fatalf("at step %d: %v", k, err)
		}
		if steps.Load() <= int64(k) {
			break
		}
	}
	if swept == 0 {
		t.Fatal("no sweep removed anything: the test tests nothing")
	}
}

// A sweep whose process died stands in the way until its time is over, and no longer.
func TestSweepThatDied(t *testing.T) {
	p := inFolder(t)
	now := time.Now()
	opts := Options{Grace: time.Hour, Poll: time.Millisecond, MaxPoll: time.Millisecond, Now: func() time.Time { return now }}
	s := p.storeWith(t, opts)
	r := s.Recorder(theTask, podA)
	add(t, r, "a", 1, 1)
	want(t, s.announce(t.Context(), sweepPrefix(theTask.Namespace)+"X", now.Add(s.lease())), nil)
	c := checkpointOf(t, r, podA, 1, 1)
	opts.Timeout = 200 * time.Millisecond
	want(t, p.storeWith(t, opts).Recorder(theTask, podA).Commit(t.Context(), c), ErrUnavailable)
	now = now.Add(2*s.lease() + time.Second)
	want(t, r.Commit(t.Context(), c), nil)
	now = now.Add(2 * time.Hour)
	sweep(t, s, keepAll)
	left := 0
	want(t, s.list(t.Context(), sweepsPrefix, "", func(*blob.ListObject) error { left++; return nil }), nil)
	equal(t, left, 0)
}

func TestSweepOfTemporaryFiles(t *testing.T) {
	dir := t.TempDir()
	s := New(openPlace(t, "file://"+dir), Options{Grace: time.Hour})
	for name, at := range map[string]time.Time{"OLD": time.Now().Add(-2 * time.Hour), "YOUNG": time.Now()} {
		f := filepath.Join(dir, ".tmp", name)
		want(t, os.WriteFile(f, []byte("half"), 0o600), nil)
		want(t, os.Chtimes(f, at, at), nil)
	}
	n := 0
	want(t, s.list(t.Context(), "", "", func(*blob.ListObject) error { n++; return nil }), nil)
	equal(t, n, 0)
	equal(t, sweep(t, s, keepAll), Swept{Temporary: 1})
}
