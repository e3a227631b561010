package record

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// A new writer asks for the checkpoint to go on from just when the old one keeps another:
// either the new one sees it, or the old one is not told that it was kept.
func TestClaimWhileCommitting(t *testing.T) {
	for name, late := range map[string]bool{"before it is there": false, "when it is there": true} {
		t.Run(name, func(t *testing.T) {
			p := inMemory(t)
			b := p.store(t).Recorder(theTask, podB)
			var seen Checkpoint
			var once sync.Once
			claim := func(op, key string) error {
				if op == "write" && strings.HasSuffix(key, number(2)) && strings.Contains(key, "/checkpoints/") {
					once.Do(func() {
						var err error
						seen, err = b.Latest(t.Context())
						want(t, err, nil)
					})
				}
				return nil
			}
			nothing := func(string, string) error { return nil }
			before, after := claim, nothing
			if late {
				before, after = nothing, claim
			}
			a := New(wrap(t, p.bucket(t), before, after), Options{}).Recorder(theTask, podA)
			add(t, a, "a", 1, 3)
			kept := commit(t, a, podA, 1, 3)
			c := checkpointOf(t, a, podA, 2, 3)
			want(t, a.Commit(t.Context(), c), ErrFenced)
			if late {
				kept = c
			}
			equal(t, seen, kept)
			got, err := b.Latest(t.Context())
			want(t, err, nil)
			equal(t, got, kept)
		})
	}
}

// A sweep has planned to remove an old chunk when a commit makes it young, and removes it
// after that.
func TestTouchAfterPlan(t *testing.T) {
	dir := t.TempDir()
	opts := Options{Grace: time.Hour, Poll: time.Millisecond, MaxPoll: time.Millisecond}
	planned, removing := make(chan struct{}), make(chan struct{})
	var once, touch sync.Once
	sweeper := New(wrap(t, openPlace(t, "file://"+dir), func(op, key string) error {
		if op == "delete" && strings.HasPrefix(key, chunksPrefix) {
			once.Do(func() { close(planned) })
			<-removing
		}
		return nil
	}, nil), opts)
	done := make(chan error, 1)
	s := New(wrap(t, openPlace(t, "file://"+dir), func(op, key string) error {
		if op == "write" && strings.HasPrefix(key, chunksPrefix) {
			touch.Do(func() {
				go func() {
					_, err := sweeper.Sweep(t.Context(), keepAll)
					done <- err
				}()
				select {
				case <-planned:
				case <-time.After(time.Minute):
					t.Error("the sweep removes nothing")
				}
			})
		}
		return nil
	}, nil), opts)
	// What is old was written by way of another store.
	other := New(openPlace(t, "file://"+dir), opts).Recorder(theTask, podA)
	add(t, other, "a", 1, 3)
	c := checkpointOf(t, other, podA, 1, 3)
	age(t, dir, 2*time.Hour)
	err := s.Recorder(theTask, podA).Commit(t.Context(), c)
	close(removing)
	want(t, <-done, nil)
	want(t, err, ErrUnavailable)
	_, err = s.Latest(t.Context(), theTask)
	want(t, err, ErrNotFound)
}

// A segment that is whole but continues another log.
func TestBrokenChain(t *testing.T) {
	s := inMemory(t).store(t)
	r := s.Recorder(theTask, podA)
	add(t, r, "a", 1, 3)
	line := []byte(event("a", 4))
	payload, err := encodeSegment(segment{First: 4, Last: 4, Writer: podA, Term: 1, Lines: DigestOf(line), Size: len(line), Chain: "another"}, line)
	want(t, err, nil)
	_, _, err = s.create(t.Context(), theTask.logKey(4), payload)
	want(t, err, nil)
	_, err = s.LastEvent(t.Context(), theTask)
	var c *CorruptError
	if !errors.As(err, &c) || c.Object != theTask.logKey(4) {
		t.Fatalf("got %v", err)
	}
}
