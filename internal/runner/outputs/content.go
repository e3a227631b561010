package outputs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	"github.com/sampan-dev/sampan/internal/record"
)

// maxContent bounds the content of an output.
const maxContent = 1 << 30

// Content is what is kept of an output.
type Content struct {
	Name, MediaType string
	// Ending is that of a file with this content, with its dot.
	Ending string
	Size   int64
	Digest record.Digest
	Proven bool
}

// Store keeps outputs.
type Store interface {
	// Put keeps what write writes, whole or not at all, in the place of an earlier output
	// of the name. It fills in size and digest.
	Put(ctx context.Context, c Content, write func(io.Writer) error) (Content, error)
	// Kept gives what is kept under a name; false where nothing is.
	Kept(ctx context.Context, name string) (Content, bool, error)
	// Earlier gives what was last kept under a name, and none where nothing was or more than
	// limit bytes.
	Earlier(ctx context.Context, name string, limit int64) ([]byte, error)
}

// InRecord keeps outputs in a task's record.
type InRecord struct{ Recorder record.Recorder }

// Put implements Store.
func (s InRecord) Put(ctx context.Context, c Content, write func(io.Writer) error) (Content, error) {
	w := &chunker{ctx: ctx, rec: s.Recorder, whole: sha256.New()}
	err := write(w)
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		return Content{}, err
	}
	c.Size, c.Digest = w.size, digestOf(w.whole)
	err = s.Recorder.PutOutput(ctx, record.Output{
		Name: c.Name, MediaType: c.MediaType, Size: c.Size, Digest: c.Digest, Pieces: w.pieces, Proven: c.Proven,
	})
	if err != nil {
		return Content{}, fmt.Errorf("keeping it in the record: %w", err)
	}
	return c, nil
}

func (s InRecord) find(ctx context.Context, name string) (*record.Output, error) {
	all, err := s.Recorder.Outputs(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the outputs in the record: %w", err)
	}
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
	}
	return nil, nil
}

// Kept implements Store.
func (s InRecord) Kept(ctx context.Context, name string) (Content, bool, error) {
	o, err := s.find(ctx, name)
	if o == nil || err != nil {
		return Content{}, false, err
	}
	return Content{Name: name, MediaType: o.MediaType, Size: o.Size, Digest: o.Digest, Proven: o.Proven}, true, nil
}

// Earlier implements Store.
func (s InRecord) Earlier(ctx context.Context, name string, limit int64) ([]byte, error) {
	o, err := s.find(ctx, name)
	if o == nil || err != nil || o.Size > limit {
		return nil, err
	}
	var data []byte
	for _, p := range o.Pieces {
		chunk, err := s.Recorder.Chunk(ctx, p.Chunk)
		if err != nil {
			return nil, fmt.Errorf("reading the output %s in the record: %w", name, err)
		}
		if p.Offset < 0 || p.Length < 0 || p.Offset > int64(len(chunk)) || p.Length > int64(len(chunk))-p.Offset {
			return nil, fmt.Errorf("the output %s in the record has a piece that is not in its chunk", name)
		}
		data = append(data, chunk[p.Offset:p.Offset+p.Length]...)
	}
	return data, nil
}

func digestOf(h hash.Hash) record.Digest {
	return record.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
}

// chunker stores what is written to it.
type chunker struct {
	ctx    context.Context
	rec    record.Recorder
	buf    []byte
	whole  hash.Hash
	size   int64
	pieces []record.Piece
}

// Write implements io.Writer.
func (c *chunker) Write(p []byte) (int, error) {
	if c.size += int64(len(p)); c.size > maxContent {
		return 0, errTooLarge
	}
	c.whole.Write(p)
	for n := 0; n < len(p); {
		part := p[n:min(len(p), n+record.MaxChunk-len(c.buf))]
		c.buf = append(c.buf, part...)
		n += len(part)
		if len(c.buf) == record.MaxChunk {
			if err := c.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

func (c *chunker) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	d := record.DigestOf(c.buf)
	missing, err := c.rec.Missing(c.ctx, []record.Digest{d})
	if err == nil && len(missing) > 0 {
		err = c.rec.PutChunk(c.ctx, d, c.buf)
	}
	if err != nil {
		return fmt.Errorf("keeping it in the record: %w", err)
	}
	c.pieces = append(c.pieces, record.Piece{Chunk: d, Length: int64(len(c.buf))})
	c.buf = c.buf[:0]
	return nil
}
