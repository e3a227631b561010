package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

var plenty = Limits{Entries: 10_000, Bytes: 64 << 20}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// state says all of a tree that an archive keeps.
func state(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	inodes := map[uint64]string{}
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || rel == "." {
			return err
		}
		info, err := os.Lstat(p)
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			target, err := os.Readlink(p)
			out[rel] = text + " " + target
			return err
		case 0:
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			ino := info.Sys().(*syscall.Stat_t).Ino
			if inodes[ino] == "" {
				inodes[ino] = rel
			}
			text += fmt.Sprintf(" %x is %s", sha256.Sum256(data), inodes[ino])
		}
		out[rel] = text + " " + info.ModTime().UTC().Format(time.RFC3339Nano)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree makes a workspace with all that is odd.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.MkdirAll(in("a/b/c"), 0o755))
	must(t, os.WriteFile(in("a/b/c/program"), []byte("#!/bin/sh\n"), 0o755))
	must(t, os.WriteFile(in("empty"), nil, 0o600))
	must(t, os.WriteFile(in("large"), bytes.Repeat([]byte("0123456789"), 100_000), 0o644))
	must(t, os.WriteFile(in("exact"), make([]byte, bufferBytes), 0o644))
	must(t, os.WriteFile(in("exact+1"), make([]byte, bufferBytes+1), 0o644))
	must(t, os.WriteFile(in("odd \xff\n name"), []byte("x"), 0o644))
	must(t, os.WriteFile(in(strings.Repeat("n", 255)), []byte("x"), 0o644))
	must(t, os.Symlink("/usr/bin/python3", in("absolute")))
	must(t, os.Symlink("../../outside", in("a/out")))
	must(t, os.Symlink("b", in("a/link")))
	must(t, os.Link(in("large"), in("a/same")))
	must(t, os.WriteFile(in("read-only"), []byte("x"), 0o444))
	must(t, os.Chtimes(in("a/b/c"), time.Time{}, time.Unix(1e9, 123456789)))
	must(t, os.Chmod(in("a/b"), 0o500))
	t.Cleanup(func() { _ = os.Chmod(in("a/b"), 0o700) })
	return dir
}

func TestRoundTrip(t *testing.T) {
	from, to := tree(t), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(from, Own, "output"), 0o755))
	must(t, syscall.Mkfifo(filepath.Join(from, "fifo"), 0o644))
	var first, second bytes.Buffer
	wrote, err := Write(t.Context(), openRoot(t, from), &first, plenty)
	must(t, err)
	read, err := Extract(t.Context(), openRoot(t, to), bytes.NewReader(first.Bytes()), plenty)
	must(t, err)
	if wrote.Skipped != 1 || wrote.Entries != read.Entries || wrote.Bytes != read.Bytes {
		t.Errorf("wrote %+v, read %+v", wrote, read)
	}
	must(t, os.RemoveAll(filepath.Join(from, Own)))
	must(t, os.Remove(filepath.Join(from, "fifo")))
	if diff := cmp.Diff(state(t, from), state(t, to)); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	_, err = Write(t.Context(), openRoot(t, to), &second, plenty)
	must(t, err)
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same tree has another archive")
	}
	must(t, os.Chmod(filepath.Join(to, "a/b"), 0o700))
}

// archive packs some headers, with content for files.
func archive(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, h := range headers {
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		must(t, w.WriteHeader(&h))
		_, err := io.CopyN(w, zeros{}, h.Size)
		must(t, err)
	}
	must(t, w.Close())
	return pack(t, packed.Bytes())
}

