// Package backup writes a workspace as a compressed tar archive, and reads one that
// nobody vouches for.
package backup

import (
	"context"
	"errors"
	"io"
)

// Limits bound an archive, in both directions; what can be written can be read.
type Limits struct {
	// Entries are files, folders and links together.
	Entries int64
	// Bytes are what all files hold together.
	Bytes int64
}

// Bounds of one entry.
const (
	maxDepth  = 256
	maxPath   = 4096
	maxName   = 255
	maxTarget = 4095
	// maxPaths bounds the paths of all, which are kept in memory.
	maxPaths = 64 << 20
	// maxWindow is what decompressing may need at a time.
	maxWindow = 64 << 20
	// entryOverhead is what an entry may need in an archive beside its content, on average.
	entryOverhead = 2048
)

// Own is the folder of a workspace that belongs to the sandbox server. It is in no archive.
const Own = ".sampan"

// Errors that a caller decides on.
var (
	// ErrLimit is an archive or a workspace beyond the limits.
	ErrLimit = errors.New("too large")
	// ErrInvalid is an archive that cannot be restored, or that nobody should.
	ErrInvalid = errors.New("not an archive of a workspace")
	// ErrChanged is a file that became shorter while it was read.
	ErrChanged = errors.New("changed while it was read")
)

// Summary is what an archive has.
type Summary struct {
	Entries, Bytes int64
	// Skipped counts what no archive holds: sockets, fifos, devices.
	Skipped int64
}

// reader ends a copy when its context does.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (c reader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
