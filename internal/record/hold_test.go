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
	want(t, s.Describe(t.Context(), theTask, Info{Name: "t"}), nil) // one without is kept for a while
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
