package folder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

func open(t *testing.T, dir string) *blob.Bucket {
	t.Helper()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

var create = &blob.WriterOptions{IfNotExist: true}

func write(t *testing.T, b *blob.Bucket, key, content string) {
	t.Helper()
	if err := b.WriteAll(t.Context(), key, []byte(content), nil); err != nil {
		t.Fatal(err)
	}
}

// keys lists by pages of a size.
func keys(t *testing.T, b *blob.Bucket, size int, prefix, delimiter string) []string {
	t.Helper()
	var res []string
	for token := blob.FirstPageToken; len(token) > 0; {
		objs, next, err := b.ListPage(t.Context(), token, size, &blob.ListOptions{Prefix: prefix, Delimiter: delimiter})
		if err != nil {
			t.Fatal(err)
		}
		if len(objs) > size {
			t.Fatalf("a page of %d has %d objects", size, len(objs))
		}
		for _, o := range objs {
			res = append(res, o.Key)
		}
		token = next
	}
	return res
}

func TestList(t *testing.T) {
	b := open(t, t.TempDir())
	all := []string{"a", "a-b/c", "a.b", "a0", "b/a", "b/a-/x", "b/a/x", "b/a/y/z", "b/b", "c/d/e/f", "d"}
	// A file "b/a" and a folder "b/a" cannot both be.
	all = slices.DeleteFunc(all, func(k string) bool { return k == "b/a" })
	for _, k := range all {
		write(t, b, k, "of "+k)
	}
	for _, prefix := range []string{"", "a", "a-", "a-b/", "b", "b/", "b/a", "b/a/", "b/a/y/z", "c/d/e/f/", "x", "x/y", "../", "/"} {
		for _, delimiter := range []string{"", "/"} {
			var want []string
			for _, k := range all {
				if !strings.HasPrefix(k, prefix) {
					continue
				}
				if i := strings.Index(k[len(prefix):], "/"); delimiter != "" && i >= 0 {
					k = k[:len(prefix)+i+1]
				}
				if !slices.Contains(want, k) {
					want = append(want, k)
				}
			}
			slices.Sort(want)
			for size := 1; size <= len(all)+1; size++ {
				if d := cmp.Diff(want, keys(t, b, size, prefix, delimiter)); d != "" {
					t.Fatalf("with the prefix %q and the delimiter %q, by %d (-want +got):\n%s", prefix, delimiter, size, d)
				}
			}
		}
	}
}

func TestObjects(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	write(t, b, "x/y/z", "one")
	write(t, b, "x/y/z", "two, longer")
	got, err := open(t, dir).ReadAll(t.Context(), "x/y/z")
	if err != nil || string(got) != "two, longer" {
		t.Fatalf("got %q, %v", got, err)
	}
	r, err := b.NewRangeReader(t.Context(), "x/y/z", 5, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 10)
	n, _ := r.Read(part)
	if string(part[:n]) != "lon" || r.Size() != 11 || r.Close() != nil {
		t.Fatalf("a range is %q of %d", part[:n], r.Size())
	}
	err = b.WriteAll(t.Context(), "x/y/z", []byte("three"), create)
	if gcerrors.Code(err) != gcerrors.FailedPrecondition {
		t.Fatalf("an object was created again: %v", err)
	}
	for _, key := range []string{"x/y", "x", "none", "x/y/none"} {
		if _, err := b.ReadAll(t.Context(), key); gcerrors.Code(err) != gcerrors.NotFound {
			t.Errorf("%s: got %v", key, err)
		}
		if _, err := b.Attributes(t.Context(), key); gcerrors.Code(err) != gcerrors.NotFound {
			t.Errorf("%s: got %v", key, err)
		}
	}
	if err := b.Delete(t.Context(), "x/y/z"); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), "x/y/z"); gcerrors.Code(err) != gcerrors.NotFound {
		t.Fatalf("got %v", err)
	}
	left(t, dir)
	write(t, b, "x/y/z", "again")
}

// left says that nothing is in a folder but the one for temporary files, which is empty.
func left(t *testing.T, dir string, want ...string) {
	t.Helper()
	var got []string
	for _, pattern := range []string{"*", ".tmp/*"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if filepath.Base(f) != temporary {
				got = append(got, filepath.Base(f))
			}
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("what is left (-want +got):\n%s", d)
	}
}

