// Package apiserver serves what is kept of tasks: Server has the store, and serves
// runners; Front serves people, as subresources of an aggregated API with Kubernetes' own
// authentication, authorization and audit. Neither makes pods or runs anything.
package apiserver

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/sampan-dev/sampan/internal/record"
)

// Store is what the server needs of record.Store, and means what that says.
type Store interface {
	Recorder(t record.Task, w record.Writer) record.Recorder
	LastRecorder(t record.Task, w record.Writer) record.Recorder
	Describe(ctx context.Context, t record.Task, i record.Info) error
	Info(ctx context.Context, t record.Task) (record.Info, error)
	Log(ctx context.Context, t record.Task, from int64) (io.ReadCloser, error)
	Wait(ctx context.Context, t record.Task, after int64) error
	Turns(ctx context.Context, t record.Task) ([]int, error)
	Checkpoint(ctx context.Context, t record.Task, turn int) (record.Checkpoint, error)
	Hold(ctx context.Context, t record.Task, turn int) (record.Checkpoint, error)
	Outputs(ctx context.Context, t record.Task) ([]record.Output, error)
	OutputContent(ctx context.Context, t record.Task, name string) (record.Output, io.ReadCloser, error)
	Sweep(ctx context.Context, keep func(record.Task, record.Info) bool) (record.Swept, error)
	Close() error
}

// Opener opens the store. What it holds of logs that are read it takes from the room.
type Opener func(ctx context.Context, room *semaphore.Weighted) (Store, error)

const (
	openDeadline = 30 * time.Second
	openFirst    = time.Second
	openLast     = time.Minute
)

// lazyStore opens the store in the background, as often as it takes, so that it is said
// meanwhile what is wrong with it.
type lazyStore struct {
	open  func(context.Context) (Store, error)
	clock clock.Clock

	mu    sync.Mutex
	store Store
	err   error
}

func newLazyStore(open func(context.Context) (Store, error), c clock.Clock) *lazyStore {
	return &lazyStore{open: open, clock: c, err: fmt.Errorf("%w: it is being opened", record.ErrUnavailable)}
}

// get gives the store, or why there is none yet.
func (l *lazyStore) get() (Store, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.store, l.err
}

// run opens the store, and ends when that is done or ctx ends.
func (l *lazyStore) run(ctx context.Context) {
	for pause := openFirst; ; pause = min(2*pause, openLast) {
		store, err := l.try(ctx)
		if err == nil {
			l.set(store, nil)
			return
		}
		klog.FromContext(ctx).Error(err, "The store of the record cannot be opened. It is tried again.", "after", pause)
		l.set(nil, fmt.Errorf("%w: %w", record.ErrUnavailable, err))
		select {
		case <-ctx.Done():
			return
		case <-l.clock.After(pause):
		}
	}
}

func (l *lazyStore) try(ctx context.Context) (Store, error) {
	ctx, cancel := context.WithTimeout(ctx, openDeadline)
	defer cancel()
	return l.open(ctx)
}

func (l *lazyStore) set(store Store, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.store, l.err = store, err
}
