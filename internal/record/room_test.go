package record

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sync/semaphore"
)

// Readers of logs hold no more than the room that there is: one has to wait until
// another has read on, and what it is given then is whole.
func TestReadersOfLogsShareARoom(t *testing.T) {
	const line, lines = 1 << 20, 3
	room := semaphore.NewWeighted(3 * line / 2)
	s, err := OpenWith(t.Context(), "mem://", Options{Room: room})
	want(t, err, nil)
	t.Cleanup(func() { _ = s.Close() })
	text := strings.Repeat("x", line-1) + "\n"
	r := s.Recorder(theTask, podA)
	for first := range lines {
		want(t, r.Append(t.Context(), int64(first+1), []byte(text)), nil)
	}

	slow, err := s.Log(t.Context(), theTask, 1)
	want(t, err, nil)
	one := make([]byte, 1)
	_, err = io.ReadFull(slow, one)
	want(t, err, nil)
	if room.TryAcquire(line) {
		t.Fatal("a segment that is being read takes no room")
	}
	quick, err := s.Log(t.Context(), theTask, 1)
	want(t, err, nil)
	read := make(chan error, 1)
	go func() {
		all, err := io.ReadAll(quick)
		if err == nil && len(all) != lines*line {
			err = errors.New("it is not whole")
		}
		read <- errors.Join(err, quick.Close())
	}()
	for room.TryAcquire(1) { // it gives no more once somebody waits
		room.Release(1)
		select {
		case err := <-read:
			t.Fatalf("a second reader does not wait: %v", err)
		default:
			runtime.Gosched()
		}
	}
	want(t, slow.Close(), nil)
	want(t, <-read, nil)
	if !room.TryAcquire(3 * line / 2) {
		t.Error("readers that are done keep room")
	}
}
