// Package apiserver serves what is kept of tasks: to people as subresources of an
// aggregated API, with Kubernetes' own authentication, authorization and audit, and to
// runners over a door of their own. It makes no pods and runs nothing.
package apiserver

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/sampan-dev/sampan/internal/record"
)

// Store is what the server needs of record.Store, and means what that says.
type Store interface {
	Recorder(t record.Task, w record.Writer) record.Recorder
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

// Opener opens the store.
type Opener func(context.Context) (Store, error)

const (
	openDeadline = 30 * time.Second
	openFirst    = time.Second
	openLast     = time.Minute
)

// lazyStore opens the store in the background, as often as it takes: a server that
// waited for it would answer no discovery, which blocks the deletion of namespaces in
// the whole cluster.
type lazyStore struct {
	open  Opener
	clock clock.Clock

	mu    sync.Mutex
	store Store
	err   error
}

func newLazyStore(open Opener, c clock.Clock) *lazyStore {
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

// health is that of the store, at /healthz/store. It is no part of what decides
// whether the server is alive or ready: without a store it still answers discovery.
func (l *lazyStore) health() healthz.HealthChecker {
	return healthz.NamedCheck("store", func(*http.Request) error {
		_, err := l.get()
		return err
	})
}
