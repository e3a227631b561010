package conformance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// testKeeps writes one of two files that are alike by WriteFile, the other by a
// shell: nothing but the content may differ afterwards.
func testKeeps(t T, s Subject) {
	root := os.Geteuid() == 0
	for name, tc := range map[string]struct {
		prepare func(file string) error
		// renamed is where a new file may take the old one's place.
		renamed bool
	}{
		"plain file":       {func(string) error { return nil }, true},
		"odd mode":         {func(f string) error { return os.Chmod(f, 0o606) }, true},
		"another's":        {func(f string) error { return asRoot(os.Chown(f, 1000, 1001)) }, !root},
		"another's folder": {func(f string) error { return asRoot(os.Chown(filepath.Dir(f), 1000, 1001)) }, true},
		"hard links":       {func(f string) error { return os.Link(f, f+".link") }, false},
		"setuid and setgid": {func(f string) error {
			return os.Chmod(f, 0o755|fs.ModeSetuid|fs.ModeSetgid)
		}, false},
		"attribute": {func(f string) error {
			return unix.Setxattr(f, "user.origin", []byte("https://example.com"), 0)
		}, false},
		"ACL": {func(f string) error {
			return unix.Setxattr(f, "system.posix_acl_access", acl(6, 4), 0)
		}, false},
		"default ACL of its folder": {func(f string) error {
			return unix.Setxattr(filepath.Dir(f), "system.posix_acl_default", acl(6, 6), 0)
		}, false},
		"setgid folder": {func(f string) error {
			return errors.Join(os.Chmod(filepath.Dir(f), 0o2775|fs.ModeSetgid), asRoot(os.Chown(filepath.Dir(f), -1, 1001)))
		}, !root},
		"sticky folder of another": {func(f string) error {
			return errors.Join(os.Chmod(filepath.Dir(f), 0o777|fs.ModeSticky), asRoot(os.Chown(filepath.Dir(f), 1000, 1001)))
		}, true},
		"write-only": {func(f string) error { return os.Chmod(f, 0o200) }, true},
	} {
		t.Run(name, func(t T) {
			var got, want string
			for _, by := range []string{"tool", "shell"} {
				file := s.onDisk(strings.NewReplacer(" ", "-", "'", "").Replace(name) + "-" + by + "/f")
				must(t, os.MkdirAll(filepath.Dir(file), 0o755))
				must(t, os.WriteFile(file, []byte("the one before\n"), 0o644))
				if err := tc.prepare(file); errors.Is(err, syscall.ENOTSUP) {
					return // this file system has no such thing
				} else if err != nil {
					t.Fatal(err)
				}
				before := inode(t, file)
				if by == "shell" {
					s.shell(t, "echo two > "+file)
					want = traits(t, file)
					continue
				}
				s.write(t, file, "two\n")
				got = traits(t, file)
				if renamed := inode(t, file) != before; renamed != tc.renamed {
					t.Errorf("another file is in its place: %v, want %v", renamed, tc.renamed)
				}
				if left, _ := filepath.Glob(filepath.Dir(file) + "/.sampan*"); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			}
			if got != want {
				t.Errorf("written by WriteFile it is %s, by a shell %s", got, want)
			}
		})
	}
	testNewFile(t, s)
}

// testNewFile: a new file gets the rights that a shell would give it.
func testNewFile(t T, s Subject) {
	for _, dir := range []string{"plain", "shared", "default-acl"} {
		must(t, os.Mkdir(s.onDisk("new-"+dir), 0o755))
	}
	must(t, os.Chmod(s.onDisk("new-shared"), 0o2775|fs.ModeSetgid))
	must(t, asRoot(os.Chown(s.onDisk("new-shared"), -1, 1001)))
	where(t, unix.Setxattr(s.onDisk("new-default-acl"), "system.posix_acl_default", acl(6, 6), 0))
	for _, dir := range []string{"plain", "shared", "default-acl"} {
		s.write(t, "new-"+dir+"/tool", "two\n")
		s.shell(t, "echo two > new-"+dir+"/shell")
		if got, want := traits(t, s.onDisk("new-"+dir+"/tool")), traits(t, s.onDisk("new-"+dir+"/shell")); got != want {
			t.Errorf("%s: a file made by WriteFile is %s, by a shell %s", dir, got, want)
		}
	}
}

// testRefusesReadOnly: what nobody may write is not replaced by way of its folder.
func testRefusesReadOnly(t T, s Subject) {
	for _, mode := range []fs.FileMode{0o444, 0o555, 0o400, 0} {
		must(t, os.WriteFile(s.onDisk("f"), []byte("one"), 0o600))
		must(t, os.Chmod(s.onDisk("f"), mode))
		_, err := s.WriteFile(t.Context(), "f", []byte("two"), tool.WriteOptions{})
		wantErr(t, fmt.Sprintf("WriteFile to a file of mode %v", mode), err, tool.ErrPermission)
		if err != nil && !strings.Contains(err.Error(), "read-only") {
			t.Errorf("mode %v: %v, want the reason", mode, err)
		}
		must(t, os.Chmod(s.onDisk("f"), 0o600))
		if data, _ := os.ReadFile(s.onDisk("f")); string(data) != "one" {
			t.Errorf("mode %v: the file holds %q", mode, data)
		}
		must(t, os.Remove(s.onDisk("f")))
	}
}

