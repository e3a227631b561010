package record

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gocloud.dev/blob"
)

var (
	theTask = Task{Namespace: "team-a", UID: "5f0b9a1e-0000-4000-8000-000000000001"}
	podA    = Writer{Attempt: 1, PodUID: "pod-a"}
	podB    = Writer{Attempt: 1, PodUID: "pod-b"}
	podC    = Writer{Attempt: 2, PodUID: "pod-c"}
)

// event is a line of a log.
func event(by string, n int64) string { return fmt.Sprintf(`{"seq":%d,"by":%q}`+"\n", n, by) }

func events(by string, first, last int64) string {
	var b strings.Builder
	for n := first; n <= last; n++ {
		b.WriteString(event(by, n))
	}
	return b.String()
}

func add(t *testing.T, r Recorder, by string, first, last int64) {
	t.Helper()
	if err := r.Append(t.Context(), first, []byte(events(by, first, last))); err != nil {
		t.Fatalf("appending events %d to %d of %s: %v", first, last, by, err)
	}
}

func readLog(t *testing.T, s *Store, from int64) string {
	t.Helper()
	r, err := s.Log(t.Context(), theTask, from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func want(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got the error %v, want %v", got, want)
	}
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("not as it should be (-want +got):\n%s", d)
	}
}

// putChunk keeps a chunk.
func putChunk(t *testing.T, r Recorder, content string) Digest {
	t.Helper()
	d := DigestOf([]byte(content))
	if err := r.PutChunk(t.Context(), d, []byte(content)); err != nil {
		t.Fatal(err)
	}
	return d
}

// checkpointOf is a checkpoint whose tree has one file.
func checkpointOf(t *testing.T, r Recorder, w Writer, turn int, events int64) Checkpoint {
	t.Helper()
	content := putChunk(t, r, fmt.Sprintf("the file after turn %d of %s", turn, w.PodUID))
	tree := putChunk(t, r, fmt.Sprintf(`{"path":"Zg==","type":"file","mode":420,"pieces":[{"chunk":%q,"length":3}]}`+"\n", content))
	return Checkpoint{Turn: turn, Events: events, LogDigest: "sha256:any", Writer: w,
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Tree: []Digest{tree}, Files: 1, Bytes: 3}
}

func commit(t *testing.T, r Recorder, w Writer, turn int, events int64) Checkpoint {
	t.Helper()
	c := checkpointOf(t, r, w, turn, events)
	if err := r.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLog(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		s := p.store(t)
		equal(t, readLog(t, s, 1), "")
		r := s.Recorder(theTask, podA)
		add(t, r, "a", 1, 1)
		add(t, r, "a", 2, 6)
		add(t, r, "a", 7, 8)
		for from := int64(1); from <= 10; from++ {
			equal(t, readLog(t, s, from), events("a", from, 8))
			equal(t, readLog(t, p.store(t), from), events("a", from, 8))
		}
		last, err := p.store(t).LastEvent(t.Context(), theTask)
		want(t, err, nil)
		equal(t, last, int64(8))
	})
}

func TestAppendAgain(t *testing.T) {
	cases := map[string]struct {
		first int64
		lines string
		want  error
		log   string
	}{
		"the last call":              {first: 4, lines: events("a", 4, 6), log: events("a", 1, 6)},
		"the last call and more":     {first: 4, lines: events("a", 4, 9), log: events("a", 1, 9)},
		"all calls in one":           {first: 1, lines: events("a", 1, 6), log: events("a", 1, 6)},
		"all calls in one, and more": {first: 1, lines: events("a", 1, 7), log: events("a", 1, 7)},
		"from within a segment":      {first: 5, lines: events("a", 5, 7), log: events("a", 1, 7)},
		"a part of a segment":        {first: 4, lines: events("a", 4, 4), log: events("a", 1, 6)},
		"other lines":                {first: 4, lines: events("x", 4, 6), want: ErrFenced},
		"another line at the end":    {first: 4, lines: events("a", 4, 5) + event("x", 6), want: ErrFenced},
		"more, after another line":   {first: 1, lines: event("x", 1) + events("a", 2, 9), want: ErrFenced},
	}
	everywhere(t, func(t *testing.T, p place) {
		for name, c := range cases {
			for who, again := range map[string]func(s *Store) *Store{
				"the same store": func(s *Store) *Store { return s },
				"another store":  func(*Store) *Store { return p.store(t) },
			} {
				t.Run(name+" to "+who, func(t *testing.T) {
					s := p.store(t)
					want(t, s.Delete(t.Context(), theTask), nil)
					add(t, s.Recorder(theTask, podA), "a", 1, 3)
					add(t, s.Recorder(theTask, podA), "a", 4, 6)
					want(t, again(s).Recorder(theTask, podA).Append(t.Context(), c.first, []byte(c.lines)), c.want)
					if c.log == "" {
						c.log = events("a", 1, 6)
					}
					equal(t, readLog(t, p.store(t), 1), c.log)
				})
			}
		}
	})
}

