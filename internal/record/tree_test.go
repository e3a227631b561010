package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"
)

// A workspace of many files has a listing of many chunks, of which a turn changes few.
func TestCheckpointOfManyFiles(t *testing.T) {
	store, err := Open(t.Context(), "mem://")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // in memory
	w := Writer{Attempt: 1, PodUID: "pod"}
	rec := store.Recorder(Task{Namespace: "ns", UID: "u"}, w)
	if err := rec.Append(t.Context(), 1, []byte("{}\n")); err != nil {
		t.Fatal(err)
	}
	keep := func(path string) Digest {
		line, err := json.Marshal(Entry{Path: []byte(path), Type: EntryFolder, Mode: 0o755})
		if err != nil {
			t.Fatal(err)
		}
		line = append(line, '\n')
		d := DigestOf(line)
		if err := rec.PutChunk(t.Context(), d, line); err != nil {
			t.Fatal(err)
		}
		return d
	}
	c := Checkpoint{Turn: 1, Events: 1, LogDigest: "x", Writer: w, Time: time.Unix(1, 0).UTC()}
	for i := range 1000 {
		c.Tree = append(c.Tree, keep(fmt.Sprintf("%04d", i)))
	}
	if err := rec.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	c.Turn++
	c.Tree[500] = keep("0500-changed")
	if err := rec.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	c.Turn++
	c.Tree[501] = DigestOf([]byte("nobody has kept this"))
	if err := rec.Commit(t.Context(), c); !errors.Is(err, ErrNotFound) {
		t.Errorf("a checkpoint of a chunk that is not there: %v", err)
	}
	if last, err := rec.Latest(t.Context()); err != nil || last.Turn != 2 || len(last.Tree) != 1000 {
		t.Errorf("the last checkpoint is of turn %d, %v", last.Turn, err)
	}
}
