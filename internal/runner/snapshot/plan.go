package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner/nofollow"
)

// plan is a listing that was checked: it can be built in an empty folder, and
// nothing of it is elsewhere.
type plan struct {
	entries []record.Entry
	// chunks are in the order in which they are first needed.
	chunks []*chunkPlan
}

// chunkPlan is what is done with a chunk.
type chunkPlan struct {
	digest record.Digest
	parts  []part
}

// part is a piece of an entry, which goes to a place in its file.
type part struct {
	entry  int
	at     int64
	offset int64
	length int64
}

// planOf reads the listing of a checkpoint.
func (s *Snapshotter) planOf(ctx context.Context, rec record.Recorder, c record.Checkpoint) (*plan, error) {
	if c.Bytes > s.MaxBytes {
		return nil, &TooLargeError{Bytes: c.Bytes, MaxBytes: s.MaxBytes}
	}
	p := &planner{checkpoint: c, maxBytes: s.MaxBytes, maxEntries: s.maxEntries(), exclude: s.Exclude, byDigest: map[record.Digest]*chunkPlan{}}
	for data, err := range fetch(ctx, rec, c.Tree) {
		if err != nil {
			return nil, fmt.Errorf("reading the list of the files: %w", err)
		}
		if err := p.read(data); err != nil {
			return nil, err
		}
	}
	return p.end()
}

// planner checks entries one after the other.
type planner struct {
	checkpoint record.Checkpoint
	maxBytes   int64
	maxEntries int
	exclude    []string

	plan     plan
	byDigest map[record.Digest]*chunkPlan
	// partial is the beginning of a line, listed what was read.
	partial []byte
	listed  int64
	// files and bytes count as the checkpoint does, paths all their lengths.
	files, bytes, paths int64
	// firsts are files that may have further names.
	firsts map[string]bool
	// folders are those that the last entry is in, or is.
	folders []string
	// entries counts what was read, of which last is the path of the newest.
	entries int
	last    string
	// excluded is the newest entry that is not restored; skipped are files of that kind.
	excluded string
	skipped  map[string]bool
}

// damaged is the error of a listing that is not as a snapshot writes it.
func (p *planner) damaged(format string, args ...any) error {
	return &record.CorruptError{
		Object: fmt.Sprintf("the list of files of the checkpoint of turn %d", p.checkpoint.Turn),
		Reason: fmt.Sprintf("entry %d ", p.entries+1) + fmt.Sprintf(format, args...),
	}
}

func (p *planner) read(data []byte) error {
	if p.listed += int64(len(data)); p.listed > maxListing {
		return p.damaged("comes after %d bytes of others", maxListing)
	}
	for {
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		if !whole {
			p.partial = append(p.partial, data...)
			return nil
		}
		if len(p.partial) > 0 {
			line, p.partial = append(p.partial, line...), nil
		}
		if err := p.line(line); err != nil {
			return err
		}
		data = rest
	}
}

func (p *planner) end() (*plan, error) {
	if len(p.partial) > 0 {
		return nil, p.damaged("has no end")
	}
	if p.files != p.checkpoint.Files || p.bytes != p.checkpoint.Bytes {
		return nil, p.damaged("does not follow, though the checkpoint has %d files of %d bytes, and %d of %d were listed",
			p.checkpoint.Files, p.checkpoint.Bytes, p.files, p.bytes)
	}
	return &p.plan, nil
}

func (p *planner) line(line []byte) error {
	var e record.Entry
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields() // what a later version has to say would be lost
	if err := d.Decode(&e); err != nil || d.InputOffset() != int64(len(line)) {
		return p.damaged("is no entry")
	}
	if p.entries >= p.maxEntries {
		return &TooLargeError{Entries: int64(p.maxEntries) + 1, MaxEntries: int64(p.maxEntries)}
	}
	if err := p.place(&e); err != nil {
		return err
	}
	if e.Mode > modeBits {
		return p.damaged("has the mode %o", e.Mode)
	}
	skip := p.skips(&e)
	if err := p.kind(&e, skip); err != nil {
		return err
	}
	p.entries++
	p.last = string(e.Path)
	if !skip {
		p.plan.entries = append(p.plan.entries, e)
	}
	return nil
}

// skips tells whether an entry is excluded, or in a folder that is.
func (p *planner) skips(e *record.Entry) bool {
	path := string(e.Path)
	if p.excluded != "" && nofollow.Within(path, p.excluded) {
		return true
	}
	if !excludes(p.exclude, path) {
		return false
	}
	p.excluded = path
	return true
}