func TestAppendRefuses(t *testing.T) {
	s := inMemory(t).store(t)
	r := s.Recorder(theTask, podA)
	add(t, r, "a", 1, 3)
	for name, c := range map[string]struct {
		first int64
		lines string
		says  string
	}{
		"a gap":              {first: 5, lines: event("a", 5), says: "the log ends with event 3"},
		"event 0":            {first: 0, lines: event("a", 0), says: "not before 1"},
		"nothing":            {first: 4, says: "whole lines"},
		"half a line":        {first: 4, lines: "{", says: "whole lines"},
		"more than fits":     {first: 4, lines: strings.Repeat("x", MaxAppend) + "\n", says: "at most"},
		"far beyond the end": {first: 1 << 62, lines: event("a", 1), says: "the log ends with event 3"},
	} {
		t.Run(name, func(t *testing.T) {
			err := r.Append(t.Context(), c.first, []byte(c.lines))
			if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, ErrFenced) || errors.Is(err, ErrUnavailable) {
				t.Fatalf("got %v, want one that says %q", err, c.says)
			}
			equal(t, readLog(t, s, 1), events("a", 1, 3))
		})
	}
}

// The old writer talks to a replica that has not seen the new one.
func TestNewWriterTakesOver(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		one, two := p.store(t), p.store(t)
		a, b := one.Recorder(theTask, podA), two.Recorder(theTask, podB)
		add(t, a, "a", 1, 3)
		kept := commit(t, a, podA, 0, 3)
		late := checkpointOf(t, a, podA, 1, 3)
		got, err := b.Latest(t.Context())
		want(t, err, nil)
		equal(t, got, kept)
		add(t, b, "b", 4, 5)

		want(t, a.Append(t.Context(), 4, []byte(event("a", 4))), ErrFenced)
		want(t, a.Append(t.Context(), 6, []byte(event("a", 6))), ErrFenced)
		want(t, a.Commit(t.Context(), late), ErrFenced)
		want(t, a.PutOutput(t.Context(), Output{Name: "o", MediaType: "text/plain", Digest: DigestOf(nil), Writer: podA}), ErrFenced)
		_, err = a.Latest(t.Context())
		want(t, err, ErrFenced)
		for _, s := range []*Store{one, two, p.store(t)} {
			want(t, s.Recorder(theTask, podA).Append(t.Context(), 6, []byte(event("a", 6))), ErrFenced)
			equal(t, readLog(t, s, 1), events("a", 1, 3)+events("b", 4, 5))
			c, err := s.Latest(t.Context(), theTask)
			want(t, err, nil)
			equal(t, c, kept)
		}
		// The next one may, on the replica of the first.
		c := one.Recorder(theTask, podC)
		add(t, c, "c", 6, 6)
		want(t, b.Append(t.Context(), 6, []byte(event("b", 6))), ErrFenced)
		want(t, b.Append(t.Context(), 7, []byte(event("b", 7))), ErrFenced)
		want(t, two.Recorder(theTask, Writer{Attempt: 1, PodUID: "pod-d"}).Append(t.Context(), 7, []byte(event("d", 7))), ErrFenced)
		equal(t, readLog(t, two, 4), events("b", 4, 5)+event("c", 6))
	})
}

// What an old writer was still about to write when the new one asked for the checkpoint
// to go on from counts for nobody, and is not acknowledged.
func TestLateCheckpointDoesNotCount(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		one, two := p.store(t), p.store(t)
		a, b := one.Recorder(theTask, podA), two.Recorder(theTask, podB)
		add(t, a, "a", 1, 3)
		kept := commit(t, a, podA, 1, 2)
		late := checkpointOf(t, a, podA, 2, 3)
		_, err := b.Latest(t.Context())
		want(t, err, nil)
		payload, err := marshal("a checkpoint", late)
		want(t, err, nil)
		_, _, err = one.create(t.Context(), theTask.checkpointKey(1, 2), payload)
		want(t, err, nil)
		want(t, a.Commit(t.Context(), late), ErrFenced)

		got, err := b.Latest(t.Context())
		want(t, err, nil)
		equal(t, got, kept)
		add(t, b, "b", 4, 4)
		for _, s := range []*Store{one, two} {
			got, err = s.Latest(t.Context(), theTask)
			want(t, err, nil)
			equal(t, got, kept)
			turns, err := s.Turns(t.Context(), theTask)
			want(t, err, nil)
			equal(t, turns, []int{1})
			_, err = s.Checkpoint(t.Context(), theTask, 2)
			want(t, err, ErrNotFound)
		}
		mine := commit(t, b, podB, 2, 4)
		got, err = one.Recorder(theTask, podC).Latest(t.Context())
		want(t, err, nil)
		equal(t, got, mine)
		got, err = one.Checkpoint(t.Context(), theTask, 2)
		want(t, err, nil)
		equal(t, got, mine)
	})
}

