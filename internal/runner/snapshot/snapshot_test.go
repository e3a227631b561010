package snapshot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner/nofollow"
)

// Whatever a tree has comes back, and a second snapshot of it stores nothing.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir, m := t.TempDir(), newMemory()
			grow(t, rand.New(rand.NewPCG(seed, 1)), dir, 0)
			s := snapshotter(dir)
			tree := mustTake(t, s, m)
			entries := m.list(t, tree)
			if !slices.IsSortedFunc(entries, func(a, b record.Entry) int { return comparePaths(a.Path, b.Path) }) {
				t.Error("the entries are in no order")
			}
			want := describe(t, dir)
			if len(entries) != len(want) {
				t.Errorf("%d entries were listed of %d", len(entries), len(want))
			}
			there := t.TempDir()
			restored := snapshotter(there)
			if err := restored.Restore(t.Context(), m, checkpoint(tree)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, describe(t, there)); diff != "" {
				t.Errorf("what comes back is different (-want +got):\n%s", diff)
			}
			for name, s := range map[string]*Snapshotter{"same folder": s, "restored folder": restored, "fresh": snapshotter(there)} {
				m.count()
				again := mustTake(t, s, m)
				if m.puts != 0 {
					t.Errorf("%s: the next snapshot stored %d chunks", name, m.puts)
				}
				if diff := cmp.Diff(tree, again); diff != "" {
					t.Errorf("%s: the next snapshot is different (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

// repository makes a tree of some files of some 2 KB, in folders of 50.
func repository(t testing.TB, dir string, files int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	all := map[string]string{}
	for i := range files {
		all[repositoryFile(i)] = strings.Repeat(fmt.Sprintf("line of %d: %x\n", i, rng.Uint64()), 1+rng.IntN(120))
	}
	write(t, dir, all)
}

func repositoryFile(i int) string {
	return fmt.Sprintf("src/module%d/package%d/file%d.go", i/500, i/50, i)
}

// later is a clock by which all that was changed is so for long.
func later() time.Time { return time.Now().Add(time.Hour) }

func TestDeltaStoresWhatChanged(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	repository(t, dir, 4000)
	s := snapshotter(dir)
	s.Now = later
	first := mustTake(t, s, m)
	m.count()
	for i := range 10 {
		write(t, dir, map[string]string{repositoryFile(i * 390): fmt.Sprint("changed ", i)})
	}
	second := mustTake(t, s, m)
	if second.Files != first.Files {
		t.Errorf("%d files, then %d", first.Files, second.Files)
	}
	if m.puts > 11 || m.bytes > 700<<10 {
		t.Errorf("a change of 10 files stored %d chunks with %d bytes", m.puts, m.bytes)
	}
	want := describe(t, dir)
	if diff := cmp.Diff(want, describe(t, mustRestore(t, second, m))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	m.count()
	if mustTake(t, s, m); m.calls != 0 {
		t.Errorf("nothing changed, and the record was asked %d times", m.calls)
	}
}

// Two tasks of one repository have most chunks in common, though one of them has
// another file at the very start.
func TestTasksShareChunks(t *testing.T) {
	one, two, m := t.TempDir(), t.TempDir(), newMemory()
	repository(t, one, 2000)
	repository(t, two, 2000)
	write(t, two, map[string]string{"AAA": "only here"})
	mustTake(t, snapshotter(one), m)
	stored := m.bytes
	m.count()
	mustTake(t, snapshotter(two), m)
	// The times of the files are others, so all of the listing is new.
	if listing := int64(2050 * 300); m.bytes > listing+stored/3 {
		t.Errorf("the second of two stored %d bytes, the first %d", m.bytes, stored)
	}
}

// A file that is moved, or touched, or copied, is stored no second time.
func TestSameContentIsStoredOnce(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	big := strings.Repeat("0123456789abcdef", 40<<10)
	write(t, dir, map[string]string{"a/small": strings.Repeat("s", 50<<10), "a/big": big})
	s := snapshotter(dir)
	mustTake(t, s, m)
	m.count()
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"c/copy": strings.Repeat("s", 50<<10), "c/bigger": big})
	tree := mustTake(t, s, m)
	if m.puts != 1 || m.bytes > 4<<10 {
		t.Errorf("%d chunks were stored with %d bytes, want the listing alone", m.puts, m.bytes)
	}
	if diff := cmp.Diff(describe(t, dir), describe(t, mustRestore(t, tree, m))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A change that leaves size and times as they were is found as long as the clock
// cannot tell the two apart.
func TestRacyChange(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	write(t, dir, map[string]string{"f": "before"})
	p := filepath.Join(dir, "f")
	s := snapshotter(dir)
	mustTake(t, s, m)
	write(t, dir, map[string]string{"f": "after!"})
	// As if the second write had come within the same tick.
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.last.items, func(it *item) bool { return it.path == "f" })
	s.last.items[i].sig = signatureOf(&st)
	tree := mustTake(t, s, m)
	got, err := os.ReadFile(filepath.Join(mustRestore(t, tree, m), "f"))
	if err != nil || string(got) != "after!" {
		t.Errorf("the snapshot has %q, %v", got, err)
	}
}

func TestSettled(t *testing.T) {
	start := time.Unix(1000, 500)
	s := Snapshotter{Now: func() time.Time { return start }}
	for name, tc := range map[string]struct {
		changed time.Time
		want    bool
	}{
		"just now":               {start, false},
		"in the future":          {start.Add(time.Hour), false},
		"a tick ago":             {start.Add(-10 * time.Millisecond), false},
		"before":                 {start.Add(-150 * time.Millisecond), true},
		"a second of a coarse":   {time.Unix(999, 0), false},
		"some seconds of coarse": {time.Unix(990, 0), true},
	} {
		if got := s.settled()(tc.changed.UnixNano()); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestLeftOut(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	write(t, dir, map[string]string{"kept": "x"})
	if err := unix.Mkfifo(filepath.Join(dir, "pipe\n\x1b[2J"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test's
	want := []string{`pipe\n\x1b[2J is no file, folder or link`, "socket is no file, folder or link"}
	tree := mustTake(t, snapshotter(dir), m)
	if diff := cmp.Diff(want, tree.LeftOut); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if entries := m.list(t, tree); len(entries) != 1 {
		t.Errorf("%d entries, want 1", len(entries))
	}
	for i := range 150 {
		if err := unix.Mkfifo(filepath.Join(dir, fmt.Sprint("q", i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := mustTake(t, snapshotter(dir), m).LeftOut
	if len(got) != 100 || got[99] != "and 53 more" {
		t.Errorf("%d were named, the last is %q", len(got), got[len(got)-1])
	}
}

func TestExclude(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	write(t, dir, map[string]string{"a/node_modules/b/c": "1", "a/d": "2", ".cache/x": "3", "e.tmp": "4"})
	s := snapshotter(dir)
	s.Exclude = []string{"**/node_modules", ".cache", "*.tmp"}
	for range 2 {
		var got []string
		for _, e := range m.list(t, mustTake(t, s, m)) {
			got = append(got, string(e.Path))
		}
		if diff := cmp.Diff([]string{"a", "a/d"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	s.Exclude = []string{"["}
	if _, err := s.Take(t.Context(), m); err == nil {
		t.Error("a pattern that is none was taken")
	}
}

// What a later Exclude leaves out is so, also where a checkpoint had it.
func TestExcludeAfterRestore(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	write(t, dir, map[string]string{"a": "1", "cache/b": "2"})
	tree := mustTake(t, snapshotter(dir), m)
	s := snapshotter(t.TempDir())
	s.Exclude = []string{"cache"}
	if err := s.Restore(t.Context(), m, checkpoint(tree)); err != nil {
		t.Fatal(err)
	}
	if entries := m.list(t, mustTake(t, s, m)); len(entries) != 1 {
		t.Errorf("%d entries, want 1", len(entries))
	}
}

// What is excluded is no hindrance to a restore, is not restored, and is left as it is.
func TestRestoreLeavesAloneWhatIsExcluded(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	write(t, dir, map[string]string{"a": "1", "cache/b/c": "2", "cache-d/e": "3", "f/tmp/g": "4", "f/h": "5"})
	tree := mustTake(t, snapshotter(dir), m)
	to := t.TempDir()
	write(t, to, map[string]string{"cache/there": "6"})
	s := snapshotter(to)
	s.Exclude = []string{"cache", "f/tmp"}
	if err := s.Restore(t.Context(), m, checkpoint(tree)); err != nil {
		t.Fatal(err)
	}
	want := []string{"a", "cache", "cache-d", "cache-d/e", "cache/there", "f", "f/h"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(describe(t, to)))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var got []string
	for _, e := range m.list(t, mustTake(t, s, m)) {
		got = append(got, string(e.Path))
	}
	if diff := cmp.Diff([]string{"a", "cache-d", "cache-d/e", "f", "f/h"}, got); diff != "" {
		t.Errorf("the next snapshot (-want +got):\n%s", diff)
	}
}

// A file whose first name is excluded has nothing that its other names could be of.
func TestHardLinksToWhatIsExcluded(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	write(t, dir, map[string]string{"cache/a": "1"})
	if err := os.Link(filepath.Join(dir, "cache/a"), filepath.Join(dir, "z")); err != nil {
		t.Fatal(err)
	}
	s := snapshotter(t.TempDir())
	tree := mustTake(t, snapshotter(dir), m)
	s.Exclude = []string{"cache"}
	if err := s.Restore(t.Context(), m, checkpoint(tree)); err == nil || !strings.Contains(err.Error(), `"z" is another name of "cache/a"`) {
		t.Errorf("got %v", err)
	}
}

func TestMaxEntries(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	write(t, dir, map[string]string{"a": "1", "b/c": "2"})
	s := snapshotter(dir)
	s.MaxEntries = 3
	tree := mustTake(t, s, m)
	write(t, dir, map[string]string{"b/d": "3"})
	var large *TooLargeError
	if _, err := s.Take(t.Context(), m); !errors.As(err, &large) || large.Of("home") != "the home has more than 3 files, folders and links, or too long paths" {
		t.Errorf("got %v", err)
	}
	s = snapshotter(t.TempDir())
	s.MaxEntries = 2
	if err := s.Restore(t.Context(), m, checkpoint(tree)); !errors.As(err, &large) {
		t.Errorf("a restore: %v", err)
	}
}

func TestTooLarge(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	write(t, dir, map[string]string{"a": "some"})
	for _, name := range []string{"b", "c"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(1<<40), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	_, err := snapshotter(dir).Take(t.Context(), m)
	var large *TooLargeError
	if !errors.As(err, &large) || large.Bytes != 2<<40+4 || large.MaxBytes != 1<<30 {
		t.Errorf("%v", err)
	}
	if m.calls != 0 {
		t.Errorf("the record was asked %d times", m.calls)
	}
	// Another name of the same file does not count.
	dir = t.TempDir()
	write(t, dir, map[string]string{"a": "0123456789"})
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	s := snapshotter(dir)
	s.MaxBytes = 10
	tree := mustTake(t, s, m)
	if tree.Files != 1 || tree.Bytes != 10 {
		t.Errorf("%d files of %d bytes", tree.Files, tree.Bytes)
	}
	s = snapshotter(t.TempDir())
	s.MaxBytes = 9
	if err := s.Restore(t.Context(), m, checkpoint(tree)); !errors.As(err, &large) {
		t.Errorf("%v", err)
	}
}

// A tree whose paths are longer than any system call takes comes back; one with more
// folders in each other than can be open is cut there.
func TestDeep(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	name := strings.Repeat("d", 200)
	fd, err := nofollow.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 60 { // 12,000 bytes
		if err := unix.Mkdirat(fd, name, 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := nofollow.OpenFolder(fd, name)
		if err != nil {
			t.Fatal(err)
		}
		nofollow.Close(fd)
		fd = next
	}
	f, err := nofollow.OpenAt(fd, "deepest", unix.O_WRONLY|unix.O_CREAT, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(f, []byte("down here")); err != nil {
		t.Fatal(err)
	}
	nofollow.Close(f)
	nofollow.Close(fd)
	tree := mustTake(t, snapshotter(dir), m)
	if n := len(m.list(t, tree)); n != 61 {
		t.Errorf("%d entries, want 61", n)
	}
	again := mustTake(t, snapshotter(mustRestore(t, tree, m)), m)
	if again.Files != 1 || again.Bytes != 9 {
		t.Errorf("%d files of %d bytes came back", again.Files, again.Bytes)
	}
	dir = t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, strings.Repeat("x/", maxDepth+5)), 0o755); err != nil {
		t.Fatal(err)
	}
	tree = mustTake(t, snapshotter(dir), m)
	if n := len(m.list(t, tree)); n != maxDepth-1 || len(tree.LeftOut) != 1 {
		t.Errorf("%d entries, %q", n, tree.LeftOut)
	}
}

// Over a long run what is stored for the last checkpoint stays near what it has, and
// in few chunks.
func TestRepack(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	rng := rand.New(rand.NewPCG(3, 4))
	s := snapshotter(dir)
	s.Now = later
	block := func() string { return strings.Repeat(fmt.Sprintf("%016x", rng.Uint64()), 256) }
	var tree Tree
	for turn := range 400 {
		write(t, dir, map[string]string{fmt.Sprint("f", rng.IntN(300)): block(), fmt.Sprint("g", turn): "g"})
		tree = mustTake(t, s, m)
	}
	named := map[record.Digest]int64{}
	var live int64
	for _, e := range m.list(t, tree) {
		for _, p := range e.Pieces {
			named[p.Chunk] = int64(len(m.chunks[p.Chunk]))
			live += p.Length
		}
	}
	var stored int64
	for _, n := range named {
		stored += n
	}
	if len(named) > maxSmallPacks+10 || stored > 2*live+smallPack {
		t.Errorf("%d bytes are in %d chunks of %d", live, len(named), stored)
	}
	if diff := cmp.Diff(describe(t, dir), describe(t, mustRestore(t, tree, m))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A chunk most of whose files are gone is left, and their bytes with it.
func TestRepackOfDeadBytes(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range 100 {
		write(t, dir, map[string]string{fmt.Sprint("f", i): strings.Repeat(fmt.Sprintf("%016x", rng.Uint64()), 512)})
	}
	s := snapshotter(dir)
	s.Now = later
	mustTake(t, s, m)
	for i := range 80 {
		if err := os.Remove(filepath.Join(dir, fmt.Sprint("f", i))); err != nil {
			t.Fatal(err)
		}
	}
	tree := mustTake(t, s, m)
	for _, e := range m.list(t, tree) {
		if n := len(m.chunks[e.Pieces[0].Chunk]); n > 200<<10 {
			t.Fatalf("%q is in a chunk of %d bytes, though 20 files of 8 KiB are left", e.Path, n)
		}
	}
	if diff := cmp.Diff(describe(t, dir), describe(t, mustRestore(t, tree, m))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What the last checkpoint did not have may be gone from the store: when it comes
// back it is stored again.
func TestForgottenChunksAreStoredAgain(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	files := map[string]string{"small": "a small one", "big": strings.Repeat("0123456789abcdef", 40<<10)}
	write(t, dir, map[string]string{"other": "stays"})
	s := snapshotter(dir)
	mustTake(t, s, m)
	write(t, dir, files)
	before := mustTake(t, s, m)
	for name := range files {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	after := mustTake(t, s, m)
	kept := map[record.Digest]bool{}
	for _, e := range m.list(t, after) {
		for _, p := range e.Pieces {
			kept[p.Chunk] = true
		}
	}
	for _, e := range m.list(t, before) {
		for _, p := range e.Pieces {
			if !kept[p.Chunk] {
				delete(m.chunks, p.Chunk)
			}
		}
	}
	write(t, dir, files)
	if diff := cmp.Diff(describe(t, dir), describe(t, mustRestore(t, mustTake(t, s, m), m))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A record that fails at any call fails the snapshot, and the next one is whole.
func TestTakeFailsAtEveryCall(t *testing.T) {
	for k := 1; ; k++ {
		dir, m := t.TempDir(), newMemory()
		repository(t, dir, 60)
		write(t, dir, map[string]string{"big": strings.Repeat("0123456789abcdef", 600<<10)})
		s := snapshotter(dir)
		mustTake(t, s, m)
		write(t, dir, map[string]string{repositoryFile(3): "changed", "big": strings.Repeat("fedcba9876543210", 600<<10), "new": "new"})
		m.count()
		m.failAt = k
		_, err := s.Take(t.Context(), m)
		m.failAt = 0
		if err == nil {
			if k < 8 {
				t.Errorf("a snapshot has %d calls only", k-1)
			}
			return
		}
		if !errors.Is(err, errInduced) {
			t.Errorf("call %d: %v", k, err)
		}
		tree := mustTake(t, s, m)
		m.list(t, tree)
		if diff := cmp.Diff(describe(t, dir), describe(t, mustRestore(t, tree, m))); diff != "" {
			t.Fatalf("call %d (-want +got):\n%s", k, diff)
		}
	}
}

func TestTakeEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	repository(t, dir, 100)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := snapshotter(dir).Take(ctx, newMemory()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