// place checks where an entry is: after the last one, and in a folder that is there.
func (p *planner) place(e *record.Entry) error {
	path := string(e.Path)
	p.paths += int64(len(path))
	if len(path) > maxPath || p.paths > maxPaths {
		return p.damaged("has too long a path")
	}
	depth := 0
	for name := range strings.SplitSeq(path, "/") {
		depth++
		if name == "" || name == "." || name == ".." || len(name) > maxName || strings.IndexByte(name, 0) >= 0 {
			return p.damaged("has a path that is none: %q", e.Path)
		}
	}
	if depth > maxDepth || nofollow.Within(path, marker) {
		return p.damaged("has a path that may not be: %q", e.Path)
	}
	if p.entries > 0 && comparePaths(p.last, path) >= 0 {
		return p.damaged("does not come after the one before: %q", e.Path)
	}
	if depth-1 > len(p.folders) || depth > 1 && !nofollow.Within(path, p.folders[depth-2]) {
		return p.damaged("is in no folder of the list: %q", e.Path)
	}
	p.folders = p.folders[:depth-1]
	return nil
}

// kind checks what an entry is.
func (p *planner) kind(e *record.Entry, skip bool) error {
	if e.Type != record.EntryFile && (e.Size != 0 || len(e.Pieces) > 0) {
		return p.damaged("has a content, and is a %q", e.Type)
	}
	linked := e.Type == record.EntrySymlink || e.Type == record.EntryHardLink
	if linked != (len(e.Target) > 0) {
		return p.damaged("is a %q with the target %q", e.Type, e.Target)
	}
	switch e.Type {
	case record.EntryFile:
		return p.file(e, skip)
	case record.EntryFolder:
		p.folders = append(p.folders, string(e.Path))
	case record.EntrySymlink:
		if len(e.Target) > maxTarget || bytes.IndexByte(e.Target, 0) >= 0 {
			return p.damaged("is a symlink whose text no system can have")
		}
	case record.EntryHardLink:
		if !p.firsts[string(e.Target)] {
			return p.damaged("is another name of %q, which is no file before it", e.Target)
		}
		if !skip && p.skipped[string(e.Target)] {
			return fmt.Errorf("%q is another name of %q, which is left out here", e.Path, e.Target)
		}
	default:
		return p.damaged("is a %q", e.Type)
	}
	return nil
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func (p *planner) file(e *record.Entry, skip bool) error {
	at := int64(0)
	for _, piece := range e.Pieces {
		if !digestForm.MatchString(string(piece.Chunk)) {
			return p.damaged("names a chunk that is none: %q", piece.Chunk)
		}
		if piece.Offset < 0 || piece.Length <= 0 || piece.Length > record.MaxChunk || piece.Offset > record.MaxChunk-piece.Length {
			return p.damaged("has a piece from %d, %d long, which no chunk has", piece.Offset, piece.Length)
		}
		if at > math.MaxInt64-piece.Length {
			return p.damaged("has too many pieces")
		}
		if !skip {
			p.use(piece, at)
		}
		at += piece.Length
	}
	if at != e.Size {
		return p.damaged("has %d bytes in pieces that have %d", e.Size, at)
	}
	p.files++
	if p.bytes = addSizes(p.bytes, e.Size); p.bytes > p.maxBytes {
		return &TooLargeError{Bytes: p.bytes, MaxBytes: p.maxBytes}
	}
	if p.firsts == nil {
		p.firsts, p.skipped = map[string]bool{}, map[string]bool{}
	}
	if skip {
		p.skipped[string(e.Path)] = true
	}
	p.firsts[string(e.Path)] = true
	return nil
}

func (p *planner) use(piece record.Piece, at int64) {
	c := p.byDigest[piece.Chunk]
	if c == nil {
		c = &chunkPlan{digest: piece.Chunk}
		p.byDigest[piece.Chunk] = c
		p.plan.chunks = append(p.plan.chunks, c)
	}
	c.parts = append(c.parts, part{entry: len(p.plan.entries), at: at, offset: piece.Offset, length: piece.Length})
}

// missingChunk says of a chunk that is not in the record what it does to who
// needs it: the checkpoint cannot be restored, now or later.
func missingChunk(d record.Digest, err error) error {
	if errors.Is(err, record.ErrNotFound) {
		return &record.CorruptError{Object: "the chunk " + string(d), Reason: "it is not there"}
	}
	return fmt.Errorf("reading the chunk %s: %w", d, err)
}
