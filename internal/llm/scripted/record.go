package scripted

import (
	"sync"
)

// maxRecords bounds the list of received requests; older ones are dropped.
const maxRecords = 10000

// promptChars is how much of the user's prompt a record keeps.
const promptChars = 200

// Record is one received request. It never holds a header other than the task's name.
type Record struct {
	// Seq counts all requests from 1, also those no longer kept.
	Seq int64 `json:"seq"`
	// UnixNano is when the request arrived.
	UnixNano int64 `json:"unixNano"`
	// SentUnixNano is when the answer had been written; 0 until then, and for an
	// answer that was not sent whole.
	SentUnixNano int64 `json:"sentUnixNano,omitempty"`
	// Task is what X-Sampan-Task said.
	Task     string `json:"task,omitempty"`
	Model    string `json:"model"`
	Messages int    `json:"messages"`
	// Turn is the position in the script.
	Turn   int  `json:"turn"`
	Stream bool `json:"stream"`
	// Status is the HTTP status of the answer; for a fault that sends none it is 0.
	Status int `json:"status"`
	// Fault is the kind of fault that was played.
	Fault FaultKind `json:"fault,omitempty"`
	// Prompt is the beginning of the first user message.
	Prompt string `json:"prompt"`
}

// records is a bounded ring.
type records struct {
	mu   sync.Mutex
	ring []Record
	seq  int64
}

// add keeps a record, in the place of the oldest when full, and gives its Seq.
func (r *records) add(rec Record) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec.Seq = r.seq + 1
	if len(r.ring) < maxRecords {
		r.ring = append(r.ring, rec)
	} else {
		r.ring[r.seq%maxRecords] = rec
	}
	r.seq++
	return r.seq
}

// sent notes when an answer had been written, unless its record is gone by now.
func (r *records) sent(seq, unixNano int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seq > r.seq || len(r.ring) == 0 {
		return
	}
	if rec := &r.ring[(seq-1)%maxRecords]; rec.Seq == seq {
		rec.SentUnixNano = unixNano
	}
}

// list gives the records of a task, or all of them for "", oldest first.
func (r *records) list(task string) []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Record
	first := max(0, r.seq-int64(len(r.ring)))
	for seq := first; seq < r.seq; seq++ {
		rec := r.ring[seq%maxRecords]
		if task == "" || rec.Task == task {
			out = append(out, rec)
		}
	}
	return out
}

// clear forgets all records; Seq starts again.
func (r *records) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring, r.seq = nil, 0
}
