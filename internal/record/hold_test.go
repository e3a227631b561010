package record

import (
	"testing"
	"time"
)

// What another task goes on from stays for it, though its record is deleted.
func TestHold(t *testing.T) {
	dir := t.TempDir()
	s := New(openPlace(t, "file://"+dir), Options{Grace: time.Hour})
	r := s.Recorder(theTask, podA)
	add(t, r, "a", 1, 3)
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
		_, err = s.Hold(t.Context(), Task{Namespace: "team-b", UID: theTask.UID}, 1)
		want(t, err, ErrNotFound)
	})
}
