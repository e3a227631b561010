package apiserver

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/sampan-dev/sampan/internal/record"
)

// room is what the bodies of requests, chunks and logs that are held at once have
// together, in bytes.
type room struct {
	bytes *semaphore.Weighted
	// patience is how long it is waited for some of it.
	patience time.Duration
}

func newRoom() *room { return &room{bytes: semaphore.NewWeighted(maxHeld), patience: roomDeadline} }

// take takes some of it, until release is called. Who takes twice lets go in between, so
// that no two wait for each other.
func (r *room) take(ctx context.Context, bytes int64) (release func(), err error) {
	if bytes == 0 {
		return func() {}, nil // it waits for nobody
	}
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	if err := r.bytes.Acquire(ctx, bytes); err != nil {
		return nil, fmt.Errorf("%w: other requests take all the room that there is for what is sent", record.ErrUnavailable)
	}
	return func() { r.bytes.Release(bytes) }, nil
}
