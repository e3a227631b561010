package record

import (
	"testing"
)

// Of a record that is gone on from at its end alone there is one checkpoint, the last that
// a writer has committed that has the record.
func TestOnlyTheLastCheckpointIsKept(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		s := p.store(t)
		turns := func(want ...int) {
			t.Helper()
			got, err := s.numbers(t.Context(), theTask.checkpointsPrefix(), 1<<40)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, got, want)
		}
		a := s.LastRecorder(theTask, podA)
		add(t, a, "a", 1, 1)
		commit(t, a, podA, 1, 1)
		commit(t, a, podA, 2, 1)
		turns(2)
		want(t, a.Commit(t.Context(), checkpointOf(t, a, podA, 2, 1)), nil) // its answer was lost

		c := p.store(t).LastRecorder(theTask, podC)
		last, err := c.Latest(t.Context())
		want(t, err, nil)
		equal(t, last.Turn, 2)
		want(t, a.Commit(t.Context(), checkpointOf(t, a, podA, 3, 1)), ErrFenced)
		last, err = c.Latest(t.Context())
		want(t, err, nil)
		equal(t, last.Turn, 2)
		add(t, c, "c", 2, 2)
		commit(t, c, podC, 3, 2)
		turns(3)
		last, err = s.Latest(t.Context(), theTask)
		want(t, err, nil)
		equal(t, last.Writer, podC)
	})
}

// A chunk that only an earlier checkpoint had named may be gone, though this writer has
// named it: a checkpoint is not acknowledged before it was looked for.
func TestWhatAnEarlierCheckpointNamedIsLookedForAgain(t *testing.T) {
	p := inMemory(t)
	s := p.store(t)
	r := s.LastRecorder(theTask, podA)
	add(t, r, "a", 1, 1)
	want(t, s.Describe(t.Context(), theTask, Info{Name: "box", Kind: KindSandbox}), nil)
	first := commit(t, r, podA, 1, 1)
	commit(t, r, podA, 2, 1)
	equal(t, sweep(t, p.storeWith(t, later()), keepAll).Chunks, 2)
	first.Turn = 3
	want(t, r.Commit(t.Context(), first), ErrNotFound)
	last, err := s.Latest(t.Context(), theTask)
	want(t, err, nil)
	equal(t, last.Turn, 2)
}
