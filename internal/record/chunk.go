package record

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/sampan-dev/sampan/internal/record/folder"
)

const (
	// maxAsked bounds the chunks that one call asks for.
	maxAsked = 1 << 18
	// lookups is how many objects are looked for at a time.
	lookups = 16
)

// Missing implements Recorder.
func (r *recorder) Missing(ctx context.Context, chunks []Digest) ([]Digest, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if len(chunks) > maxAsked {
		return nil, fmt.Errorf("%d chunks were asked for: ask for at most %d at a time", len(chunks), maxAsked)
	}
	for _, d := range chunks {
		if err := d.check(); err != nil {
			return nil, err
		}
	}
	return r.s.missing(ctx, r.t.Namespace, chunks)
}

func (s *Store) missing(ctx context.Context, namespace string, chunks []Digest) ([]Digest, error) {
	absent := make([]bool, len(chunks))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for i, d := range chunks {
		g.Go(func() error {
			found, err := s.exists(ctx, chunkKey(namespace, d))
			absent[i] = !found
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var res []Digest
	for i, d := range chunks {
		if absent[i] {
			res = append(res, d)
		}
	}
	return res, nil
}

// PutChunk implements Recorder.
func (r *recorder) PutChunk(ctx context.Context, d Digest, data []byte) error {
	if err := r.check(); err != nil {
		return err
	}
	if err := d.check(); err != nil {
		return err
	}
	if len(data) > MaxChunk {
		return fmt.Errorf("a chunk has at most %d bytes, not %d", MaxChunk, len(data))
	}
	if got := DigestOf(data); got != d {
		return fmt.Errorf("a chunk that should have the digest %s has %s: it is not what was meant to be kept", d, got)
	}
	return r.s.keepChunk(ctx, chunkKey(r.t.Namespace, d), data)
}

func (s *Store) keepChunk(ctx context.Context, key string, data []byte) error {
	found, err := s.exists(ctx, key)
	if err != nil {
		return err
	}
	if found {
		return nil
	}
	if err := s.reserve(); err != nil {
		return err
	}
	return s.put(ctx, key, compress(nil, data))
}

// Chunks leave a tenth of a folder's file system, or a gigabyte, to what is small and
// holds up everybody where it cannot be written: transcripts, claims, sweeps.
const (
	reservedPart  = 10
	reservedBytes = 1 << 30
)

// ErrNoRoom says that what is left of the store's room is not for chunks.
var ErrNoRoom = errors.New("the store of the record is nearly full: what is left of it is for transcripts")

// reserve fails with ErrNoRoom where chunks have had their part.
func (s *Store) reserve() error {
	var r folder.Room
	if !s.b.As(&r) {
		return nil
	}
	free, total, err := r.Room()
	if err != nil {
		return fmt.Errorf("%w: looking how full it is: %w", ErrUnavailable, err)
	}
	if free < min(total/reservedPart, reservedBytes) {
		return ErrNoRoom
	}
	return nil
}

// Chunk implements Recorder.
func (r *recorder) Chunk(ctx context.Context, d Digest) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	return r.s.chunk(ctx, r.t.Namespace, d)
}

func (s *Store) chunk(ctx context.Context, namespace string, d Digest) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	key := chunkKey(namespace, d)
	payload, _, err := s.get(ctx, key, maxCompressed(MaxChunk))
	if err != nil {
		return nil, err
	}
	data, err := decompress(key, payload, MaxChunk)
	if err != nil {
		return nil, err
	}
	if DigestOf(data) != d {
		return nil, &CorruptError{Object: key, Reason: "it does not decompress to the content it is named after"}
	}
	return data, nil
}

// chunks reads chunks one after the other.
type chunks struct {
	ctx       context.Context
	s         *Store
	namespace string
	list      []Digest
	data      []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	for len(c.data) == 0 {
		if len(c.list) == 0 {
			return 0, io.EOF
		}
		data, err := c.s.chunk(c.ctx, c.namespace, c.list[0])
		if err != nil {
			return 0, err
		}
		c.list, c.data = c.list[1:], data
	}
	n := copy(p, c.data)
	c.data = c.data[n:]
	return n, nil
}

// maxEntry bounds an entry of a tree: a file of 100 GB in chunks of 4 MiB fits.
const maxEntry = 4 << 20

// named calls f with every chunk that a tree and its entries name.
func (s *Store) named(ctx context.Context, namespace string, tree []Digest, f func(Digest) error) error {
	for _, d := range tree {
		if err := f(d); err != nil {
			return err
		}
	}
	lines := bufio.NewScanner(&chunks{ctx: ctx, s: s, namespace: namespace, list: tree})
	lines.Buffer(nil, maxEntry)
	for n := 1; lines.Scan(); n++ {
		pieces, err := decodePieces(lines.Bytes())
		if err != nil {
			return fmt.Errorf("entry %d of the tree is not valid: %w", n, err)
		}
		for _, p := range pieces {
			if err := p.check(); err != nil {
				return fmt.Errorf("entry %d of the tree is not valid: %w", n, err)
			}
			if err := f(p.Chunk); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("an entry of the tree has more than %d bytes", maxEntry)
	} else if err != nil {
		return err
	}
	return nil
}

func (p Piece) check() error {
	if p.Offset < 0 || p.Length < 0 || p.Offset > MaxChunk || p.Length > MaxChunk || p.Offset+p.Length > MaxChunk {
		return fmt.Errorf("a piece of %d bytes from byte %d on is in no chunk", p.Length, p.Offset)
	}
	return p.Chunk.check()
}
