package scripted

import (
	"hash/maphash"
	"slices"
	"sync"
)

// maxCountedFaults bounds the memory for faults that pass on retry; beyond it the
// oldest count is forgotten, so that its fault starts again.
const maxCountedFaults = 4096

var faultSeed = maphash.MakeSeed()

// faultKey tells turns of different conversations apart.
func faultKey(c conversation) uint64 {
	var h maphash.Hash
	h.SetSeed(faultSeed)
	for _, s := range []string{c.model, c.task, c.prompt} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	maphash.WriteComparable(&h, c.position)
	return h.Sum64()
}

// counter counts by key, with a cap on the number of keys.
type counter struct {
	mu     sync.Mutex
	limit  int
	counts map[uint64]int
	// order holds the keys as they came, oldest first.
	order []uint64
}

func newCounter(limit int) *counter {
	return &counter{limit: limit, counts: make(map[uint64]int)}
}

// add counts one more and gives the sum.
func (c *counter) add(key uint64) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.counts[key]; !ok {
		if len(c.order) >= c.limit {
			delete(c.counts, c.order[0])
			c.order = c.order[1:]
		}
		c.order = append(c.order, key)
	}
	c.counts[key]++
	return c.counts[key]
}

// remove forgets a key.
func (c *counter) remove(key uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.counts[key]; !ok {
		return
	}
	delete(c.counts, key)
	if i := slices.Index(c.order, key); i >= 0 {
		c.order = slices.Delete(c.order, i, i+1)
	}
}
