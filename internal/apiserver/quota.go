package apiserver

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/sampan-dev/sampan/internal/record"
)

// quota bounds how much of something each of many has at once.
type quota struct {
	most int

	mu    sync.Mutex
	taken map[string]int
}

func newQuota(most int) *quota { return &quota{most: most, taken: map[string]int{}} }

// take takes one for somebody, unless they have the most already.
func (q *quota) take(whose string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken[whose] >= q.most {
		return false
	}
	q.taken[whose]++
	return true
}

// giveBack gives back one that was taken.
func (q *quota) giveBack(whose string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken[whose]--; q.taken[whose] <= 0 {
		delete(q.taken, whose)
	}
}

// takeUnknown takes one for the address of a request of which it is not known yet who
// makes it, until known is called.
func (q *quota) takeUnknown(req *http.Request) (known func(), err error) {
	from := addressOf(req.RemoteAddr)
	if !q.take(from) {
		return nil, fmt.Errorf("%w: of %d requests from %s it is not known yet who makes them, which is the most at once", record.ErrUnavailable, q.most, from)
	}
	return func() { q.giveBack(from) }, nil
}
