package sandboxclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

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
	n, err := io.Copy(io.MultiWriter(to, sum), resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: it ended after %d bytes: %w", ErrBackupIncomplete, n, err)
	}
	b := &Backup{Digest: "sha256:" + hex.EncodeToString(sum.Sum(nil)), Bytes: n}
	if said := resp.Trailer.Get(api.HeaderDigest); said != b.Digest {
		return nil, fmt.Errorf("%w: its digest is %s, the Sandbox's %q", ErrBackupIncomplete, b.Digest, said)
	}
	var errs [2]error
	b.Entries, errs[0] = strconv.ParseInt(resp.Trailer.Get(api.HeaderEntries), 10, 64)
	b.Skipped, errs[1] = strconv.ParseInt(resp.Trailer.Get(api.HeaderSkipped), 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("what the backup has: %w", err)
	}
	return b, nil
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
