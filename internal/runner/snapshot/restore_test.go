package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/record"
)

// hostile is a listing with the chunk "0123456789" stored.
func hostile(m *memory, entries ...record.Entry) record.Checkpoint {
	var lines []byte
	c := record.Checkpoint{Turn: 1}
	for _, e := range entries {
		line, _ := json.Marshal(e)
		lines = append(append(lines, line...), '\n')
		if e.Type == record.EntryFile {
			c.Files++
			c.Bytes += e.Size
		}
	}
	c.Tree = []record.Digest{m.put(lines)}
	return c
}

func folder(path string) record.Entry {
	return record.Entry{Path: []byte(path), Type: record.EntryFolder, Mode: 0o755}
}

func link(path, target string) record.Entry {
	return record.Entry{Path: []byte(path), Type: record.EntrySymlink, Mode: 0o777, Target: []byte(target)}
}

func hardLink(path, target string) record.Entry {
	return record.Entry{Path: []byte(path), Type: record.EntryHardLink, Mode: 0o644, Target: []byte(target)}
}

func file(path string, pieces ...record.Piece) record.Entry {
	e := record.Entry{Path: []byte(path), Type: record.EntryFile, Mode: 0o644, Pieces: pieces}
	for _, p := range pieces {
		e.Size += p.Length
	}
	return e
}

// A listing that nobody would write is refused as a whole: nothing is outside, and
// nothing is left inside.
func TestHostileListings(t *testing.T) {
	ten := record.Piece{Chunk: digestOf([]byte("0123456789")), Length: 10}
	piece := func(offset, length int64) record.Piece {
		return record.Piece{Chunk: ten.Chunk, Offset: offset, Length: length}
	}
	sized := func(e record.Entry, size int64) record.Entry { e.Size = size; return e }
	with := func(e record.Entry, mode uint32) record.Entry { e.Mode = mode; return e }
	of := func(e record.Entry, kind record.EntryType) record.Entry { e.Type = kind; return e }
	elsewhere := filepath.Join(t.TempDir(), "victim")
	for name, entries := range map[string][]record.Entry{
		"upwards":                     {file("../x", ten)},
		"upwards within":              {folder("a"), file("a/../../x", ten)},
		"absolute":                    {file("/etc/x", ten)},
		"no path":                     {file("", ten)},
		"the folder itself":           {folder(".")},
		"a path that is not clean":    {folder("a"), file("a//b", ten)},
		"a slash at the end":          {folder("a/")},
		"a dot within":                {folder("a"), file("a/./b", ten)},
		"NUL":                         {file("a\x00b", ten)},
		"a name too long":             {file(strings.Repeat("n", 256), ten)},
		"a path too long":             {folder(strings.Repeat("n/", maxPath))},
		"twice":                       {file("a", ten), file("a", ten)},
		"no order":                    {file("b", ten), file("a", ten)},
		"back to a folder":            {folder("a"), file("a/b", ten), folder("c"), file("a/d", ten)},
		"no folder":                   {file("a/b", ten)},
		"in another folder":           {folder("a"), file("b/c", ten)},
		"in a file":                   {file("a", ten), file("a/b", ten)},
		"in a symlink":                {link("a", filepath.Dir(elsewhere)), file("a/victim", ten)},
		"in a hard link":              {file("a", ten), hardLink("b", "a"), file("b/c", ten)},
		"hard link to nothing":        {hardLink("a", "b")},
		"hard link to what is later":  {hardLink("a", "b"), file("b", ten)},
		"hard link to itself":         {hardLink("a", "a")},
		"hard link upwards":           {file("a", ten), hardLink("b", "../"+filepath.Base(elsewhere))},
		"hard link to an absolute":    {file("a", ten), hardLink("b", "/etc/passwd")},
		"hard link to a folder":       {folder("a"), hardLink("b", "a")},
		"hard link to a symlink":      {link("a", "/etc/passwd"), hardLink("b", "a")},
		"symlink to nothing":          {link("a", "")},
		"symlink with NUL":            {link("a", "b\x00c")},
		"symlink too long":            {link("a", strings.Repeat("x", 5000))},
		"symlink with a content":      {sized(link("a", "b"), 10)},
		"folder with a content":       {of(file("a", ten), record.EntryFolder)},
		"file with a target":          {of(link("a", "b"), record.EntryFile)},
		"device":                      {of(folder("a"), "device")},
		"mode of a device":            {with(folder("a"), unix.S_IFCHR|0o644)},
		"size above the pieces":       {sized(file("a", ten), 11)},
		"size below the pieces":       {sized(file("a", ten), 9)},
		"negative size":               {sized(file("a"), -1)},
		"negative offset":             {file("a", piece(-1, 5))},
		"negative length":             {file("a", piece(0, -5), piece(0, 5))},
		"no length":                   {file("a", piece(0, 0))},
		"beyond any chunk":            {file("a", piece(record.MaxChunk, 1))},
		"offset that overflows":       {file("a", piece(1<<63-1, 5))},
		"beyond the chunk":            {file("0", ten), file("a", piece(5, 6))},
		"offset beyond the chunk":     {file("0", ten), file("a", piece(50, 6))},
		"chunk that is none":          {file("a", record.Piece{Chunk: "../../x", Length: 1})},
		"chunk that is not there":     {file("0", ten), file("a", record.Piece{Chunk: digestOf([]byte("none")), Length: 4})},
		"place of the restore itself": {folder(marker), file(marker+"/x", ten)},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			m.put([]byte("0123456789"))
			refused(t, m, hostile(m, entries...))
		})
	}
	if _, err := os.Lstat(elsewhere); !os.IsNotExist(err) {
		t.Errorf("something was written outside: %v", err)
	}
}

