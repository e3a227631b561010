package record

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"
)

// roomDeadline is how long a reader of a log waits until others hold less.
const roomDeadline = 30 * time.Second

// errCrowded says that others hold so much that there is no room for an object now.
var errCrowded = errors.New("others hold too much at once")

// held is what a reader holds of the room that all have together. Without a room it may
// hold anything.
type held struct {
	room *semaphore.Weighted
	// bytes are those that it holds, and need those that it had no room for.
	bytes, need int64
}

// atLeast makes sure that it holds some bytes. If there is no room for them, it lets go
// of all it holds, so that nobody who waits keeps others from going on.
func (h *held) atLeast(n int64) bool {
	if h.room == nil || n <= h.bytes {
		return true
	}
	if h.room.TryAcquire(n - h.bytes) {
		h.bytes = n
		return true
	}
	h.atMost(0)
	h.need = n
	return false
}

// atMost gives back what it holds beyond some bytes.
func (h *held) atMost(n int64) {
	if h.room != nil && h.bytes > n {
		h.room.Release(h.bytes - n)
		h.bytes = n
	}
}

// wait waits for the room that there was not. It holds nothing meanwhile.
func (h *held) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roomDeadline)
	defer cancel()
	if err := h.room.Acquire(ctx, h.need); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, errCrowded)
	}
	h.bytes = h.need
	return nil
}
