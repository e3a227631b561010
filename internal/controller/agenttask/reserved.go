package agenttask

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// reservedFor is how long a task that has chosen a warm Sandbox has it for itself:
	// far longer than a claim takes, and short where the task was deleted before it.
	reservedFor = 10 * time.Second
	// maxReserved bounds what is remembered.
	maxReserved = 10_000
)

// reservations keep tasks that are placed at once from choosing the same Sandbox, which
// would cost all but one of them another choice. Which task gets it is decided by the
// guarded write alone. The zero value is ready, and safe for concurrent use.
type reservations struct {
	mu  sync.Mutex
	all map[types.UID]reservation
}

type reservation struct {
	task  types.UID
	until time.Time
}

// take reserves a Sandbox for a task; false if another task has it.
func (r *reservations) take(sandbox, task types.UID, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if had, ok := r.all[sandbox]; ok && had.task != task && now.Before(had.until) {
		return false
	}
	if len(r.all) >= maxReserved {
		r.all = nil
	}
	if r.all == nil {
		r.all = map[types.UID]reservation{}
	}
	for uid, one := range r.all {
		if !now.Before(one.until) {
			delete(r.all, uid)
		}
	}
	r.all[sandbox] = reservation{task, now.Add(reservedFor)}
	return true
}
