package snapshot

import (
	"context"
	"crypto/sha256"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner/nofollow"
)

// take is one snapshot.
type take struct {
	*found
	maxBytes int64
	// settled is that of the tour.
	settled func(int64) bool
	last    state
	// contents has those of the last snapshot that can be found again, and those that
	// this one has put in the place of others, or of none.
	contents map[sum]*content
	replaced map[sum]*content
	at       *nofollow.Cursor
	up       *uploader
	packer   packer
	// small holds a small file while it is read.
	small [smallFile]byte
}

func (t *take) run(ctx context.Context, rec record.Recorder, tour *tour, root int, mark func() uint64) (Tree, state, error) {
	found, err := tour.run(root)
	if err != nil {
		return Tree{}, state{}, err
	}
	t.found = found
	if err := t.tooLarge(); err != nil {
		return Tree{}, state{}, err
	}
	t.up = newUploader(ctx, rec, t.last.known)
	t.packer = packer{up: t.up}
	var groups []*group
	if err = t.store(mark); err == nil {
		groups, err = t.list()
	}
	if waitErr := t.up.wait(); waitErr != nil {
		err = waitErr // it is why the rest was given up
	}
	if err != nil {
		return Tree{}, state{}, err
	}
	tree, next := t.tree(groups), t.state(groups)
	next.take = mark()
	next.known = t.keep(next)
	return tree, next, nil
}

func (t *take) tooLarge() error {
	if t.bytes > t.maxBytes {
		return &TooLargeError{Bytes: t.bytes, MaxBytes: t.maxBytes}
	}
	return nil
}

// store reads what has changed, and begins to store what of it is new. What is not there
// any more by then is left out.
func (t *take) store(mark func() uint64) error {
	if t.contents == nil {
		t.contents = map[sum]*content{}
	}
	err := t.readPending()
	if err == nil {
		err = t.repack(mark())
	}
	t.packer.flush()
	return err
}

func (t *take) readPending() error {
	for _, i := range t.pending {
		it, err := t.read(t.items[i])
		if err != nil {
			return err
		}
		t.items[i] = it
	}
	kept := t.items[:0]
	for _, it := range t.items {
		if it != nil {
			kept = append(kept, it)
		}
	}
	t.items = kept
	return nil
}

// read gives what a file or hard link has come to, nil where it is gone.
func (t *take) read(it *item) (*item, error) {
	if it.kind != record.EntryHardLink {
		return t.readFile(it)
	}
	first := t.first[it.sig.inode()]
	if first == nil { // the name that came before is not this file's any more
		return t.readFile(it)
	}
	return it.linkTo(first), nil
}

func (t *take) readFile(seen *item) (*item, error) {
	it, err := t.open(seen, t.content)
	if seen.sig.nlink > 1 {
		delete(t.first, seen.sig.inode())
		if it != nil && it.sig.inode() == seen.sig.inode() {
			t.remember(it)
		}
	}
	if nofollow.Denied(err) {
		t.left.add(leftWords(seen.path, "cannot be read"))
		return nil, nil
	}
	return it, err
}

// open opens a file, has its content dealt with, and gives the item of what it found.
func (t *take) open(seen *item, deal func(it *item, fd int) error) (*item, error) {
	if err := t.up.failed(); err != nil {
		return nil, err
	}
	folder, name, err := t.at.At(seen.path)
	fd := -1
	if err == nil {
		fd, err = nofollow.OpenAt(folder, name, unix.O_RDONLY, 0)
	}
	switch {
	case err != nil && nofollow.Gone(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("opening %q: %w", seen.path, err)
	}
	defer nofollow.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("looking at %q: %w", seen.path, err)
	}
	sig := signatureOf(&st)
	if sig.mode&unix.S_IFMT != unix.S_IFREG {
		return nil, nil
	}
	t.bytes = addSizes(t.bytes-seen.sig.size, sig.size)
	if err := t.tooLarge(); err != nil {
		return nil, err
	}
	it := &item{path: seen.path, kind: record.EntryFile, sig: sig, hash: seen.hash, racy: !t.settled(sig.ctime)}
	if err := deal(it, fd); err != nil {
		return nil, fmt.Errorf("reading %q: %w", seen.path, err)
	}
	return it, nil // a change since Fstat shows in the file's times, or it is racy
}

