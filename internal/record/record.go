// Package record keeps what an agent did where no pod is: the log of a task's run,
// the checkpoints to go on from, and its outputs. A record belongs to one task, by
// its UID; it outlives the task's pods and their nodes.
package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// MaxChunk bounds a chunk, before it is compressed.
const MaxChunk = 4 << 20

// MaxAppend bounds what one Append commits. The longest line of a transcript has to
// fit: a model's reply and a tool's result are bounded well below it.
const MaxAppend = 64 << 20

var (
	// ErrNotFound says that the record has no such checkpoint, chunk or output.
	ErrNotFound = errors.New("not in the record")
	// ErrFenced says that another writer has the place in the record that was written to, or
	// the writer is not the one of the task's present attempt. Who gets it stops and
	// reports nothing.
	ErrFenced = errors.New("the record belongs to another writer")
	// ErrUnavailable says that the store does not answer, is full or refuses to write. The
	// same call may succeed later.
	ErrUnavailable = errors.New("the store of the record is not available")
)

// CorruptError is an object of the store that is not what was written there.
// Nothing of it was used.
type CorruptError struct {
	// Object is its key in the store.
	Object string
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s in the store of the record is damaged: %s", e.Object, e.Reason)
}

// Task says whose record it is. The UID is the key: a later task of the same name
// has another record.
type Task struct {
	Namespace string
	UID       string
}

// Writer is who writes: the pod of one attempt, or a process on a laptop.
type Writer struct {
	Attempt int32  `json:"attempt"`
	PodUID  string `json:"podUID"`
}

// Digest is "sha256:" and the hex SHA-256 of a content, before it is compressed.
type Digest string

// Recorder is the record of one task, as its writer sees it. All of it is safe for
// concurrent use, but for Append, whose calls follow one another. An error is one of
// the above, perhaps wrapped, or says what was wrong with the arguments.
type Recorder interface {
	// Append commits whole lines of the transcript; the first of them is event
	// number first (from 1), the one after the last of the log. When it returns nil
	// the lines outlive a crash of the store's machine. Repeating a call that may
	// have succeeded is harmless: the same lines at the same place are accepted.
	Append(ctx context.Context, first int64, lines []byte) error
	// Log gives the lines of the log from event number from (from 1) to the last
	// whole one; empty where there is none.
	Log(ctx context.Context, from int64) (io.ReadCloser, error)

	// Missing gives those of some chunks that the record's namespace does not have.
	Missing(ctx context.Context, chunks []Digest) ([]Digest, error)
	// PutChunk keeps a chunk of at most MaxChunk bytes, whose digest it checks.
	PutChunk(ctx context.Context, d Digest, data []byte) error
	// Chunk gives a chunk, whose digest it has checked.
	Chunk(ctx context.Context, d Digest) ([]byte, error)

	// Commit makes a checkpoint the one to go on from. Every chunk that it names has
	// to be there.
	Commit(ctx context.Context, c Checkpoint) error
	// Latest gives the checkpoint of the highest turn, ErrNotFound without one.
	Latest(ctx context.Context) (Checkpoint, error)

	// PutOutput names an output whose chunks are there; one of the same name from
	// the same or an earlier attempt is replaced.
	PutOutput(ctx context.Context, o Output) error
	// Outputs gives all of them, by name.
	Outputs(ctx context.Context) ([]Output, error)
}

// Checkpoint is a state to go on from. Whatever it names is in the record.
type Checkpoint struct {
	// Turn is the last turn whose tools had ended; 0 is the state before the first.
	Turn int `json:"turn"`
	// Events is the number of the last event of the log that the workspace contains
	// the effects of, and LogDigest the transcript's digest up to it.
	Events    int64     `json:"events"`
	LogDigest string    `json:"logDigest"`
	Writer    Writer    `json:"writer"`
	Time      time.Time `json:"time"`
	// Base is the commit that the workspace was checked out at, empty without one.
	Base string `json:"base,omitempty"`
	// Tree are chunks that, one after the other, list the workspace: one Entry a
	// line, in the order of their paths. Empty where the workspace is kept elsewhere.
	Tree []Digest `json:"tree,omitempty"`
	// Files and Bytes count what Tree lists.
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
	// Home is the home of the tools; nil where it was not kept. It came later than the
	// rest: who does not know of it has the workspace alone.
	Home *Tree `json:"home,omitempty"`
	// LeftOut names what the trees do not have, such as sockets, at most 100 of them.
	LeftOut []string `json:"leftOut,omitempty"`
}

// Tree is a folder beside the workspace.
type Tree struct {
	// Chunks list it, as those of a workspace do. Files and Bytes count what they list.
	Chunks []Digest `json:"chunks,omitempty"`
	Files  int64    `json:"files"`
	Bytes  int64    `json:"bytes"`
}

// EntryType is what an Entry is.
type EntryType string

// The types of entries.
const (
	EntryFile    EntryType = "file"
	EntryFolder  EntryType = "dir"
	EntrySymlink EntryType = "symlink"
	// EntryHardLink is another name of the file at Target, which comes before it.
	EntryHardLink EntryType = "hardlink"
)

// Entry is a file, folder or link of a workspace or home.
type Entry struct {
	// Path is relative to that folder, with slashes and without "." and "..". Its
	// bytes may be any but NUL, so it is base64 in JSON.
	Path []byte    `json:"path"`
	Type EntryType `json:"type"`
	// Mode has the permission bits, with setuid, setgid and sticky as in stat(2).
	Mode uint32 `json:"mode"`
	Size int64  `json:"size,omitempty"`
	// ModTime is in nanoseconds since 1970.
	ModTime int64 `json:"modTime,omitempty"`
	// Pieces are the file's content, one after the other.
	Pieces []Piece `json:"pieces,omitempty"`
	// Target is a symlink's text, or the path of a hard link's first name.
	Target []byte `json:"target,omitempty"`
}

// Piece is a part of a chunk. Small files share chunks.
type Piece struct {
	Chunk  Digest `json:"chunk"`
	Offset int64  `json:"offset,omitempty"`
	Length int64  `json:"length"`
}

// Output is a result that a task leaves.
type Output struct {
	Name string `json:"name"`
	// MediaType is that of the content, as in HTTP.
	MediaType string `json:"mediaType"`
	Size      int64  `json:"size"`
	// Digest is of the whole content.
	Digest Digest  `json:"digest"`
	Pieces []Piece `json:"pieces,omitempty"`
	Writer Writer  `json:"writer"`
	// Proven is false where the run that it comes from did not succeed.
	Proven bool `json:"proven"`
}
