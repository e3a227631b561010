package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"gocloud.dev/blob"
)

// read reads what a kind of object is needed for, with a store that remembers nothing.
func readFor(t *testing.T, b *blob.Bucket, key string) error {
	s := New(b, Options{})
	ctx := t.Context()
	var err error
	switch part := strings.Split(strings.TrimPrefix(key, theTask.prefix()), "/")[0]; part {
	case "log":
		var r io.ReadCloser
		if r, err = s.Log(ctx, theTask, 1); err == nil {
			_, err = io.ReadAll(r)
		}
	case "claims":
		err = s.Recorder(theTask, podB).Append(ctx, 9, []byte(event("b", 9)))
	case "bases", "checkpoints":
		_, err = s.Checkpoint(ctx, theTask, 1)
	case "outputs":
		_, err = s.Outputs(ctx, theTask)
	case "info":
		_, err = s.Info(ctx, theTask)
	case "chunks":
		_, err = s.Recorder(theTask, podB).Chunk(ctx, Digest(digestPrefix+key[strings.LastIndexByte(key, '/')+1:]))
	default:
		t.Fatalf("no test for objects such as %s", key)
	}
	return err
}

// fill makes a record that has every kind of object.
func fill(t *testing.T, b *blob.Bucket) (keys []string) {
	s := New(b, Options{})
	want(t, s.Describe(t.Context(), theTask, Info{Name: "x"}), nil)
	a := s.Recorder(theTask, podA)
	add(t, a, "a", 1, 3)
	add(t, a, "a", 4, 5)
	commit(t, a, podA, 1, 5)
	outputOf(t, a, podA, "content")
	r := s.Recorder(theTask, podB)
	add(t, r, "b", 6, 8)
	err := s.list(t.Context(), "", "", func(o *blob.ListObject) error { keys = append(keys, o.Key); return nil })
	want(t, err, nil)
	return keys
}

func TestEveryFlippedByte(t *testing.T) {
	b := inMemory(t).bucket(t)
	kinds := map[string]bool{}
	for _, key := range fill(t, b) {
		kinds[strings.Split(strings.TrimPrefix(key, theTask.prefix()), "/")[0]] = true
		if strings.Contains(key, "claims/") && strings.HasSuffix(key, "1") || strings.Contains(key, "bases/") && strings.HasSuffix(key, "1") {
			continue // a writer that is gone: nobody reads it again
		}
		object, err := b.ReadAll(t.Context(), key)
		want(t, err, nil)
		want(t, readFor(t, b, key), nil)
		check := func(what string, damaged []byte) {
			t.Helper()
			want(t, b.WriteAll(t.Context(), key, damaged, nil), nil)
			var c *CorruptError
			if err := readFor(t, b, key); !errors.As(err, &c) || c.Object != key {
				t.Fatalf("%s with %s: got %v, want that it is damaged", key, what, err)
			}
		}
		for i := range object {
			damaged := bytes.Clone(object)
			damaged[i] ^= 1 << (i % 8)
			check(fmt.Sprintf("byte %d flipped", i), damaged)
		}
		check("its last byte cut", object[:len(object)-1])
		check("a byte more", append(bytes.Clone(object), 0))
		check("nothing in it", nil)
		check("a thousand zeros", make([]byte, 1000))
		want(t, b.WriteAll(t.Context(), key, object, nil), nil)
	}
	equal(t, kinds, map[string]bool{"log": true, "claims": true, "bases": true, "checkpoints": true, "outputs": true, "info": true, "chunks": true})
}

// An object that is whole, but of another place.
func TestObjectElsewhere(t *testing.T) {
	b := inMemory(t).bucket(t)
	keys := fill(t, b)
	for _, key := range keys {
		if strings.Contains(key, "claims/") || strings.Contains(key, "bases/") {
			continue
		}
		mine, err := b.ReadAll(t.Context(), key)
		want(t, err, nil)
		for _, other := range keys {
			if other == key {
				continue
			}
			object, err := b.ReadAll(t.Context(), other)
			want(t, err, nil)
			want(t, b.WriteAll(t.Context(), key, object, nil), nil)
			var c *CorruptError
			if err := readFor(t, b, key); !errors.As(err, &c) || c.Object != key {
				t.Fatalf("%s with the content of %s: got %v, want that it is damaged", key, other, err)
			}
		}
		want(t, b.WriteAll(t.Context(), key, mine, nil), nil)
	}
}

func TestMissingObject(t *testing.T) {
	for key, read := range map[string]func(*Store) error{
		theTask.logKey(4): func(s *Store) error {
			r, err := s.Log(t.Context(), theTask, 1)
			want(t, err, nil)
			_, err = io.ReadAll(r)
			return err
		},
		theTask.checkpointKey(1, 1): func(s *Store) error { _, err := s.Latest(t.Context(), theTask); return err },
		theTask.baseKey(2):          func(s *Store) error { _, err := s.Latest(t.Context(), theTask); return err },
	} {
		t.Run(key, func(t *testing.T) {
			b := inMemory(t).bucket(t)
			fill(t, b)
			want(t, b.Delete(t.Context(), key), nil)
			var c *CorruptError
			if err := read(New(b, Options{})); !errors.As(err, &c) || c.Object != key || errors.Is(err, ErrNotFound) {
				t.Fatalf("got %v, want that %s is missing", err, key)
			}
		})
	}
}

// A few kilobytes of the store that would be a quarter of a gigabyte of memory.
func TestBomb(t *testing.T) {
	// The first says that it has one byte, the second does not say, the third the truth.
	huge := make([]byte, 1<<28)
	e, err := zstd.NewWriter(nil)
	want(t, err, nil)
	honest := e.EncodeAll(huge, nil)
	var h zstd.Header
	want(t, h.Decode(honest), nil)
	liar := e.EncodeAll([]byte{0}, nil)
	var l zstd.Header
	want(t, l.Decode(liar), nil)
	liar = append(bytes.Clone(liar[:l.HeaderSize]), honest[h.HeaderSize:]...)
	var silent bytes.Buffer
	w, err := zstd.NewWriter(&silent, zstd.WithWindowSize(1<<20))
	want(t, err, nil)
	_, err = io.Copy(w, bytes.NewReader(huge))
	want(t, err, nil)
	want(t, w.Close(), nil)
	for name, bomb := range map[string][]byte{"liar": liar, "silent": silent.Bytes(), "honest": honest} {
		t.Run(name, func(t *testing.T) { defuse(t, bomb) })
	}
}

func defuse(t *testing.T, bomb []byte) {
	s := inMemory(t).store(t)
	chunk := chunkKey(theTask.Namespace, DigestOf(nil))
	want(t, s.put(t.Context(), chunk, bomb), nil)
	seg := theTask.logKey(1)
	header := fmt.Sprintf(`{"first":1,"last":1,"lines":%q,"size":2}`+"\n", DigestOf(nil))
	want(t, s.put(t.Context(), seg, append([]byte(header), bomb...)), nil)

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, key := range []string{chunk, seg} {
		var c *CorruptError
		if err := readFor(t, s.b, key); !errors.As(err, &c) || c.Object != key {
			t.Fatalf("got %v, want that %s is damaged", err, key)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8*MaxChunk {
		t.Fatalf("%d MiB were allocated", grown>>20)
	}
}
