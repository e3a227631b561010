package record

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"mime"
	"strings"

	"gocloud.dev/blob"
)

func (o Output) check(w Writer) error {
	if err := checkOutputName(o.Name); err != nil {
		return err
	}
	if err := o.Digest.check(); err != nil {
		return err
	}
	if o.Writer != w {
		return fmt.Errorf("the output %s of the pod %s of attempt %d cannot be kept by the pod %s of attempt %d", o.Name, o.Writer.PodUID, o.Writer.Attempt, w.PodUID, w.Attempt)
	}
	if _, _, err := mime.ParseMediaType(o.MediaType); err != nil {
		return fmt.Errorf("%q is no media type: %w", o.MediaType, err)
	}
	var size int64
	for _, p := range o.Pieces {
		if err := p.check(); err != nil {
			return fmt.Errorf("the output %s: %w", o.Name, err)
		}
		size += p.Length
	}
	if size != o.Size {
		return fmt.Errorf("the output %s should have %d bytes, and its pieces have %d", o.Name, o.Size, size)
	}
	return nil
}

// PutOutput implements Recorder.
func (r *recorder) PutOutput(ctx context.Context, o Output) error {
	if err := r.check(); err != nil {
		return err
	}
	if err := o.check(r.w); err != nil {
		return err
	}
	payload, err := marshal("the output "+o.Name, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.s.opts.Grace/8)
	defer cancel()
	l, err := r.leads(ctx)
	if err != nil && !errors.Is(err, errNoEvent) { // of a run that has ended there is nothing more to append
		return err
	}
	set := map[Digest]struct{}{}
	for _, p := range o.Pieces {
		set[p.Chunk] = struct{}{}
	}
	if err := r.s.vouch(ctx, r.t.Namespace, set); err != nil {
		return fmt.Errorf("the output %s: %w", o.Name, err)
	}
	if err := r.s.put(ctx, r.t.outputKey(o.Name, l.term), payload); err != nil {
		return err
	}
	return r.stillLeads(ctx, l.term)
}

// Outputs gives the outputs of a task, by name.
func (s *Store) Outputs(ctx context.Context, t Task) ([]Output, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	var names []string
	err := s.list(ctx, t.outputsPrefix(), "/", func(obj *blob.ListObject) error {
		name := strings.TrimSuffix(strings.TrimPrefix(obj.Key, t.outputsPrefix()), "/")
		if !obj.IsDir || checkOutputName(name) != nil {
			return &CorruptError{Object: obj.Key, Reason: "it is no output of the store"}
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var res []Output
	for _, name := range names {
		o, err := s.Output(ctx, t, name)
		if errors.Is(err, ErrNotFound) {
			continue // it was deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		res = append(res, o)
	}
	return res, nil
}

// Output gives one output, ErrNotFound where there is none of the name.
func (s *Store) Output(ctx context.Context, t Task, name string) (Output, error) {
	if err := t.Check(); err != nil {
		return Output{}, err
	}
	if err := checkOutputName(name); err != nil {
		return Output{}, err
	}
	term, found, err := s.last(ctx, t.outputPrefix(name), math.MaxInt64)
	if err != nil {
		return Output{}, err
	}
	if !found {
		return Output{}, fmt.Errorf("an output %s of %s/%s: %w", name, t.Namespace, t.UID, ErrNotFound)
	}
	key := t.outputKey(name, term)
	var o Output
	if err := s.getJSON(ctx, key, &o); err != nil {
		return Output{}, err
	}
	if o.Name != name {
		return Output{}, &CorruptError{Object: key, Reason: "it is another output"}
	}
	return o, nil
}

// OutputContent gives an output and its content. Every chunk is checked before any of it
// is given out, and an error comes in place of the end where the whole is not what the
// output's digest says.
func (s *Store) OutputContent(ctx context.Context, t Task, name string) (Output, io.ReadCloser, error) {
	o, err := s.Output(ctx, t, name)
	if err != nil {
		return Output{}, nil, err
	}
	return o, io.NopCloser(&content{ctx: ctx, s: s, t: t, o: o, left: o.Pieces, hash: sha256.New()}), nil
}

// content reads an output.
type content struct {
	ctx  context.Context
	s    *Store
	t    Task
	o    Output
	left []Piece
	hash hash.Hash
	// chunk is the one last read, of which small pieces may follow one another.
	digest Digest
	chunk  []byte
	data   []byte
}

func (c *content) Read(p []byte) (int, error) {
	for len(c.data) == 0 {
		if len(c.left) == 0 {
			return 0, c.end()
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.data)
	c.hash.Write(c.data[:n])
	c.data = c.data[n:]
	return n, nil
}

func (c *content) next() error {
	p := c.left[0]
	if c.digest != p.Chunk {
		chunk, err := c.s.chunk(c.ctx, c.t.Namespace, p.Chunk)
		if err != nil {
			return fmt.Errorf("the output %s: %w", c.o.Name, err)
		}
		c.digest, c.chunk = p.Chunk, chunk
	}
	if p.Offset < 0 || p.Length < 0 || p.Offset > int64(len(c.chunk)) || p.Length > int64(len(c.chunk))-p.Offset {
		return &CorruptError{Object: chunkKey(c.t.Namespace, p.Chunk), Reason: fmt.Sprintf("the output %s has a piece that is not in it", c.o.Name)}
	}
	c.left, c.data = c.left[1:], c.chunk[p.Offset:p.Offset+p.Length]
	return nil
}

func (c *content) end() error {
	if got := Digest(digestPrefix + hex.EncodeToString(c.hash.Sum(nil))); got != c.o.Digest {
		return &CorruptError{Object: c.t.outputPrefix(c.o.Name), Reason: fmt.Sprintf("its pieces have the digest %s, and it says %s", got, c.o.Digest)}
	}
	return io.EOF
}