// refused tries a checkpoint that is damaged.
func refused(t *testing.T, m *memory, c record.Checkpoint) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "workspace")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	err := snapshotter(dir).Restore(t.Context(), m, c)
	var corrupt *record.CorruptError
	if !errors.As(err, &corrupt) {
		t.Errorf("%v", err)
	}
	if left := describe(t, filepath.Dir(dir)); len(left) != 1 {
		t.Errorf("it has left %v", slices.Sorted(maps.Keys(left)))
	}
}

func TestDamagedListings(t *testing.T) {
	whole, _ := json.Marshal(folder("a"))
	for name, listing := range map[string]string{
		"garbage":          "\x00\xff\n",
		"no line end":      string(whole),
		"two in a line":    string(whole) + string(whole) + "\n",
		"something behind": string(whole) + " \n",
		"an empty line":    "\n",
		"null":             "null\n",
		"an unknown field": strings.Replace(string(whole), "{", `{"acl":"x",`, 1) + "\n",
		"no base64":        `{"path":"%","type":"dir","mode":1}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			refused(t, m, record.Checkpoint{Tree: []record.Digest{m.put([]byte(listing))}})
		})
	}
	for name, c := range map[string]record.Checkpoint{
		"more files counted": {Files: 1}, "more bytes counted": {Bytes: 1}, "a chunk that is not there": {Tree: []record.Digest{digestOf(nil)}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, newMemory(), c) })
	}
}

// A small listing must not become a tree without bound.
func TestRestoreIsBounded(t *testing.T) {
	m := newMemory()
	full := make([]byte, record.MaxChunk)
	m.put(full)
	p := record.Piece{Chunk: digestOf(full), Length: record.MaxChunk}
	dir := t.TempDir()
	err := snapshotter(dir).Restore(t.Context(), m, hostile(m, file("a", slices.Repeat([]record.Piece{p}, 300)...)))
	var large *TooLargeError
	if !errors.As(err, &large) {
		t.Errorf("%v", err)
	}
	c := hostile(m, file("a", slices.Repeat([]record.Piece{p}, 300)...))
	c.Bytes = 5
	if err := snapshotter(dir).Restore(t.Context(), m, c); !errors.As(err, &large) {
		t.Errorf("a checkpoint that says less: %v", err)
	}
	if left := describe(t, dir); len(left) != 0 {
		t.Errorf("it has left %v", left)
	}
}

// A restore that dies before any of its writes is recognised and repeated; one whose
// record fails leaves nothing.
func TestRestoreDiesAtEveryStep(t *testing.T) {
	src, m := t.TempDir(), newMemory()
	write(t, src, map[string]string{"a/b/c": "1", "a/d": "2", "big": strings.Repeat("0123456789abcdef", 600<<10), "empty": ""})
	for _, err := range []error{
		os.Symlink("nowhere", filepath.Join(src, "link")), os.Link(filepath.Join(src, "a/d"), filepath.Join(src, "e")),
		os.Chmod(filepath.Join(src, "a/b"), 0o555), os.Chmod(filepath.Join(src, "a"), 0o555),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tree, want := mustTake(t, snapshotter(src), m), describe(t, src)
	steps := 0
	for k := int64(1); ; k++ {
		dir := t.TempDir()
		s := snapshotter(dir)
		var n atomic.Int64
		s.step = func() error {
			if n.Add(1) >= k {
				return errInduced
			}
			return nil
		}
		err := s.Restore(t.Context(), m, checkpoint(tree))
		if err == nil {
			break
		}
		steps++
		if !errors.Is(err, errInduced) {
			t.Fatalf("step %d: %v", k, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 && !slices.ContainsFunc(left, func(e os.DirEntry) bool { return e.Name() == marker }) {
			t.Fatalf("step %d has left %v without a mark, %v", k, left, err)
		}
		if err := snapshotter(dir).Restore(t.Context(), m, checkpoint(tree)); err != nil {
			t.Fatalf("after step %d: %v", k, err)
		}
		if diff := cmp.Diff(want, describe(t, dir)); diff != "" {
			t.Fatalf("after step %d (-want +got):\n%s", k, diff)
		}
	}
	if steps < 20 {
		t.Errorf("a restore has %d steps only", steps)
	}
	m.count()
	mustRestore(t, tree, m)
	for k := range m.calls {
		dir := t.TempDir()
		m.count()
		m.failAt = k + 1
		if err := snapshotter(dir).Restore(t.Context(), m, checkpoint(tree)); !errors.Is(err, errInduced) {
			t.Errorf("call %d: %v", k, err)
		}
		m.failAt = 0
		if left := describe(t, dir); len(left) != 0 {
			t.Errorf("call %d: it has left %v", k, left)
		}
	}
}

// A restore that dies while it cleans up after another is recognised, too.
func TestCleaningDiesAtEveryStep(t *testing.T) {
	m := newMemory()
	src := t.TempDir()
	write(t, src, map[string]string{"x": "1"})
	tree := mustTake(t, snapshotter(src), m)
	for k := 1; k <= 8; k++ {
		dir := t.TempDir()
		for i := range 8 { // wherever the marker is in the folder's own order
			if i == k-1 {
				write(t, dir, map[string]string{marker + "/d": "old"})
			}
			write(t, dir, map[string]string{fmt.Sprint("a", i, "/b"): "old"})
		}
		s := snapshotter(dir)
		n := 0
		s.step = func() error {
			if n++; n >= k {
				return errInduced
			}
			return nil
		}
		if err := s.Restore(t.Context(), m, checkpoint(tree)); !errors.Is(err, errInduced) {
			t.Errorf("step %d: %v", k, err)
		}
		if err := snapshotter(dir).Restore(t.Context(), m, checkpoint(tree)); err != nil {
			t.Errorf("after step %d: %v", k, err)
		}
		if diff := cmp.Diff(describe(t, src), describe(t, dir)); diff != "" {
			t.Errorf("after step %d (-want +got):\n%s", k, diff)
		}
	}
}

func TestRestoreNeedsAnEmptyFolder(t *testing.T) {
	m := newMemory()
	dir := t.TempDir()
	write(t, dir, map[string]string{"mine": "x"})
	want := describe(t, dir)
	if err := snapshotter(dir).Restore(t.Context(), m, hostile(m, folder("a"))); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("%v", err)
	}
	if diff := cmp.Diff(want, describe(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Links that lead out are kept as links, and nothing is read or written through them.
func TestLinksThatLeadOut(t *testing.T) {
	dir, out, m := t.TempDir(), t.TempDir(), newMemory()
	write(t, out, map[string]string{"secret/key": "the secret"})
	for name, target := range map[string]string{"folder": out + "/secret", "file": out + "/secret/key", "loop": ".", "up": "..", "gone": "/no/such"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	tree := mustTake(t, snapshotter(dir), m)
	for d, data := range m.chunks {
		if strings.Contains(string(data), "the secret") {
			t.Errorf("%s has what a link leads to", d)
		}
	}
	if tree.Files != 0 || len(m.list(t, tree)) != 5 {
		t.Errorf("%d files, %v", tree.Files, m.list(t, tree))
	}
	if diff := cmp.Diff(describe(t, dir), describe(t, mustRestore(t, tree, m))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Every chunk is fetched once, and few at a time.
func TestRestoreFetchesEachChunkOnce(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	repository(t, dir, 1000)
	big := strings.Repeat("0123456789abcdef", 600<<10)
	write(t, dir, map[string]string{"big": big, "copy": big})
	tree := mustTake(t, snapshotter(dir), m)
	m.count()
	mustRestore(t, tree, m)
	if m.gets != len(m.chunks) {
		t.Errorf("%d fetches of %d chunks", m.gets, len(m.chunks))
	}
}

// Whatever somebody does in the folder meanwhile, a snapshot is whole, has nothing
// from outside, and can be restored.
func TestMutationMeanwhile(t *testing.T) {
	dir, out, m := t.TempDir(), t.TempDir(), newMemory()
	write(t, out, map[string]string{"secret": strings.Repeat("the secret", 100)})
	repository(t, dir, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var changes atomic.Int64
	go func() {
		defer close(done)
		rng := rand.New(rand.NewPCG(7, 8))
		for ctx.Err() == nil {
			mutate(rng, dir, out)
			changes.Add(1)
		}
	}()
	s := snapshotter(dir)
	for round := range 15 {
		before := changes.Load()
		var tree Tree
		for first := true; first || changes.Load() == before; first = false {
			tree = mustTake(t, s, m)
		}
		m.list(t, tree)
		if err := snapshotter(t.TempDir()).Restore(t.Context(), m, checkpoint(tree)); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
	}
	cancel()
	<-done
	for d, data := range m.chunks {
		if strings.Contains(string(data), "the secret") {
			t.Errorf("%s has what is outside", d)
		}
	}
	tree, want := mustTake(t, s, m), describe(t, dir)
	maps.DeleteFunc(want, func(_, words string) bool { return strings.HasPrefix(words, "10600 ") }) // fifos
	if diff := cmp.Diff(want, describe(t, mustRestore(t, tree, m))); diff != "" {
		t.Errorf("at rest (-want +got):\n%s", diff)
	}
}

// mutate does one of the things that are awkward for a reader. Errors are part of it.
func mutate(rng *rand.Rand, dir, out string) {
	p := filepath.Join(dir, repositoryFile(rng.IntN(100)))
	parent := filepath.Dir(p)
	_ = os.MkdirAll(parent, 0o755)
	switch rng.IntN(10) {
	case 0:
		_ = os.Remove(p)
	case 1:
		change(p, func(f *os.File) { _, _ = f.Write(randomBytes(rng)) })
	case 2:
		change(p, func(f *os.File) { _ = f.Truncate(rng.Int64N(smallFile * 2)) })
	case 3:
		_ = os.Remove(p)
		_ = os.Symlink(filepath.Join(out, "secret"), p)
	case 4:
		_ = os.Rename(parent, parent+"x")
		_ = os.Symlink(out, parent)
	case 5:
		_ = os.Remove(parent)
		_ = os.Rename(parent+"x", parent)
	case 6:
		_ = os.Remove(p)
		_ = unix.Mkfifo(p, 0o600)
	case 7:
		_ = os.Link(p, filepath.Join(dir, fmt.Sprint("link", rng.IntN(20))))
	case 8:
		_ = os.Remove(p)
		_ = os.Mkdir(p, 0o755)
	case 9:
		_ = os.Remove(filepath.Join(dir, fmt.Sprint("link", rng.IntN(20))))
	}
}

// change writes to a file, not through a link, and not to a fifo that nobody reads.
func change(p string, do func(*os.File)) {
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err == nil {
		do(f)
		_ = f.Close()
	}
}