// content reads and stores a file's content, at most as much as the file had when it
// was opened.
func (t *take) content(it *item, fd int) error {
	if it.sig.size >= smallFile {
		return t.large(it, fd)
	}
	data, err := t.readSmall(it, fd)
	if err != nil || len(data) == 0 {
		return err
	}
	s := sha256.Sum256(data)
	if c := t.contents[s]; c != nil && c.take >= t.last.take {
		it.content = c
		return nil
	}
	t.pack(it, s, data)
	return nil
}

func (t *take) readSmall(it *item, fd int) ([]byte, error) {
	n, err := nofollow.ReadAll(fd, t.small[:it.sig.size], 0)
	it.size = int64(n)
	return t.small[:n], err
}

// pack puts a small file's content with others. It is marked as the last
// snapshot's, so that it is found from now on.
func (t *take) pack(it *item, s sum, data []byte) {
	it.content = t.packer.add(it, s, data)
	it.content.take = t.last.take
	if t.replaced == nil {
		t.replaced = map[sum]*content{}
	}
	if _, again := t.replaced[s]; !again {
		t.replaced[s] = t.contents[s]
	}
	t.contents[s] = it.content
}

// large stores a file in pieces.
func (t *take) large(it *item, fd int) error {
	it.pieces = make([]record.Piece, 0, (it.sig.size+record.MaxChunk-1)/record.MaxChunk)
	for it.size < it.sig.size {
		if err := t.up.failed(); err != nil {
			return err
		}
		buf := getBuffer()
		n, err := nofollow.ReadAll(fd, (*buf)[:min(record.MaxChunk, it.sig.size-it.size)], it.size)
		if err != nil || n == 0 {
			buffers.Put(buf)
			return err
		}
		*buf = (*buf)[:n]
		it.size += int64(n)
		it.pieces = append(it.pieces, record.Piece{Length: int64(n)}) // never grows, so the address stays
		t.up.put(buf, &it.pieces[len(it.pieces)-1].Chunk)
	}
	return nil
}

// forget takes back what a snapshot that failed has changed of what outlives it.
func (t *take) forget() {
	for key, old := range t.replaced {
		if t.contents[key] = old; old == nil {
			delete(t.contents, key)
		}
	}
}

// list begins to store the listing, while the contents that it names are on their way.
func (t *take) list() ([]*group, error) {
	t.up.hashed.Wait()
	groups, fresh := groupsOf(t.items, t.last.groups)
	for _, g := range fresh {
		if err := t.up.failed(); err != nil {
			return nil, err
		}
		if err := g.store(t.up); err != nil {
			return nil, err
		}
	}
	return groups, nil
}

func (t *take) tree(groups []*group) Tree {
	tree := Tree{LeftOut: t.left.list()}
	for _, g := range groups {
		tree.Chunks = append(tree.Chunks, g.chunks...)
	}
	for _, it := range t.items {
		if it.kind == record.EntryFile {
			tree.Files++
			tree.Bytes += it.size
		}
	}
	return tree
}

func (t *take) state(groups []*group) state {
	s := state{items: t.items, contents: t.contents, groups: make(map[*item]*group, len(groups))}
	for _, g := range groups {
		s.groups[g.items[0]] = g
	}
	return s
}

// keep marks what a state has, forgets contents if most are not its, and gives
// the chunks that it names.
func (t *take) keep(s state) map[record.Digest]bool {
	known := map[record.Digest]bool{}
	packs, live := markLive(s.items, s.take)
	for _, p := range packs {
		known[p.digest] = true
	}
	for _, it := range s.items {
		for _, p := range it.pieces {
			known[p.Chunk] = true
		}
	}
	for _, g := range s.groups {
		for _, d := range g.chunks {
			known[d] = true
		}
	}
	if len(s.contents) > 2*live {
		for key, c := range s.contents {
			if c.take != s.take {
				delete(s.contents, key)
			}
		}
	}
	return known
}
