package record

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// What lists a home, and what that names, has to be there, and stays for as long as the
// checkpoint is held or its record kept.
func TestTheHomeOfACheckpointIsKept(t *testing.T) {
	dir := t.TempDir()
	s := New(openPlace(t, "file://"+dir), Options{Grace: time.Hour})
	r := s.Recorder(theTask, podA)
	add(t, r, "a", 1, 3)
	want(t, s.Describe(t.Context(), theTask, Info{Name: "t"}), nil)
	c := checkpointOf(t, r, podA, 1, 3)
	gone := DigestOf([]byte("gone"))
	list := func(d Digest) string { return fmt.Sprintf(`{"pieces":[{"chunk":%q,"length":3}]}`+"\n", d) }
	c.Home = &Tree{Chunks: []Digest{putChunk(t, r, list(gone))}, Files: 1, Bytes: 3}
	want(t, r.Commit(t.Context(), c), ErrNotFound)
	content := putChunk(t, r, "abc")
	c.Home.Chunks[0] = putChunk(t, r, list(content))
	want(t, r.Commit(t.Context(), c), nil)
	there := func(yes bool) {
		t.Helper()
		equal(t, has(t, s, theTask.Namespace, content), yes)
		equal(t, has(t, s, theTask.Namespace, c.Home.Chunks[0]), yes)
	}

	age(t, dir, 2*time.Hour)
	sweep(t, s, keepAll)
	there(true)
	held, err := s.Hold(t.Context(), theTask, 1)
	want(t, err, nil)
	equal(t, held, c)
	sweep(t, s, func(Task, Info) bool { return false })
	there(true)
	age(t, dir, 2*time.Hour)
	sweep(t, s, keepAll)
	there(false)
}

func TestHomesThatAreNone(t *testing.T) {
	for says, home := range map[string]Tree{
		"negative":  {Files: -1},
		"numbers":   {Bytes: -1},
		"no digest": {Chunks: []Digest{"sha256:../../x"}},
		"at most":   {Chunks: make([]Digest, maxTree+1)},
	} {
		err := Checkpoint{Writer: podA, Home: &home}.check(podA)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want one that says %q", err, says)
		}
	}
	want(t, Checkpoint{Writer: podA, Home: &Tree{}}.check(podA), nil)
}

// A checkpoint from before homes were kept has none, which is not an empty one.
func TestCheckpointsWithoutAHome(t *testing.T) {
	var c Checkpoint
	want(t, json.Unmarshal([]byte(`{"turn":1,"events":2,"logDigest":"x","files":0,"bytes":0}`), &c), nil)
	equal(t, c.Home == nil, true)
	data, err := json.Marshal(c)
	want(t, err, nil)
	equal(t, strings.Contains(string(data), "home"), false)
	data, err = json.Marshal(Checkpoint{Home: &Tree{}})
	want(t, err, nil)
	equal(t, strings.Contains(string(data), `"home":{"files":0,"bytes":0}`), true)
}
