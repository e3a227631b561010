package sandboxclient

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/klauspost/compress/zstd"

	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

// ErrBackupIncomplete says that an archive did not come whole.
var ErrBackupIncomplete = errors.New("the backup is not whole")

// Backup writes the workspace as a tar archive, compressed by zstd. What was written
// before an error is no backup.
func (c *Client) Backup(ctx context.Context, to io.Writer) (*Backup, error) {
	ctx, cancel := context.WithTimeout(ctx, longDeadline)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, "/backup", nil, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	sum := sha256.New()
	seen := newReading()
	n, err := io.Copy(io.MultiWriter(to, sum, seen), resp.Body)
	entries, whole := seen.end(err)
	if err != nil {
		return nil, fmt.Errorf("%w: it ended after %d bytes: %w", ErrBackupIncomplete, n, err)
	}
	b := &Backup{Digest: api.FormatDigest(sum.Sum(nil)), Bytes: n, Entries: entries}
	said := resp.Trailer.Get(api.HeaderDigest)
	switch {
	case said == "" && whole != nil:
		return nil, fmt.Errorf("%w: %w", ErrBackupIncomplete, whole)
	case said == "": // kube-apiserver does not pass trailers on; the archive itself is whole
		return b, nil
	case said != b.Digest:
		return nil, fmt.Errorf("%w: its digest is %s, the Sandbox's %q", ErrBackupIncomplete, b.Digest, said)
	}
	if b.Entries, b.Skipped, err = api.Counted(resp.Trailer); err != nil {
		return nil, fmt.Errorf("what the backup has: %w", err)
	}
	return b, nil
}

// reading reads an archive as it is written, to its end and with its checksum.
type reading struct {
	*io.PipeWriter
	entries int64
	err     error
	done    chan struct{}
}

func newReading() *reading {
	from, to := io.Pipe()
	r := &reading{PipeWriter: to, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = r.read(from)
		_, _ = io.Copy(io.Discard, from) // who writes is not to wait, whatever this is
	}()
	return r
}

// end gives how many entries there were, and why it is no archive if it is none.
func (r *reading) end(err error) (int64, error) {
	_ = r.CloseWithError(err)
	<-r.done
	return r.entries, r.err
}

// maxWindow bounds the memory for what is compressed.
const maxWindow = 32 << 20

func (r *reading) read(from io.Reader) error {
	plain, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return err
	}
	defer plain.Close()
	for archive := tar.NewReader(plain); ; r.entries++ {
		if _, err := archive.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, plain) // to its checksum
	return err
}

// Restore ends all that runs and replaces the content of the workspace by an archive's,
// all of it or nothing. A digest, if it is not empty, must be that of the archive. It is
// refused while a task runs in the Sandbox.
func (c *Client) Restore(ctx context.Context, archive io.Reader, digest string) (*Restored, error) {
	ctx, cancel := context.WithTimeout(ctx, longDeadline)
	defer cancel()
	h := http.Header{}
	if digest != "" {
		h.Set(api.HeaderDigest, digest)
	}
	out := new(Restored)
	if err := c.exchange(ctx, http.MethodPut, "/backup", h, archive, out); err != nil {
		return nil, err
	}
	return out, nil
}
