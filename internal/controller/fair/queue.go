// Package fair is a controller's queue that no tenant can fill for the others.
// Namespaces take turns: who has a thousand objects to reconcile waits for their
// own. And objects that are large, with which a worker may be busy for seconds, get
// a part of the workers only.
package fair

import (
	"sync"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// request names an object.
type request = reconcile.Request

// NewQueue gives what controller.Options.NewQueue wants. Large reports whether an
// object is large; of those a quarter of the workers are busy with at most.
func NewQueue(workers int, large func(reconcile.Request) bool) func(string, workqueue.TypedRateLimiter[request]) workqueue.TypedRateLimitingInterface[request] {
	return func(name string, limiter workqueue.TypedRateLimiter[request]) workqueue.TypedRateLimitingInterface[request] {
		w := &waiting{large: large, most: max(1, workers/4), busy: map[request]bool{}}
		queue := lanes{workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[request]{Name: name, Queue: w}), w}
		return workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[request]{Name: name, DelayingQueue: newDelays(queue)})
	}
}

// lanes tells what waits when a worker is done. That worker asks for the next
// request itself, so that no other one has to be woken.
type lanes struct {
	workqueue.TypedInterface[request]
	waiting *waiting
}

// Done implements workqueue.TypedInterface.
func (l lanes) Done(r request) {
	l.waiting.done(r)
	l.TypedInterface.Done(r)
}

// waiting is what waits for a worker. The work queue around it keeps a request from
// being in it twice, and takes as empty what has nothing for a worker now.
type waiting struct {
	large func(request) bool
	// most is how many large ones may be under way.
	most int

	mu           sync.Mutex
	small, heavy turns
	// busy are the large ones under way.
	busy map[request]bool
}

// Touch implements workqueue.Queue: a request that is added again keeps its place.
func (w *waiting) Touch(request) {}

// Push implements workqueue.Queue.
func (w *waiting) Push(r request) {
	large := w.large(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	if large {
		w.heavy.push(r)
	} else {
		w.small.push(r)
	}
}

// Len implements workqueue.Queue.
func (w *waiting) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.small.n + min(w.heavy.n, w.most-len(w.busy))
}

// Pop implements workqueue.Queue. It is never called while Len is 0.
func (w *waiting) Pop() request {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Of both kinds the large get their share first: others never wait for it long.
	if w.heavy.n > 0 && len(w.busy) < w.most {
		r := w.heavy.pop()
		w.busy[r] = true
		return r
	}
	return w.small.pop()
}

func (w *waiting) done(r request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.busy, r)
}

// turns are requests of which each namespace has one in turn.
type turns struct {
	// waiting has the requests of each namespace in order, and no empty list.
	waiting map[string][]request
	// order are those namespaces; the first has the next turn.
	order []string
	n     int
}

func (t *turns) push(r request) {
	if t.waiting == nil {
		t.waiting = map[string][]request{}
	}
	if len(t.waiting[r.Namespace]) == 0 {
		t.order = append(t.order, r.Namespace)
	}
	t.waiting[r.Namespace] = append(t.waiting[r.Namespace], r)
	t.n++
}

func (t *turns) pop() request {
	ns := t.order[0]
	t.order = t.order[1:]
	r := t.waiting[ns][0]
	if rest := t.waiting[ns][1:]; len(rest) > 0 {
		t.waiting[ns] = rest
		t.order = append(t.order, ns)
	} else {
		delete(t.waiting, ns)
	}
	t.n--
	return r
}
