package record

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/memblob" // for the scheme mem
	"golang.org/x/sync/semaphore"
	"k8s.io/utils/lru"

	"github.com/sampan-dev/sampan/internal/record/folder"
)

// Options are those of a Store. What is zero has its default.
type Options struct {
	// Timeout bounds one operation on one object; by default 30 s. A folder's file
	// system that hangs cannot be given up.
	Timeout time.Duration
	// Tasks is of how many tasks the store remembers the end of the log; by default 1024.
	Tasks int
	// Poll and MaxPoll are the first and the longest pause between two looks for what
	// other processes append; by default 100 ms and 2 s.
	Poll, MaxPoll time.Duration
	// Grace is how old a chunk that nothing names has to be for a sweep to remove it;
	// by default 24 h. All who use a store must have the same, and clocks that agree to
	// within an eighth of it and within ten minutes.
	Grace time.Duration
	// Room bounds the bytes of logs that are held at once while somebody reads them,
	// together with whatever else takes some of it; nil for no bound. It has to be
	// more than a segment takes, compressed and not.
	Room *semaphore.Weighted
	// Now is the clock.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Tasks == 0 {
		o.Tasks = 1024
	}
	if o.Poll == 0 {
		o.Poll = 100 * time.Millisecond
	}
	if o.MaxPoll == 0 {
		o.MaxPoll = 2 * time.Second
	}
	if o.Grace == 0 {
		o.Grace = 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Store keeps records in a bucket. Several processes may share one; what it remembers
// only spares it requests, and is checked by the requests that it makes. It is safe for
// concurrent use.
type Store struct {
	objects
	opts Options
	// touching has room for those that make chunks young.
	touching *semaphore.Weighted

	mu    sync.Mutex
	tasks *lru.Cache
}

// Open opens a store: file:///a/folder, mem:// or, where the package drivers is linked
// in, s3://bucket?region=…&endpoint=…, with what else gocloud.dev knows in its URLs.
func Open(ctx context.Context, location string) (*Store, error) {
	return OpenWith(ctx, location, Options{})
}

// OpenWith is Open with options.
func OpenWith(ctx context.Context, location string, opts Options) (*Store, error) {
	b, err := openBucket(ctx, location)
	if err != nil {
		return nil, fmt.Errorf("the store of the record cannot be opened: %w", err)
	}
	return New(b, opts), nil
}

func openBucket(ctx context.Context, location string) (*blob.Bucket, error) {
	u, err := url.Parse(location)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "file" {
		return blob.OpenBucket(ctx, location)
	}
	if u.Host != "" || u.RawQuery != "" || !filepath.IsAbs(u.Path) {
		return nil, fmt.Errorf("%s is no folder: write file:///path", location)
	}
	return folder.Open(u.Path)
}

// New is a store in a bucket, which is the store's from now on. The bucket has to
// understand WriterOptions.IfNotExist.
func New(b *blob.Bucket, opts Options) *Store {
	opts = opts.withDefaults()
	return &Store{
		objects:  objects{b: b, timeout: opts.Timeout},
		opts:     opts,
		touching: semaphore.NewWeighted(touches),
		tasks:    lru.New(opts.Tasks),
	}
}

// Close ends the use of the store.
func (s *Store) Close() error { return s.b.Close() }

// task is what the store remembers of a task. Two of the same task may be in use where
// one was forgotten; the store's objects decide between them as between processes.
type task struct {
	// lock has room for the one who uses what follows.
	lock   chan struct{}
	loaded bool
	head   head
	// claim is the newest claim seen; settled says that its base is in the store.
	claim   claim
	settled bool
	// named are the chunks that the last checkpoint of a writer names.
	named   map[Digest]struct{}
	namedBy Writer

	mu      sync.Mutex
	changed chan struct{}
}

// remembered is the task's state, for one's own use until unlock is called.
func (s *Store) remembered(ctx context.Context, t Task) (st *task, unlock func(), err error) {
	st = s.state(t)
	select {
	case st.lock <- struct{}{}:
		return st, func() { <-st.lock }, nil
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("waiting for the record of %s/%s: %w", t.Namespace, t.UID, ctx.Err())
	}
}

func (s *Store) state(t Task) *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.tasks.Get(t); ok {
		return v.(*task)
	}
	st := &task{lock: make(chan struct{}, 1), changed: make(chan struct{})}
	s.tasks.Add(t, st)
	return st
}

func (s *Store) forget(t Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks.Remove(t)
}

// appended is closed when the log of the task grows by way of this store.
func (st *task) appended() <-chan struct{} {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.changed
}

func (st *task) advance(h head) {
	st.head, st.loaded = h, true
	st.mu.Lock()
	defer st.mu.Unlock()
	close(st.changed)
	st.changed = make(chan struct{})
}
