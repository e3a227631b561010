package record

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"testing"
)

// A log of 200 MB is read back whole, and what is in memory
// meanwhile does not grow with it.
func TestBigLog(t *testing.T) {
	const (
		segments = 800
		size     = 256 << 10
	)
	p := inFolder(t)
	r := p.store(t).Recorder(theTask, podA)
	source := rand.NewChaCha8([32]byte{})
	text := make([]byte, size/2)
	_, _ = source.Read(text)
	for n := int64(1); n <= segments; n++ {
		if err := r.Append(t.Context(), n, bigEvent(text, n)); err != nil {
			t.Fatal(err)
		}
	}
	s := p.store(t)
	log, err := s.Log(t.Context(), theTask, 1)
	want(t, err, nil)
	lines := bufio.NewReaderSize(log, size)
	base := inUse()
	read := 0
	for n := int64(1); n <= segments; n++ {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(line, bigEvent(text, n)) {
			t.Fatalf("event %d is another", n)
		}
		read += len(line)
		if n%100 == 0 {
			if now := inUse(); now > base+16<<20 {
				t.Fatalf("after %d MB of the log %d MB more are in use", read>>20, (now-base)>>20)
			}
		}
	}
	if read < 200_000_000 {
		t.Fatalf("the log has %d bytes only", read)
	}
	// From within, and a listing of more than a page.
	equal(t, len(readLog(t, s, segments-1)), 2*size)
}

// bigEvent is a line of 256 KiB of which half can be compressed.
func bigEvent(text []byte, n int64) []byte {
	line := fmt.Appendf(nil, `{"seq":%09d,"text":"`, n)
	for _, b := range text {
		line = append(line, "0123456789abcdef"[b>>4])
	}
	line = append(line, bytes.Repeat([]byte("text "), len(text)/6)...)
	line = append(line, bytes.Repeat([]byte{'x'}, 2*len(text)-len(line)-3)...)
	return append(line, "\"}\n"...)
}

// inUse is the memory in use after a collection, which a test can compare.
func inUse() uint64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// The largest thing that may be appended, and one that S3 would get in parts.
func TestBigAppend(t *testing.T) {
	for name, size := range map[string]int{"folder": MaxAppend, "memory": 1 << 20, "s3": 12 << 20} {
		t.Run(name, func(t *testing.T) {
			p := places[name](t)
			lines := bytes.Repeat([]byte("x"), size)
			_, _ = rand.NewChaCha8([32]byte{}).Read(lines[:size-size/8])
			for i, b := range lines {
				if b == '\n' {
					lines[i] = ' '
				}
			}
			lines[size-1] = '\n'
			for range 2 {
				want(t, p.store(t).Recorder(theTask, podA).Append(t.Context(), 1, lines), nil)
			}
			if got := readLog(t, p.store(t), 1); got != string(lines) {
				t.Fatal("the log has other lines")
			}
		})
	}
}

// Thousands of keys are listed by the page.
func TestManyCheckpoints(t *testing.T) {
	b := inMemory(t).bucket(t)
	s := New(b, Options{})
	r := s.Recorder(theTask, podA)
	add(t, r, "a", 1, 1)
	const many = 2*pageSize + 1
	for turn := range many {
		want(t, r.Commit(t.Context(), Checkpoint{Turn: turn, Events: 1, Writer: podA}), nil)
	}
	pages := 0
	s = New(wrap(t, b, func(op, _ string) error {
		if op == "list" {
			pages++
		}
		return nil
	}, nil), Options{})
	turns, err := s.Turns(t.Context(), theTask)
	want(t, err, nil)
	equal(t, len(turns), many)
	c, err := s.Latest(t.Context(), theTask)
	want(t, err, nil)
	equal(t, c.Turn, many-1)
	if pages < 6 {
		t.Fatalf("%d pages were listed", pages)
	}
}
