package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/record"
)

var errInduced = errors.New("induced")

// memory keeps the chunks of a record, and counts.
type memory struct {
	record.Recorder
	mu     sync.Mutex
	chunks map[record.Digest][]byte
	// puts, gets and calls count, bytes those of puts.
	puts, gets, calls int
	bytes             int64
	// failAt is the call that fails, and all after it; 0 is none.
	failAt int
}

func newMemory() *memory { return &memory{chunks: map[record.Digest][]byte{}} }

func (m *memory) call() error {
	m.calls++
	if m.failAt > 0 && m.calls >= m.failAt {
		return errInduced
	}
	return nil
}

func (m *memory) count() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts, m.gets, m.calls, m.bytes = 0, 0, 0, 0
}

func (m *memory) Missing(_ context.Context, chunks []record.Digest) ([]record.Digest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(chunks), func(d record.Digest) bool { _, ok := m.chunks[d]; return ok }), nil
}

func (m *memory) PutChunk(_ context.Context, d record.Digest, data []byte) error {
	h := sha256.Sum256(data)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call(); err != nil {
		return err
	}
	if string(d) != "sha256:"+hex.EncodeToString(h[:]) || len(data) > record.MaxChunk {
		return fmt.Errorf("chunk %s has %d bytes with another digest", d, len(data))
	}
	m.puts++
	m.bytes += int64(len(data))
	m.chunks[d] = slices.Clone(data)
	return nil
}

func (m *memory) Chunk(_ context.Context, d record.Digest) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call(); err != nil {
		return nil, err
	}
	m.gets++
	data, ok := m.chunks[d]
	if !ok {
		return nil, record.ErrNotFound
	}
	return slices.Clone(data), nil
}

// put stores a chunk as it is.
func (m *memory) put(data []byte) record.Digest {
	d := digestOf(data)
	m.chunks[d] = data
	return d
}

// list gives the entries of a tree.
func (m *memory) list(t *testing.T, tree Tree) []record.Entry {
	t.Helper()
	var all []byte
	for _, d := range tree.Chunks {
		data, ok := m.chunks[d]
		if !ok {
			t.Fatalf("the listing's chunk %s is not stored", d)
		}
		all = append(all, data...)
	}
	var entries []record.Entry
	for line := range strings.Lines(string(all)) {
		var e record.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		for _, p := range e.Pieces {
			if _, ok := m.chunks[p.Chunk]; !ok {
				t.Fatalf("%q names %s, which is not stored", e.Path, p.Chunk)
			}
		}
		entries = append(entries, e)
	}
	return entries
}

func checkpoint(tree Tree) record.Checkpoint {
	return record.Checkpoint{Turn: 1, Tree: tree.Chunks, Files: tree.Files, Bytes: tree.Bytes}
}

func mustTake(t testing.TB, s *Snapshotter, m *memory) Tree {
	t.Helper()
	tree, err := s.Take(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func snapshotter(dir string) *Snapshotter { return &Snapshotter{Root: dir, MaxBytes: 1 << 30} }

// mustRestore restores a tree into a new folder.
func mustRestore(t testing.TB, tree Tree, m *memory) string {
	t.Helper()
	dir := t.TempDir()
	if err := snapshotter(dir).Restore(t.Context(), m, checkpoint(tree)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// describe gives what a tree is, as far as a snapshot keeps it.
func describe(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	first := map[uint64]string{}
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		words := fmt.Sprintf("%o %d ", st.Mode, st.Mtim.Nano())
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			words += target
		case unix.S_IFREG:
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			words += fmt.Sprintf("%d %x", len(data), sha256.Sum256(data))
			if first[st.Ino] == "" {
				first[st.Ino] = rel
			}
			words += " " + first[st.Ino]
		}
		out[rel] = words
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(files[name]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// names are hard to keep.
var names = []string{
	"a", "a-b", "a.b", "a b", "A", "z", ".hidden", "-", "new\nline", "\xff\xfe", "é", "tab\t", "\x1b[31m", `back\slash`, `"quoted"`,
	"..a", "...", "*", "[x]", strings.Repeat("n", 255), "nul", "~", "a+b", "a/b"[:1] + "\x01", "\u202e",
}

// grow makes a random tree.
func grow(t testing.TB, rng *rand.Rand, dir string, depth int) {
	t.Helper()
	var files []string
	for _, i := range rng.Perm(len(names))[:3+rng.IntN(8)] {
		p := filepath.Join(dir, names[i])
		var err error
		switch n := rng.IntN(10); {
		case n < 5:
			err = os.WriteFile(p, randomBytes(rng), 0o600)
			files = append(files, p)
		case n < 7 && depth < 5:
			if err = os.Mkdir(p, 0o755); err == nil {
				grow(t, rng, p, depth+1)
				err = os.Chmod(p, []fs.FileMode{0o755, 0o700, 0o555, 0o777 | fs.ModeSticky, 0o2755, 0}[rng.IntN(6)])
			}
		case n < 9:
			err = os.Symlink([]string{"/etc/passwd", "../..", ".", "a", "no\nsuch", "\xff"}[rng.IntN(6)], p)
		default:
			if len(files) > 0 {
				err = os.Link(files[rng.IntN(len(files))], p)
			}
		}
		if err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		mode := []uint32{0o644, 0o755, 0o600, 0o444, 0o4755, 0o2711, 0o1777, 0}[rng.IntN(8)]
		when := time.Unix(rng.Int64N(4e9)-1e9, rng.Int64N(1e9))
		if err := errors.Join(unix.Chmod(f, mode), os.Chtimes(f, when, when)); err != nil {
			t.Fatal(err)
		}
	}
}

func randomBytes(rng *rand.Rand) []byte {
	sizes := []int{0, 1, 100, 5000, 5000, smallFile - 1, smallFile, smallFile + 1}
	if rng.IntN(20) == 0 {
		sizes = []int{record.MaxChunk - 1, record.MaxChunk, record.MaxChunk + 1, 2*record.MaxChunk + 77}
	}
	data := make([]byte, sizes[rng.IntN(len(sizes))])
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}
