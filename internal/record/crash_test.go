package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"gocloud.dev/blob"
)

var errCrash = errors.New("the power is out")

// crashing lets the k-th write of a bucket fail, from when on nothing works. With late,
// that write was carried out.
func crashing(t *testing.T, b *blob.Bucket, k int, late bool) (res *blob.Bucket, crashed func() bool) {
	writes := 0
	before := func(op, _ string) error {
		if op == "write" && writes <= k {
			writes++
			if writes > k && late {
				return nil
			}
		}
		if writes > k {
			return errCrash
		}
		return nil
	}
	after := func(string, string) error {
		if writes > k {
			return errCrash
		}
		return nil
	}
	return wrap(t, b, before, after), func() bool { return writes > k }
}

// acked is what a writer was told is in the record.
type acked struct {
	events int64
	turn   int
	output string
}

// run is a run of turns, from the one after the checkpoint to go on from, until it is done
// or an error says that the machine has crashed.
func run(ctx context.Context, s *Store, w Writer, turns int) (a acked, err error) {
	r := s.Recorder(theTask, w)
	a.turn = -1
	c, err := r.Latest(ctx)
	if err == nil {
		a.turn = c.Turn
	} else if !errors.Is(err, ErrNotFound) {
		return a, err
	}
	if a.events, err = s.LastEvent(ctx, theTask); err != nil {
		return a, err
	}
	for turn := a.turn + 1; turn <= turns; turn++ {
		if err := r.Append(ctx, a.events+1, []byte(events(w.PodUID, a.events+1, a.events+2))); err != nil {
			return a, err
		}
		a.events += 2
		data := fmt.Appendf(nil, "turn %d of %s", turn, w.PodUID)
		if err := r.PutChunk(ctx, DigestOf(data), data); err != nil {
			return a, err
		}
		tree := fmt.Appendf(nil, `{"pieces":[{"chunk":%q,"length":1}]}`+"\n", DigestOf(data))
		if err := r.PutChunk(ctx, DigestOf(tree), tree); err != nil {
			return a, err
		}
		if err := r.Commit(ctx, Checkpoint{Turn: turn, Events: a.events, Writer: w, Time: time.Unix(0, 0).UTC(), Tree: []Digest{DigestOf(tree)}}); err != nil {
			return a, err
		}
		a.turn = turn
		o := Output{Name: "o", MediaType: "text/plain", Size: int64(len(data)), Digest: DigestOf(data), Pieces: []Piece{{Chunk: DigestOf(data), Length: int64(len(data))}}, Writer: w}
		if err := r.PutOutput(ctx, o); err != nil {
			return a, err
		}
		a.output = string(data)
	}
	return a, nil
}

// After a crash at any write, whether or not it was carried out, a fresh store has all
// that was acknowledged, in order and once, and the next writer goes on with it.
func TestCrashAtEveryWrite(t *testing.T) {
	const turns = 1
	for name, open := range places {
		if name == "s3" {
			continue // hundreds of servers, and it is the same code
		}
		for _, late := range []bool{false, true} {
			for next, w := range map[string]Writer{"another pod": podB, "the same pod": podA, "the next attempt": podC} {
				t.Run(fmt.Sprintf("%s/late=%v/%s", name, late, next), func(t *testing.T) {
					for k := 0; ; k++ {
						p := open(t)
						b, crashed := crashing(t, p.bucket(t), k, late)
						before, err := run(t.Context(), New(b, Options{}), podA, turns)
						if !crashed() {
							want(t, err, nil)
							if k < 3+5*turns {
								t.Fatalf("a run has %d writes only", k)
							}
							return
						}
						if err != nil {
							want(t, err, ErrUnavailable)
						}
						recovers(t, p.store(t), before, w, turns)
					}
				})
			}
		}
	}
}

