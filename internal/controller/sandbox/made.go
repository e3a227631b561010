package sandbox

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// maxMade bounds what is remembered of pods that went before they were recorded.
const maxMade = 10_000

// uidSet is a bounded set of UIDs, safe for concurrent use. What does not fit is
// forgotten: the pod is then checked as one that another process has made.
type uidSet struct {
	mu   sync.Mutex
	uids map[types.UID]struct{}
}

func (s *uidSet) add(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uids == nil || len(s.uids) >= maxMade {
		s.uids = map[types.UID]struct{}{}
	}
	s.uids[uid] = struct{}{}
}

func (s *uidSet) has(uid types.UID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.uids[uid]
	return ok
}

func (s *uidSet) remove(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uids, uid)
}