func TestCheckpoints(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		s := p.store(t)
		a := s.Recorder(theTask, podA)
		_, err := a.Latest(t.Context())
		want(t, err, ErrNotFound)
		_, err = s.Latest(t.Context(), theTask)
		want(t, err, ErrNotFound)
		want(t, a.Commit(t.Context(), checkpointOf(t, a, podA, 0, 0)), errNoEvent)
		add(t, a, "a", 1, 5)
		all := map[int]Checkpoint{}
		for turn := range 12 {
			all[turn] = commit(t, a, podA, turn, 5)
		}
		want(t, a.Commit(t.Context(), all[11]), nil)
		other := all[11]
		other.Events--
		want(t, a.Commit(t.Context(), other), ErrFenced)
		b := p.store(t).Recorder(theTask, podB)
		add(t, b, "b", 6, 7)
		got, err := b.Latest(t.Context())
		want(t, err, nil)
		equal(t, got, all[11])
		all[12] = commit(t, b, podB, 12, 7)
		turns, err := s.Turns(t.Context(), theTask)
		want(t, err, nil)
		equal(t, turns, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
		for turn, c := range all {
			got, err := s.Checkpoint(t.Context(), theTask, turn)
			want(t, err, nil)
			equal(t, got, c)
		}
		got, err = s.Latest(t.Context(), theTask)
		want(t, err, nil)
		equal(t, got, all[12])
	})
}

func TestCommitRefuses(t *testing.T) {
	s := inMemory(t).store(t)
	r := s.Recorder(theTask, podA)
	add(t, r, "a", 1, 3)
	good := checkpointOf(t, r, podA, 1, 3)
	broken := func(tree string) func(*Checkpoint) {
		return func(c *Checkpoint) { c.Tree = []Digest{putChunk(t, r, tree)} }
	}
	gone := DigestOf([]byte("gone"))
	for name, c := range map[string]struct {
		change func(*Checkpoint)
		says   string
	}{
		"a turn before the first":        {func(c *Checkpoint) { c.Turn = -1 }, "negative"},
		"events that are not in the log": {func(c *Checkpoint) { c.Events = 4 }, "the log ends with event 3"},
		"another writer":                 {func(c *Checkpoint) { c.Writer = podB }, "cannot be kept by the pod pod-a"},
		"a tree that is not there":       {func(c *Checkpoint) { c.Tree = []Digest{gone} }, "not in the record"},
		"a digest that is none":          {func(c *Checkpoint) { c.Tree = []Digest{"sha256:../../x"} }, "no digest"},
		"a content that is not there":    {broken(fmt.Sprintf(`{"pieces":[{"chunk":%q,"length":3}]}`, gone)), "not in the record"},
		"a tree of something else":       {broken("what"), "entry 1 of the tree is not valid"},
		"a piece that is in no chunk":    {broken(fmt.Sprintf(`{"pieces":[{"chunk":%q,"offset":4194304,"length":3}]}`, gone)), "in no chunk"},
		"too many left out":              {func(c *Checkpoint) { c.LeftOut = make([]string, 101) }, "at most 100"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			c.change(&bad)
			err := r.Commit(t.Context(), bad)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want one that says %q", err, c.says)
			}
			_, err = r.Latest(t.Context())
			want(t, err, ErrNotFound)
		})
	}
}