// Neither a name of an object nor a link in the folder leads out of it.
func TestNoWayOut(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	b := open(t, dir)
	if err := os.WriteFile(filepath.Join(outside, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"../x", "a/../../x", "/x", "a//b", "a/", ".", "..", ".tmp/x", ".tmp", "a\x00b", "link/f", "link/g"} {
		if err := b.WriteAll(t.Context(), key, nil, nil); err == nil {
			t.Errorf("%q was written", key)
		}
		if _, err := b.ReadAll(t.Context(), key); err == nil {
			t.Errorf("%q was read", key)
		}
		if err := b.Delete(t.Context(), key); err == nil {
			t.Errorf("%q was deleted", key)
		}
	}
	left(t, dir, "link")
	left(t, outside, "f")
}

// Of many who create an object by way of several openings of the folder, one does, and
// others see nothing or all of it, also while objects of the same folder come and go.
func TestCreateRace(t *testing.T) {
	dir := t.TempDir()
	for round := range 20 {
		key := fmt.Sprintf("a/%d/object", round)
		var wg sync.WaitGroup
		var won atomic.Int32
		for i := range 8 {
			b := open(t, dir)
			wg.Go(func() {
				other := fmt.Sprintf("a/%d/%d", round, i)
				if err := b.WriteAll(context.Background(), other, nil, nil); err != nil {
					t.Error(err)
				}
				err := b.WriteAll(context.Background(), key, []byte(strings.Repeat(fmt.Sprint(i), 1000)), create)
				if err == nil {
					won.Add(1)
				} else if gcerrors.Code(err) != gcerrors.FailedPrecondition {
					t.Error(err)
				}
				if err := b.Delete(context.Background(), other); err != nil {
					t.Error(err)
				}
				got, err := b.ReadAll(context.Background(), key)
				if err != nil || len(got) != 1000 || strings.Trim(string(got), string(got[:1])) != "" {
					t.Errorf("the object is %.20q…, %v", got, err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d have created the same object", won.Load())
		}
	}
	left(t, dir, "a")
}

// Folders are removed with their last object while others write into them.
func TestWriteWhileDeleting(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 4 {
		b := open(t, dir)
		wg.Go(func() {
			for n := range 50 {
				key := fmt.Sprintf("x/y/%d-%d", i, n)
				if err := b.WriteAll(context.Background(), key, nil, create); err != nil {
					t.Errorf("writing: %v", err)
				}
				if err := b.Delete(context.Background(), key); err != nil {
					t.Errorf("deleting: %v", err)
				}
			}
		})
	}
	wg.Wait()
	left(t, dir)
}

func TestWriteThatFails(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	w, err := b.NewWriter(ctx, "a/b", &blob.WriterOptions{ContentType: "x/y"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	left(t, dir, files(t, dir)...)
	cancel()
	if err := w.Close(); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	left(t, dir)

	// Where nothing can be written that is not said to be a missing object.
	if err := os.Remove(filepath.Join(dir, temporary)); err != nil {
		t.Fatal(err)
	}
	if err := b.WriteAll(t.Context(), "a/b", nil, nil); err == nil || gcerrors.Code(err) == gcerrors.NotFound || gcerrors.Code(err) == gcerrors.FailedPrecondition {
		t.Fatalf("got %v", err)
	}
	// A file where a folder has to be.
	b = open(t, dir)
	write(t, b, "file", "")
	for _, o := range []*blob.WriterOptions{nil, create} {
		if err := b.WriteAll(t.Context(), "file/b", nil, o); err == nil || gcerrors.Code(err) == gcerrors.NotFound || gcerrors.Code(err) == gcerrors.FailedPrecondition {
			t.Fatalf("got %v", err)
		}
	}
	left(t, dir, "file")
}

// files are the temporary files.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, temporary))
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d files are being written, %v", len(entries), err)
	}
	return []string{entries[0].Name()}
}

func TestErrorCode(t *testing.T) {
	b := &bucket{}
	for errno, want := range map[syscall.Errno]gcerrors.ErrorCode{
		syscall.ENOSPC: gcerrors.ResourceExhausted,
		syscall.EDQUOT: gcerrors.ResourceExhausted,
		syscall.EACCES: gcerrors.PermissionDenied,
		syscall.EROFS:  gcerrors.PermissionDenied,
		syscall.ENOENT: gcerrors.NotFound,
		syscall.EEXIST: gcerrors.FailedPrecondition,
		syscall.EIO:    gcerrors.Unknown,
	} {
		if got := b.ErrorCode(&os.PathError{Op: "write", Path: "x", Err: errno}); got != want {
			t.Errorf("%v is %v, want %v", errno, got, want)
		}
	}
}

func TestRemoveTemporary(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	now := time.Now()
	for name, at := range map[string]time.Time{"old": now.Add(-time.Hour), "young": now} {
		f := filepath.Join(dir, temporary, name)
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(f, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if got := keys(t, b, 10, "", ""); got != nil {
		t.Fatalf("temporary files are listed: %v", got)
	}
	var c Cleaner
	if !b.As(&c) {
		t.Fatal("a folder has no cleaner")
	}
	n, err := c.RemoveTemporary(now.Add(-time.Minute))
	if n != 1 || err != nil {
		t.Fatalf("removed %d, %v", n, err)
	}
	left(t, dir, "young")
}