func recovers(t *testing.T, s *Store, before acked, w Writer, turns int) {
	t.Helper()
	last, err := s.LastEvent(t.Context(), theTask)
	want(t, err, nil)
	if last < before.events {
		t.Fatalf("events %d to %d were acknowledged and are lost", last+1, before.events)
	}
	equal(t, readLog(t, s, 1), events(podA.PodUID, 1, last))
	after, err := run(t.Context(), s, w, turns)
	want(t, err, nil)
	c, err := s.Latest(t.Context(), theTask)
	want(t, err, nil)
	equal(t, c.Turn, turns)
	equal(t, readLog(t, s, 1), events(podA.PodUID, 1, last)+events(w.PodUID, last+1, after.events))
	all, err := s.Turns(t.Context(), theTask)
	want(t, err, nil)
	equal(t, len(all), turns+1)
	if before.turn >= 0 {
		c, err = s.Checkpoint(t.Context(), theTask, before.turn)
		want(t, err, nil)
		equal(t, c.Writer, podA) // it was not made again
	}
	_, content, err := s.OutputContent(t.Context(), theTask, "o")
	if before.turn == turns && errors.Is(err, ErrNotFound) {
		return
	}
	want(t, err, nil)
	data, err := io.ReadAll(content)
	want(t, err, nil)
	if !strings.HasPrefix(string(data), "turn ") {
		t.Fatalf("the output is %q", data)
	}
}

// Whatever a store does not do is said to be its fault, leaves nothing behind, and can
// be done when it works again.
func TestUnavailable(t *testing.T) {
	for name, fault := range map[string]error{
		"full": syscall.ENOSPC, "no permission": syscall.EACCES, "read-only": syscall.EROFS, "broken": syscall.EIO, "no answer": context.DeadlineExceeded,
	} {
		t.Run(name, func(t *testing.T) {
			p := inFolder(t)
			var broken error
			s := New(wrap(t, p.bucket(t), func(op, _ string) error {
				if op == "write" {
					return broken
				}
				return nil
			}, nil), Options{})
			r := s.Recorder(theTask, podA)
			add(t, r, "a", 1, 1)
			c := checkpointOf(t, r, podA, 1, 1)
			calls := map[string]func() error{
				"append": func() error { return r.Append(t.Context(), 2, []byte(event("a", 2))) },
				"chunk":  func() error { return r.PutChunk(t.Context(), DigestOf([]byte("new")), []byte("new")) },
				"commit": func() error { return r.Commit(t.Context(), c) },
				"output": func() error {
					return r.PutOutput(t.Context(), Output{Name: "o", MediaType: "text/plain", Digest: DigestOf(nil), Writer: podA})
				},
				"describe": func() error { return s.Describe(t.Context(), theTask, Info{Name: "x"}) },
			}
			broken = fault
			for what, call := range calls {
				err := call()
				if !errors.Is(err, ErrUnavailable) || !errors.Is(err, fault) {
					t.Errorf("%s: got %v, want that the store is not available because of %v", what, err, fault)
				}
			}
			equal(t, readLog(t, p.store(t), 1), events("a", 1, 1))
			broken = nil
			for what, call := range calls {
				if err := call(); err != nil {
					t.Errorf("%s, when the store works again: %v", what, err)
				}
			}
			equal(t, readLog(t, p.store(t), 1), events("a", 1, 2))
		})
	}
}

// A store that takes too long is given up; a caller that gives up is told so.
func TestTimeout(t *testing.T) {
	s := New(wrap(t, inMemory(t).bucket(t), nil, nil), Options{})
	add(t, s.Recorder(theTask, podA), "a", 1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Recorder(theTask, podA).Append(ctx, 2, []byte(event("a", 2)))
	want(t, err, context.Canceled)
	if errors.Is(err, ErrUnavailable) {
		t.Fatal("that the caller gave up is no fault of the store")
	}
	slow := New(s.b, Options{Timeout: time.Nanosecond})
	err = slow.Recorder(theTask, podA).Append(t.Context(), 2, []byte(event("a", 2)))
	want(t, err, ErrUnavailable)
	want(t, err, context.DeadlineExceeded)
	equal(t, readLog(t, s, 1), events("a", 1, 1))
}