func TestChunks(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		s := p.store(t)
		r := s.Recorder(theTask, podA)
		big := bytes.Repeat([]byte("0123456789abcdef"), MaxChunk/16)
		for _, data := range [][]byte{nil, []byte("x"), big} {
			d := DigestOf(data)
			_, err := r.Chunk(t.Context(), d)
			want(t, err, ErrNotFound)
			for range 2 {
				want(t, r.PutChunk(t.Context(), d, data), nil)
			}
			got, err := p.store(t).Recorder(theTask, podB).Chunk(t.Context(), d)
			want(t, err, nil)
			if !bytes.Equal(got, data) {
				t.Fatal("the chunk has another content")
			}
		}
		if err := r.PutChunk(t.Context(), DigestOf(nil), []byte("x")); err == nil {
			t.Fatal("a chunk of another digest was taken")
		}
		if err := r.PutChunk(t.Context(), DigestOf(append(big, 'x')), append(big, 'x')); err == nil {
			t.Fatal("a chunk that is too big was taken")
		}
		gone := DigestOf([]byte("gone"))
		missing, err := r.Missing(t.Context(), []Digest{DigestOf(nil), gone, DigestOf(big)})
		want(t, err, nil)
		equal(t, missing, []Digest{gone})
		// Another namespace has none of it.
		elsewhere := s.Recorder(Task{Namespace: "team-b", UID: theTask.UID}, podA)
		missing, err = elsewhere.Missing(t.Context(), []Digest{DigestOf(big)})
		want(t, err, nil)
		equal(t, missing, []Digest{DigestOf(big)})
	})
}

// outputOf keeps an output of two chunks, the first of which has more than it.
func outputOf(t *testing.T, r Recorder, w Writer, content string) Output {
	t.Helper()
	half := len(content) / 2
	one, two := putChunk(t, r, "before "+content[:half]+" after"), putChunk(t, r, content[half:])
	o := Output{Name: "report.json", MediaType: "application/json", Size: int64(len(content)), Digest: DigestOf([]byte(content)), Writer: w, Proven: true,
		Pieces: []Piece{{Chunk: one, Offset: 7, Length: int64(half)}, {Chunk: two, Length: int64(len(content) - half)}}}
	want(t, r.PutOutput(t.Context(), o), nil)
	return o
}

func TestOutputs(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		s := p.store(t)
		a := s.Recorder(theTask, podA)
		add(t, a, "a", 1, 1)
		outputOf(t, a, podA, "{}")
		outputOf(t, a, podA, `{"of":"a"}`)
		b := p.store(t).Recorder(theTask, podB)
		add(t, b, "b", 2, 2)
		o := outputOf(t, b, podB, `{"of":"b, which is the last"}`)
		all, err := a.Outputs(t.Context())
		want(t, err, nil)
		equal(t, all, []Output{o})
		got, content, err := s.OutputContent(t.Context(), theTask, o.Name)
		want(t, err, nil)
		equal(t, got, o)
		data, err := io.ReadAll(content)
		want(t, err, nil)
		equal(t, string(data), `{"of":"b, which is the last"}`)
		_, _, err = s.OutputContent(t.Context(), theTask, "none")
		want(t, err, ErrNotFound)

		wrong := o
		wrong.Digest = DigestOf([]byte("something else"))
		want(t, b.PutOutput(t.Context(), wrong), nil)
		_, content, err = s.OutputContent(t.Context(), theTask, o.Name)
		want(t, err, nil)
		_, err = io.ReadAll(content)
		var corrupt *CorruptError
		if !errors.As(err, &corrupt) {
			t.Fatalf("an output that is not what it says ended with %v", err)
		}
	})
}

// Who has nothing to append to the log of a run that has ended keeps its outputs all the
// same, and from then on its predecessor keeps nothing.
func TestOutputWithoutAnEvent(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		a := p.store(t).Recorder(theTask, podA)
		add(t, a, "a", 1, 2)
		outputOf(t, a, podA, "a")
		s := p.store(t)
		b := s.Recorder(theTask, podB)
		o := outputOf(t, b, podB, "b")
		want(t, a.PutOutput(t.Context(), Output{Name: o.Name, MediaType: "text/plain", Digest: DigestOf(nil), Writer: podA}), ErrFenced)
		want(t, a.Append(t.Context(), 3, []byte(event("a", 3))), ErrFenced)
		all, err := s.Outputs(t.Context(), theTask)
		want(t, err, nil)
		equal(t, all, []Output{o})
		add(t, b, "b", 3, 3)
	})
}

