package apiserver

import "sync"

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
