package fair

import (
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
)

// delays adds requests after a time. Of each request there is one delay, the
// shortest, and it ends when a worker takes the request for whatever reason: a
// reconcile always says anew when to look again, so that what an earlier one has
// said would only cost a look at nothing.
type delays struct {
	workqueue.TypedInterface[request]

	mu      sync.Mutex
	pending map[request]delay
	down    bool
}

type delay struct {
	timer *time.Timer
	due   time.Time
}

func newDelays(queue workqueue.TypedInterface[request]) *delays {
	return &delays{TypedInterface: queue, pending: map[request]delay{}}
}

// AddAfter implements workqueue.TypedDelayingInterface.
func (d *delays) AddAfter(r request, after time.Duration) {
	if after <= 0 {
		d.Add(r)
		return
	}
	due := time.Now().Add(after)
	d.mu.Lock()
	defer d.mu.Unlock()
	old, found := d.pending[r]
	if d.down || found && !due.Before(old.due) {
		return
	}
	if found {
		old.timer.Stop()
	}
	d.pending[r] = delay{time.AfterFunc(after, func() { d.end(r, due) }), due}
}

// end adds a request whose time has come, unless another delay has taken its place.
func (d *delays) end(r request, due time.Time) {
	d.mu.Lock()
	mine := d.pending[r].due.Equal(due)
	if mine {
		delete(d.pending, r)
	}
	d.mu.Unlock()
	if mine {
		d.Add(r)
	}
}

// Get implements workqueue.TypedInterface.
func (d *delays) Get() (request, bool) {
	r, down := d.TypedInterface.Get()
	d.mu.Lock()
	defer d.mu.Unlock()
	if old, found := d.pending[r]; found {
		old.timer.Stop()
		delete(d.pending, r)
	}
	return r, down
}

// ShutDown implements workqueue.TypedInterface.
func (d *delays) ShutDown() {
	d.stop()
	d.TypedInterface.ShutDown()
}

// ShutDownWithDrain implements workqueue.TypedInterface.
func (d *delays) ShutDownWithDrain() {
	d.stop()
	d.TypedInterface.ShutDownWithDrain()
}

func (d *delays) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = true
	for r, old := range d.pending {
		old.timer.Stop()
		delete(d.pending, r)
	}
}