func pack(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	must(t, err)
	return z.EncodeAll(data, nil)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestHostileArchives(t *testing.T) {
	file := tar.Header{Typeflag: tar.TypeReg, Name: "f", Size: 1}
	link := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
	}
	whole := archive(t, file)
	for name, tc := range map[string]struct {
		data []byte
		want error
	}{
		"absolute":                  {archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "/tmp/f"}), ErrInvalid},
		"dots":                      {archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "../f"}), ErrInvalid},
		"dots inside":               {archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "a/../../f"}), ErrInvalid},
		"through a link out":        {archive(t, link("a", "/tmp"), tar.Header{Typeflag: tar.TypeReg, Name: "a/f"}), ErrInvalid},
		"through a link inside":     {archive(t, link("a", "."), tar.Header{Typeflag: tar.TypeReg, Name: "a/f"}), ErrInvalid},
		"over a link":               {archive(t, link("a", "/tmp/f"), tar.Header{Typeflag: tar.TypeReg, Name: "a"}), ErrInvalid},
		"folder over a link":        {archive(t, link("a", "/tmp"), tar.Header{Typeflag: tar.TypeDir, Name: "a/"}), ErrInvalid},
		"link over a file":          {archive(t, file, link("f", "x")), ErrInvalid},
		"link to nowhere":           {archive(t, link("a", "")), ErrInvalid},
		"long link":                 {archive(t, link("a", strings.Repeat("x", 5000))), ErrInvalid},
		"twice":                     {archive(t, file, file), ErrInvalid},
		"file as folder":            {archive(t, file, tar.Header{Typeflag: tar.TypeReg, Name: "f/g"}), ErrInvalid},
		"hard link out":             {archive(t, tar.Header{Typeflag: tar.TypeLink, Name: "l", Linkname: "/etc/passwd"}), ErrInvalid},
		"hard link dots":            {archive(t, tar.Header{Typeflag: tar.TypeLink, Name: "l", Linkname: "../x"}), ErrInvalid},
		"hard link to what is not":  {archive(t, tar.Header{Typeflag: tar.TypeLink, Name: "l", Linkname: "x"}), ErrInvalid},
		"hard link to a link":       {archive(t, link("a", "/etc/passwd"), tar.Header{Typeflag: tar.TypeLink, Name: "l", Linkname: "a"}), ErrInvalid},
		"character device":          {archive(t, tar.Header{Typeflag: tar.TypeChar, Name: "d", Devmajor: 1, Devminor: 3}), ErrInvalid},
		"block device":              {archive(t, tar.Header{Typeflag: tar.TypeBlock, Name: "d"}), ErrInvalid},
		"fifo":                      {archive(t, tar.Header{Typeflag: tar.TypeFifo, Name: "d"}), ErrInvalid},
		"setuid":                    {archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "s", Mode: 0o4755}), ErrInvalid},
		"setgid":                    {archive(t, tar.Header{Typeflag: tar.TypeDir, Name: "s", Mode: 0o2755}), ErrInvalid},
		"the server's":              {archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "./.sampan/x"}), ErrInvalid},
		"the root is a file":        {archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "./."}), ErrInvalid},
		"long name":                 {archive(t, tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("x", 256)}), ErrInvalid},
		"long path":                 {archive(t, tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("x/", 2500) + "f"}), ErrInvalid},
		"deep path":                 {archive(t, tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("x/", 300) + "f"}), ErrLimit},
		"many entries":              {archive(t, manyFiles(101)...), ErrLimit},
		"many folders in few names": {archive(t, tar.Header{Typeflag: tar.TypeDir, Name: strings.Repeat("x/", 101)}), ErrLimit},
		"bomb":                      {archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "f", Size: 2 << 20}), ErrLimit},
		"bomb in parts":             {archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "a", Size: 700 << 10}, tar.Header{Typeflag: tar.TypeReg, Name: "b", Size: 700 << 10}), ErrLimit},
		"bomb behind the end":       {pack(t, make([]byte, 4<<20)), ErrLimit},
		"another behind it":         {pack(t, append(make([]byte, 1024), "hidden"...)), ErrInvalid},
		"no archive":                {[]byte("what is this"), ErrInvalid},
		"no tar":                    {pack(t, bytes.Repeat([]byte("x"), 2000)), ErrInvalid},
		"nothing":                   {nil, ErrInvalid},
		"cut off":                   {whole[:len(whole)-4], ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			outer := t.TempDir()
			dir := filepath.Join(outer, "ws")
			must(t, os.Mkdir(dir, 0o755))
			_, err := Extract(t.Context(), openRoot(t, dir), bytes.NewReader(tc.data), Limits{Entries: 100, Bytes: 1 << 20})
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if beside, err := os.ReadDir(outer); err != nil || len(beside) != 1 {
				t.Errorf("beside the folder: %v, %v", beside, err)
			}
		})
	}
}

func manyFiles(n int) (out []tar.Header) {
	for i := range n {
		out = append(out, tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprint(i)})
	}
	return out
}

// A folder's own mode does not keep what comes later from being put into it.
func TestLateFolder(t *testing.T) {
	dir := t.TempDir()
	_, err := Extract(t.Context(), openRoot(t, dir), bytes.NewReader(archive(t,
		tar.Header{Typeflag: tar.TypeReg, Name: "./a/b/f"}, tar.Header{Typeflag: tar.TypeDir, Name: "a/", Mode: 0o500}, tar.Header{Typeflag: tar.TypeReg, Name: "a/g"})), plenty)
	must(t, err)
	info, err := os.Stat(filepath.Join(dir, "a"))
	if err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("the folder is %v, %v", info.Mode(), err)
	}
	for _, name := range []string{"a/b/f", "a/g"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	must(t, os.Chmod(filepath.Join(dir, "a"), 0o700))
}

func TestWriteLimits(t *testing.T) {
	for name, limits := range map[string]Limits{"entries": {Entries: 3, Bytes: 64 << 20}, "bytes": {Entries: 1000, Bytes: 1000}} {
		var to bytes.Buffer
		if _, err := Write(t.Context(), openRoot(t, tree(t)), &to, limits); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Extract(t.Context(), openRoot(t, t.TempDir()), &to, plenty); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: what was written so far is taken: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("over")
	cancel(over)
	if _, err := Write(ctx, openRoot(t, tree(t)), io.Discard, plenty); !errors.Is(err, over) {
		t.Errorf("after its end: %v", err)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add([]byte("x"), true)
	f.Fuzz(func(t *testing.T, data []byte, packed bool) {
		if packed {
			data = pack(t, data)
		}
		outer := t.TempDir()
		dir := filepath.Join(outer, "ws")
		must(t, os.Mkdir(dir, 0o755))
		_, err := Extract(t.Context(), openRoot(t, dir), bytes.NewReader(data), Limits{Entries: 100, Bytes: 1 << 20})
		if beside, err := os.ReadDir(outer); err != nil || len(beside) != 1 {
			t.Errorf("beside the folder: %v, %v", beside, err)
		}
		if err == nil && len(data) == 0 {
			t.Error("nothing was taken for an archive")
		}
	})
}
