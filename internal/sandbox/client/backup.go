package client

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

// backupDeadline bounds an archive of any size; one that stands still is ended by the
// server long before.
const backupDeadline = 6 * time.Hour

// ErrBackupIncomplete says that an archive did not come whole.
var ErrBackupIncomplete = errors.New("the backup is not whole")

// Backup is what came of one.
type Backup struct {
	// Digest is that of the archive, Bytes its length.
	Digest string
	Bytes  int64
	// Entries are in it; Skipped are not: sockets, fifos and devices.
	Entries, Skipped int64
}

// Backup writes the workspace as an archive. What was written before an error is none.
func (c *Client) Backup(ctx context.Context, to io.Writer) (*Backup, error) {
	ctx, cancel := patience(ctx, backupDeadline)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, "/v1/backup", http.Header{"Connection": {"close"}}, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, sum), resp.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%w: the server broke it off after %d bytes", ErrBackupIncomplete, n)
	}
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	b := &Backup{Digest: api.FormatDigest(sum.Sum(nil)), Bytes: n}
	if said := resp.Trailer.Get(api.HeaderDigest); said != b.Digest {
		return nil, fmt.Errorf("%w: its digest is %s, the server's %q", ErrBackupIncomplete, b.Digest, said)
	}
	b.Entries, b.Skipped, err = api.Counted(resp.Trailer)
	return b, err
}

// Restore ends all that runs and replaces the content of the workspace by an archive's,
// all of it or nothing. A digest, if it is not empty, must be that of the archive.
func (c *Client) Restore(ctx context.Context, archive io.Reader, digest string) (*api.Restored, error) {
	ctx, cancel := patience(ctx, backupDeadline)
	defer cancel()
	defer c.trans.CloseIdleConnections() // the server has ended them
	h := http.Header{}
	if digest != "" {
		h.Set(api.HeaderDigest, digest)
	}
	resp, err := c.sendFrom(ctx, http.MethodPut, "/v1/backup", h, archive)
	if err != nil {
		return nil, err
	}
	defer drain(resp)
	out := new(api.Restored)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswerBytes)).Decode(out); err != nil {
		return nil, c.broken(ctx, err)
	}
	return out, nil
}