// testClosedFolder: a file can be written in a folder in which none can be made.
func testClosedFolder(t T, s Subject) {
	s.write(t, "d/f", "one and more\n")
	must(t, os.Chmod(s.onDisk("d"), 0o555))
	t.Cleanup(func() { must(t, os.Chmod(s.onDisk("d"), 0o755)) })
	before := inode(t, s.onDisk("d/f"))
	s.write(t, "d/f", "two\n")
	if data, _ := os.ReadFile(s.onDisk("d/f")); string(data) != "two\n" {
		t.Errorf("the file holds %q", data)
	}
	if left, _ := filepath.Glob(s.onDisk("*/*.tmp*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if os.Geteuid() == 0 {
		return // root can make one anyhow
	}
	if inode(t, s.onDisk("d/f")) != before {
		t.Error("another file is in its place")
	}
	_, err := s.WriteFile(t.Context(), "d/new", nil, tool.WriteOptions{})
	wantErr(t, "a new file in a closed folder", err, tool.ErrPermission)
}

// testAbsoluteLinks: an absolute symlink that leads inside is as good as a relative one.
func testAbsoluteLinks(t T, s Subject) {
	s.write(t, "d/target", "old")
	must(t, os.Symlink(s.onDisk("d/target"), s.onDisk("file-link")))
	must(t, os.Symlink(s.onDisk("d"), s.onDisk("dir-link")))
	must(t, os.Symlink(s.onDisk("dir-link/target"), s.onDisk("chain")))
	must(t, os.Symlink("/etc", s.onDisk("outside")))
	must(t, os.Symlink(s.onDisk("outside/passwd"), s.onDisk("by-outside")))
	must(t, os.Symlink(s.onDisk("../x"), s.onDisk("up")))
	for _, p := range []string{"file-link", "dir-link/target", "chain"} {
		s.write(t, p, "by "+p)
		f, err := s.ReadFile(t.Context(), p, 100)
		if err != nil || string(f.Data) != "by "+p {
			t.Errorf("through %s: %v", p, err)
		}
		if data, _ := os.ReadFile(s.onDisk("d/target")); string(data) != "by "+p {
			t.Errorf("the target of %s holds %q", p, data)
		}
		if l, err := s.ReadLines(t.Context(), p, tool.LineRange{}); err != nil || len(l.Lines) != 1 {
			t.Errorf("ReadLines through %s: %v", p, err)
		}
	}
	if st, err := os.Lstat(s.onDisk("file-link")); err != nil || st.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link is %v, %v", st, err)
	}
	for _, p := range []string{"outside/passwd", "by-outside", "up"} {
		_, err := s.ReadFile(t.Context(), p, 1<<20)
		wantErr(t, "ReadFile "+p, err, tool.ErrOutsideWorkspace)
		_, err = s.WriteFile(t.Context(), p, nil, tool.WriteOptions{})
		wantErr(t, "WriteFile "+p, err, tool.ErrOutsideWorkspace)
	}
}

// asRoot passes what only root may do, and may have failed for others.
func asRoot(err error) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return err
}

// where passes what not every file system has.
func where(t T, err error) {
	t.Helper()
	if !errors.Is(err, syscall.ENOTSUP) {
		must(t, err)
	}
}

// acl is a POSIX ACL in the kernel's form, with rights of the user 1234 and of the group.
func acl(user, group byte) []byte {
	out := []byte{2, 0, 0, 0}
	for _, e := range []struct {
		tag, perm byte
		id        uint32
	}{{1, 6, ^uint32(0)}, {2, user, 1234}, {4, group, ^uint32(0)}, {16, 6, ^uint32(0)}, {32, 4, ^uint32(0)}} {
		out = append(out, e.tag, 0, e.perm, 0, byte(e.id), byte(e.id>>8), byte(e.id>>16), byte(e.id>>24))
	}
	return out
}

func inode(t T, file string) uint64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(file, &st))
	return st.Ino
}

// traits are all that is known of a file but its name, its times and its number.
func traits(t T, file string) string {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(file, &st))
	out := fmt.Sprintf("of %d:%d, mode %o, %d links, %d bytes", st.Uid, st.Gid, st.Mode, st.Nlink, st.Size)
	buf, value := make([]byte, 4096), make([]byte, 4096)
	n, err := unix.Llistxattr(file, buf)
	where(t, err)
	names := strings.Split(strings.TrimSuffix(string(buf[:max(n, 0)]), "\x00"), "\x00")
	slices.Sort(names)
	for _, name := range names {
		if name != "" {
			m, err := unix.Lgetxattr(file, name, value)
			must(t, err)
			out += fmt.Sprintf(", %s=%x", name, value[:m])
		}
	}
	return out
}
