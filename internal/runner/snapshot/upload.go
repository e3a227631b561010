package snapshot

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sampan-dev/sampan/internal/record"
)

// buffers are as large as a chunk may be.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, record.MaxChunk)
	return &b
}}

func getBuffer() *[]byte {
	b := buffers.Get().(*[]byte)
	*b = (*b)[:0]
	return b
}

// uploader stores chunks, at most parallel at a time.
type uploader struct {
	ctx   context.Context
	rec   record.Recorder
	group *errgroup.Group
	// stored are chunks that are stored, begun those that this snapshot stores: when
	// one of them fails, so does the snapshot.
	stored map[record.Digest]bool
	mu     sync.Mutex
	begun  map[record.Digest]bool
	// hashed is done when the digests of all chunks are where they go.
	hashed sync.WaitGroup
}

func newUploader(ctx context.Context, rec record.Recorder, stored map[record.Digest]bool) *uploader {
	u := &uploader{rec: rec, stored: stored, begun: map[record.Digest]bool{}}
	u.group, u.ctx = errgroup.WithContext(ctx)
	u.group.SetLimit(parallel)
	return u
}

// askFrom is the size from which on it is asked whether a chunk that has changed since
// the last snapshot is stored: of a smaller one the question costs as much as the chunk.
const askFrom = 64 << 10

// put stores a chunk, and then gives its buffer back. It waits while too many are on
// their way, and writes the digest where that has to go by the end of hashed.
func (u *uploader) put(data *[]byte, digest *record.Digest) {
	u.hashed.Add(1)
	u.group.Go(func() error {
		defer buffers.Put(data)
		d := digestOf(*data)
		*digest = d
		u.hashed.Done()
		if !u.begin(d) {
			return nil
		}
		if err := u.store(d, *data); err != nil {
			return fmt.Errorf("storing the chunk %s: %w", d, err)
		}
		return nil
	})
}

func (u *uploader) store(d record.Digest, data []byte) error {
	if len(u.stored) == 0 || len(data) >= askFrom {
		missing, err := u.rec.Missing(u.ctx, []record.Digest{d})
		if err != nil || len(missing) == 0 {
			return err
		}
	}
	return u.rec.PutChunk(u.ctx, d, data)
}

// begin tells whether a chunk has still to be stored, and not by somebody else.
func (u *uploader) begin(d record.Digest) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stored[d] || u.begun[d] {
		return false
	}
	u.begun[d] = true
	return true
}

// failed gives the error that there is no use in going on after.
func (u *uploader) failed() error { return context.Cause(u.ctx) }

func (u *uploader) wait() error { return u.group.Wait() }

const (
	// minPack and packCut say where a chunk of small files ends: after minPack bytes,
	// with a file of whose path's hash these bits are zero. So a file that is only in
	// one of two trees changes few of the chunks that they have in common.
	minPack = 1 << 20
	packCut = 0x1f0000
)

// packer puts small files together.
type packer struct {
	up   *uploader
	buf  *[]byte
	pack *pack
}

// add gives a content's place.
func (p *packer) add(it *item, s sum, data []byte) *content {
	if p.buf != nil && len(*p.buf)+len(data) > record.MaxChunk {
		p.flush()
	}
	if p.buf == nil {
		p.buf, p.pack = getBuffer(), &pack{}
	}
	c := &content{sum: s, pack: p.pack, offset: int64(len(*p.buf)), length: int64(len(data))}
	*p.buf = append(*p.buf, data...)
	p.pack.size = int64(len(*p.buf))
	if len(*p.buf) >= minPack && it.hash&packCut == 0 {
		p.flush()
	}
	return c
}

func (p *packer) flush() {
	if p.buf == nil {
		return
	}
	p.up.put(p.buf, &p.pack.digest)
	p.buf, p.pack = nil, nil
}