func TestInfoAndDelete(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		s := p.store(t)
		_, err := s.Info(t.Context(), theTask)
		want(t, err, ErrNotFound)
		ended := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
		info := Info{Name: "fix-it", Created: ended.Add(-time.Hour), Ended: &ended, RetainSeconds: 60}
		want(t, s.Describe(t.Context(), theTask, Info{Name: "fix-it"}), nil)
		want(t, s.Describe(t.Context(), theTask, info), nil)
		got, err := p.store(t).Info(t.Context(), theTask)
		want(t, err, nil)
		equal(t, got, info)

		other := Task{Namespace: theTask.Namespace, UID: theTask.UID + "0"}
		for _, task := range []Task{theTask, other} {
			r := s.Recorder(task, podA)
			add(t, r, "a", 1, 3)
			commit(t, r, podA, 1, 3)
			outputOf(t, r, podA, "{}")
		}
		want(t, s.Delete(t.Context(), theTask), nil)
		want(t, s.Delete(t.Context(), theTask), nil)
		equal(t, readLog(t, s, 1), "")
		_, err = s.Info(t.Context(), theTask)
		want(t, err, ErrNotFound)
		_, err = s.Latest(t.Context(), theTask)
		want(t, err, ErrNotFound)
		last, err := s.LastEvent(t.Context(), other)
		want(t, err, nil)
		equal(t, last, int64(3))
		// The record begins anew.
		add(t, s.Recorder(theTask, podA), "a", 1, 1)
	})
}

func TestHostileNames(t *testing.T) {
	s := inFolder(t).store(t)
	for _, name := range []string{"", ".", "..", "a/b", "../x", "a\x00", "a b", "-a", "A\n", strings.Repeat("a", 65), "ä", "a%2fb"} {
		for what, err := range map[string]error{
			"namespace": s.Recorder(Task{Namespace: name, UID: "u"}, podA).Append(t.Context(), 1, []byte("{}\n")),
			"uid":       s.Recorder(Task{Namespace: "n", UID: name}, podA).Append(t.Context(), 1, []byte("{}\n")),
			"pod":       s.Recorder(theTask, Writer{PodUID: name}).Append(t.Context(), 1, []byte("{}\n")),
			"info":      s.Describe(t.Context(), Task{Namespace: "n", UID: name}, Info{}),
			"delete":    s.Delete(t.Context(), Task{Namespace: name, UID: "u"}),
			"output":    func() error { _, err := s.Output(t.Context(), theTask, name); return err }(),
			"digest":    s.Recorder(theTask, podA).PutChunk(t.Context(), Digest("sha256:"+name), nil),
		} {
			if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnavailable) {
				t.Errorf("%q as %s: got %v, want it refused", name, what, err)
			}
		}
	}
	n := 0
	err := s.list(t.Context(), "", "", func(*blob.ListObject) error { n++; return nil })
	want(t, err, nil)
	equal(t, n, 0)
}

func TestWait(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		for name, writer := range map[string]func(*Store) *Store{
			"the same store": func(s *Store) *Store { return s },
			"another store":  func(*Store) *Store { return p.store(t) },
		} {
			t.Run(name, func(t *testing.T) {
				s := p.storeWith(t, Options{Poll: time.Millisecond, MaxPoll: 5 * time.Millisecond})
				want(t, s.Delete(t.Context(), theTask), nil)
				r := writer(s).Recorder(theTask, podA)
				done := make(chan error, 1)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				go func() { done <- s.Wait(ctx, theTask, 2) }()
				add(t, r, "a", 1, 2)
				select {
				case err := <-done:
					t.Fatalf("it did not wait for event 3: %v", err)
				default:
				}
				add(t, r, "a", 3, 3)
				want(t, <-done, nil)
				want(t, s.Wait(ctx, theTask, 0), nil)
				short, stop := context.WithCancel(ctx)
				stop()
				want(t, s.Wait(short, theTask, 3), context.Canceled)
			})
		}
	})
}

// Of two writers on two replicas one wins each place, and the other nothing.
func TestWritersRace(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		const writers, rounds = 4, 20
		var wg sync.WaitGroup
		wins := make([]map[int64]bool, writers)
		for i := range writers {
			wins[i] = map[int64]bool{}
			r := p.store(t).Recorder(theTask, Writer{Attempt: 1, PodUID: fmt.Sprintf("pod-%d", i)})
			wg.Go(func() {
				for n := int64(1); n <= rounds; n++ {
					err := r.Append(context.Background(), n, []byte(event(fmt.Sprint(i), n)))
					if err == nil {
						wins[i][n] = true
					} else if !errors.Is(err, ErrFenced) && !strings.Contains(err.Error(), "the log ends with") {
						t.Errorf("writer %d, event %d: %v", i, n, err)
					}
				}
			})
		}
		wg.Wait()
		s := p.store(t)
		last, err := s.LastEvent(t.Context(), theTask)
		want(t, err, nil)
		var log strings.Builder
		for n := int64(1); n <= last; n++ {
			by := -1
			for i := range writers {
				if wins[i][n] {
					if by >= 0 {
						t.Fatalf("writers %d and %d both have event %d", by, i, n)
					}
					by = i
				}
			}
			log.WriteString(event(fmt.Sprint(by), n))
		}
		equal(t, readLog(t, s, 1), log.String())
	})
}
