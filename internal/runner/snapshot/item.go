package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/record"
)

// modeBits are those of a mode that an entry has.
const modeBits = 0o7777

type sum [sha256.Size]byte

func digestOf(data []byte) record.Digest {
	s := sha256.Sum256(data)
	return record.Digest("sha256:" + hex.EncodeToString(s[:]))
}

// item is a file, folder or link, as it was seen. It does not change once its
// snapshot has ended, so a part of a listing is known by its items' pointers.
type item struct {
	path string
	kind record.EntryType
	sig  signature
	// racy is set where a later change might not show in sig.
	racy bool
	// hash is of path: it says where listing and chunks are cut.
	hash uint32
	// size is what is stored of a file.
	size int64
	// target is a symlink's text, or the first name of a hard link.
	target string
	// content is a small file's that is not empty, pieces are a larger one's.
	content *content
	pieces  []record.Piece
}

// content is a small file's, a part of a pack.
type content struct {
	sum            sum
	pack           *pack
	offset, length int64
	// take is the last snapshot that had it.
	take uint64
}

// pack is a chunk of small files.
type pack struct {
	digest record.Digest
	size   int64
	// take is the last snapshot that had a part of it, and live the bytes that were.
	take uint64
	live int64
}

// signature is what stat(2) says of a file that changes with it.
type signature struct {
	dev, ino, nlink    uint64
	mode               uint32
	size, mtime, ctime int64
}

// inode is a file, whatever its names.
type inode struct{ dev, ino uint64 }

func (s signature) inode() inode { return inode{s.dev, s.ino} }

func signatureOf(st *unix.Stat_t) signature {
	return signature{
		dev: uint64(st.Dev), ino: st.Ino, nlink: uint64(st.Nlink), mode: uint32(st.Mode), //nolint:unconvert // their types depend on the system, and only equality counts
		size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(),
	}
}

func newItem(path string, kind record.EntryType, sig signature) *item {
	return &item{path: path, kind: kind, sig: sig, hash: crc32.ChecksumIEEE([]byte(path))}
}

// as gives an item of another kind for what was seen.
func (it *item) as(kind record.EntryType) *item {
	return &item{path: it.path, kind: kind, sig: it.sig, racy: it.racy, hash: it.hash}
}

// linkTo gives a hard link, which is the item itself where that is the one.
func (it *item) linkTo(first *item) *item {
	if it.kind == record.EntryHardLink && it.target == first.path {
		return it
	}
	link := it.as(record.EntryHardLink)
	link.target = first.path
	return link
}

// entry gives an item as the listing has it.
func (it *item) entry() record.Entry {
	e := record.Entry{
		Path: []byte(it.path), Type: it.kind, Mode: it.sig.mode & modeBits, Size: it.size, ModTime: it.sig.mtime,
		Pieces: it.pieces, Target: []byte(it.target),
	}
	if c := it.content; c != nil {
		e.Pieces = []record.Piece{{Chunk: c.pack.digest, Offset: c.offset, Length: c.length}}
	}
	return e
}

// comparePaths orders paths as a walk does: a folder, what is in it, what is beside
// it. No name has a NUL, which takes the place of the slash.
func comparePaths[A, B ~string | ~[]byte](a A, b B) int {
	for i := range min(len(a), len(b)) {
		if x, y := a[i], b[i]; x != y {
			if x == '/' {
				return -1
			}
			if y == '/' {
				return 1
			}
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}
