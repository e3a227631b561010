package conformance

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

func testRoundTrip(t T, s Subject) {
	for name, content := range map[string]string{
		"empty": "", "text": "a\nb\n", "no final newline": "a\nb", "crlf": "a\r\nb\r\n",
		"bom": "\ufeffa", "binary": "\x00\xff\xfe\x01", "big": strings.Repeat("0123456789abcdef", 1<<16),
	} {
		t.Run(name, func(t T) {
			w := s.write(t, "deep/er/"+name, content)
			f, err := s.ReadFile(t.Context(), "deep/er/"+name, 1<<21)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(f.Data, []byte(content)) || f.Size != int64(len(content)) {
				t.Errorf("%d bytes came back, size %d, want %d", len(f.Data), f.Size, len(content))
			}
			if f.Digest != w.Digest || !strings.HasPrefix(f.Digest, "sha256:") || len(f.Digest) != 71 {
				t.Errorf("digest %q when read, %q when written", f.Digest, w.Digest)
			}
			st, err := s.Stat(t.Context(), s.onDisk("deep/er/"+name))
			if err != nil || st.Size != f.Size || st.Path != "deep/er/"+name || st.Digest != "" || !st.ModTime.Equal(f.ModTime) {
				t.Errorf("Stat gave %+v, %v; ReadFile %+v", st, err, f.FileInfo)
			}
			if left, _ := filepath.Glob(s.onDisk("deep/er/.sampan*")); len(left) > 0 {
				t.Errorf("temporary files left: %v", left)
			}
		})
	}
	_, err := s.ReadFile(t.Context(), "deep/er/big", 1000)
	wantErr(t, "ReadFile of more than asked for", err, tool.ErrTooLarge)
	_, err = s.ReadFile(t.Context(), "missing", 1000)
	wantErr(t, "ReadFile", err, tool.ErrNotFound)
	_, err = s.ReadFile(t.Context(), "deep/er/text/below", 1000)
	wantErr(t, "ReadFile below a file", err, tool.ErrNotFound)
	_, err = s.ReadFile(t.Context(), "deep", 1000)
	wantErr(t, "ReadFile of a folder", err, tool.ErrIsDirectory)
	_, err = s.WriteFile(t.Context(), "deep", nil, tool.WriteOptions{})
	wantErr(t, "WriteFile to a folder", err, tool.ErrIsDirectory)
	_, err = s.WriteFile(t.Context(), ".", nil, tool.WriteOptions{})
	wantErr(t, "WriteFile to the workspace", err, tool.ErrIsDirectory)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.ReadFile(ctx, "deep/er/text", 1000)
	wantErr(t, "ReadFile with a context that has ended", err, context.Canceled)
}

func testModes(t T, s Subject) {
	perm := func(name string) fs.FileMode {
		st, err := s.Stat(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return st.Mode
	}
	s.write(t, "new", "x")
	if m := perm("new"); m != 0o644 {
		t.Errorf("a new file has mode %v", m)
	}
	if _, err := s.WriteFile(t.Context(), "tool", nil, tool.WriteOptions{Mode: 0o755}); err != nil || perm("tool") != 0o755 {
		t.Errorf("a new file with a mode: %v, %v", perm("tool"), err)
	}
	for _, m := range []fs.FileMode{0o755, 0o600, 0o644, 0o777} {
		if err := os.Chmod(s.onDisk("new"), m); err != nil {
			t.Fatal(err)
		}
		if _, err := s.WriteFile(t.Context(), "new", []byte("y"), tool.WriteOptions{Mode: 0o640}); err != nil || perm("new") != m {
			t.Errorf("a file of mode %v has %v after a write (%v)", m, perm("new"), err)
		}
	}
}

func testPreconditions(t T, s Subject) {
	w := s.write(t, "f", "one")
	write := func(name string, opts tool.WriteOptions) error {
		_, err := s.WriteFile(t.Context(), name, []byte("two"), opts)
		return err
	}
	wantErr(t, "IfAbsent on a file", write("f", tool.WriteOptions{IfAbsent: true}), tool.ErrPreconditionFailed)
	wantErr(t, "IfMatch on no file", write("g", tool.WriteOptions{IfMatch: w.Digest}), tool.ErrPreconditionFailed)
	wantErr(t, "another digest", write("f", tool.WriteOptions{IfMatch: "sha256:00"}), tool.ErrPreconditionFailed)
	if f, err := s.ReadFile(t.Context(), "f", 10); err != nil || string(f.Data) != "one" {
		t.Errorf("a refused write changed the file: %+v, %v", f, err)
	}
	if err := write("f", tool.WriteOptions{IfMatch: w.Digest}); err != nil {
		t.Error(err)
	}
	wantErr(t, "the digest of before", write("f", tool.WriteOptions{IfMatch: w.Digest}), tool.ErrPreconditionFailed)
	if err := write("h", tool.WriteOptions{IfAbsent: true}); err != nil {
		t.Error(err)
	}
	// Of many writers that saw the same content exactly one may win.
	w = s.write(t, "race", "one")
	var wins sync.Map
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			_, err := s.WriteFile(t.Context(), "race", []byte{byte(i)}, tool.WriteOptions{IfMatch: w.Digest})
			if err == nil {
				wins.Store(i, true)
			} else if !errors.Is(err, tool.ErrPreconditionFailed) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	wins.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d of 8 conditional writes won", n)
	}
}

func testRefusedPaths(t T, s Subject) {
	ctx := t.Context()
	for p, want := range map[string]error{
		"":                                tool.ErrInvalid,
		"a\x00b":                          tool.ErrInvalid,
		strings.Repeat("x", 300):          tool.ErrInvalid,
		strings.Repeat("x/", 3000):        tool.ErrInvalid,
		"..":                              tool.ErrOutsideWorkspace,
		"../x":                            tool.ErrOutsideWorkspace,
		"a/../../x":                       tool.ErrOutsideWorkspace,
		"/etc/passwd":                     tool.ErrOutsideWorkspace,
		"/":                               tool.ErrOutsideWorkspace,
		s.Workspace + "x":                 tool.ErrOutsideWorkspace,
		s.Workspace + "/../x":             tool.ErrOutsideWorkspace,
		s.Workspace + "/a/../../../etc/x": tool.ErrOutsideWorkspace,
		"//etc/passwd":                    tool.ErrOutsideWorkspace,
	} {
		name := p[:min(len(p), 40)]
		_, err := s.ReadFile(ctx, p, 10)
		wantErr(t, "ReadFile "+name, err, want)
		_, err = s.WriteFile(ctx, p, []byte("x"), tool.WriteOptions{})
		wantErr(t, "WriteFile "+name, err, want)
		_, err = s.Stat(ctx, p)
		wantErr(t, "Stat "+name, err, want)
		wantErr(t, "Remove "+name, s.Remove(ctx, p), want)
		_, err = s.ReadLines(ctx, p, tool.LineRange{})
		wantErr(t, "ReadLines "+name, err, want)
	}
	for _, p := range []string{"a/../f", "./f", "//" + strings.TrimPrefix(s.Workspace, "/") + "/f", "x/./../f", "f/"} {
		if _, err := s.WriteFile(ctx, p, []byte("x"), tool.WriteOptions{}); err != nil {
			t.Errorf("WriteFile %s: %v", p, err)
		}
	}
}

func testSymlinks(t T, s Subject) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	must(t, os.WriteFile(secret, []byte("secret"), 0o600))
	must(t, os.MkdirAll(s.onDisk("d/e"), 0o755))
	s.write(t, "d/target", "old")
	for link, target := range map[string]string{
		"to-file": secret, "to-dir": outside, "up": "..", "far": "../../../../../../../../etc", "d/loop": "loop",
		"d/inner": "target", "d/e/upper": "../target", "dangling": "d/fresh", "dirlink": "d/e",
		"escape-chain": "d/e/../../../x",
	} {
		must(t, os.Symlink(target, s.onDisk(link)))
	}
	up := filepath.Base(filepath.Dir(s.Workspace))
	for _, p := range []string{"to-file", "to-dir/secret", "up/" + up, "far/passwd", "escape-chain", "to-dir/new"} {
		_, err := s.ReadFile(t.Context(), p, 100)
		wantErr(t, "ReadFile "+p, err, tool.ErrOutsideWorkspace)
		_, err = s.WriteFile(t.Context(), p, []byte("x"), tool.WriteOptions{})
		wantErr(t, "WriteFile "+p, err, tool.ErrOutsideWorkspace)
		_, err = s.ReadLines(t.Context(), p, tool.LineRange{})
		wantErr(t, "ReadLines "+p, err, tool.ErrOutsideWorkspace)
		if p != "to-file" && p != "escape-chain" {
			wantErr(t, "Remove "+p, s.Remove(t.Context(), p), tool.ErrOutsideWorkspace)
		}
	}
	_, err := s.ReadFile(t.Context(), "d/loop", 100)
	wantErr(t, "a link to itself", err, tool.ErrInvalid)
	if data, _ := os.ReadFile(secret); string(data) != "secret" {
		t.Errorf("the file outside holds %q", data)
	}
	if names, _ := os.ReadDir(outside); len(names) != 1 {
		t.Errorf("outside: %v", names)
	}
	// Links inside are followed, and stay links.
	for _, p := range []string{"d/inner", "d/e/upper", "dirlink/upper", "dangling"} {
		s.write(t, p, "by "+p)
		f, err := s.ReadFile(t.Context(), p, 100)
		if err != nil || string(f.Data) != "by "+p {
			t.Errorf("through %s: %v", p, err)
		}
		st, err := s.Stat(t.Context(), p)
		if err != nil || st.Mode.Type() != fs.ModeSymlink {
			t.Errorf("%s is %v after a write (%v), want a symlink still", p, st, err)
		}
	}
	if data, _ := os.ReadFile(s.onDisk("d/fresh")); string(data) != "by dangling" {
		t.Errorf("the dangling link's target holds %q", data)
	}
	must(t, s.Remove(t.Context(), "to-file"))
	if _, err := os.Stat(secret); err != nil {
		t.Error("removing a link removed its target")
	}
}

func must(t T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testSpecialFiles(t T, s Subject) {
	must(t, syscall.Mkfifo(s.onDisk("fifo"), 0o600))
	_, err := s.ReadFile(t.Context(), "fifo", 100)
	wantErr(t, "ReadFile of a FIFO", err, tool.ErrNotRegular)
	_, err = s.WriteFile(t.Context(), "fifo", nil, tool.WriteOptions{})
	wantErr(t, "WriteFile to a FIFO", err, tool.ErrNotRegular)
	_, err = s.ReadLines(t.Context(), "fifo", tool.LineRange{})
	wantErr(t, "ReadLines of a FIFO", err, tool.ErrNotRegular)
	if os.Getuid() != 0 {
		s.write(t, "closed", "x")
		must(t, os.Chmod(s.onDisk("closed"), 0))
		_, err = s.ReadFile(t.Context(), "closed", 100)
		wantErr(t, "ReadFile without permission", err, tool.ErrPermission)
	}
}

func testOddNames(t T, s Subject) {
	for _, name := range []string{"a b", "ü/ñ😀", "%2e%2e", "%2f", "a?b#c", "a+b&c=d", "..."[:3], "a\\b", "new\nline", "\xff\xfe", "-rf", " ", "a;b", "q\"uote'"} {
		s.write(t, "odd/"+name, name)
		data, err := os.ReadFile(s.onDisk("odd/" + name))
		if err != nil || string(data) != name {
			t.Errorf("%q is not on disk under its name: %v", name, err)
		}
		f, err := s.ReadFile(t.Context(), "odd/"+name, 100)
		if err != nil || string(f.Data) != name || f.Path != "odd/"+name {
			t.Errorf("%q: %+v, %v", name, f, err)
		}
	}
}

// testShownNames: what a search lists can be read and written under that name.
func testShownNames(t T, s Subject) {
	for name, shown := range map[string]string{"d/new\nline": "d/new␊line", "d/\xff\xfe": "d/<FF><FE>", "d\t/caf\xe9": "d␉/caf<E9>", "d/\x1b[31m": "d/␛[31m", "d/<b>": "d/<b>"} {
		must(t, os.MkdirAll(filepath.Dir(s.onDisk(name)), 0o755))
		must(t, os.WriteFile(s.onDisk(name), []byte("needle\n"), 0o600))
		all, err := s.Glob(t.Context(), tool.GlobRequest{Pattern: "**"})
		if err != nil || !slices.Contains(all.Paths, shown) {
			t.Errorf("%q is listed as %+v, %v", name, all, err)
		}
		if found, err := s.Grep(t.Context(), tool.GrepRequest{Pattern: "needle", Path: shown}); err != nil || found.Matches != 1 {
			t.Errorf("Grep in %q: %+v, %v", shown, found, err)
		}
		if l, err := s.ReadLines(t.Context(), shown, tool.LineRange{}); err != nil || l.TotalLines != 1 || l.Path != shown {
			t.Errorf("ReadLines of %q: %+v, %v", shown, l, err)
		}
		s.write(t, shown, "written\n")
		if data, err := os.ReadFile(s.onDisk(name)); err != nil || string(data) != "written\n" {
			t.Errorf("%q holds %q, %v", name, data, err)
		}
		must(t, os.Remove(s.onDisk(name)))
	}
	s.write(t, "␛ of its own", "x")
	if _, err := os.Stat(s.onDisk("␛ of its own")); err != nil {
		t.Error(err)
	}
}

// testSwapRace swaps a folder for a symlink that leads outside, over and over,
// while files below it are read and written: nothing outside may be seen or changed.
func testSwapRace(t T, s Subject) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "f")
	must(t, os.WriteFile(secret, []byte("secret"), 0o600))
	must(t, os.Mkdir(s.onDisk("dir"), 0o755))
	must(t, os.Symlink(outside, s.onDisk("link")))
	must(t, os.WriteFile(s.onDisk("dir/f"), []byte("inside"), 0o600))
	must(t, os.WriteFile(filepath.Join(outside, "only-outside"), []byte("secret"), 0o600))
	must(t, os.WriteFile(s.onDisk("only-inside"), []byte("inside"), 0o600))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := swap(s.onDisk("dir"), s.onDisk("link")); err != nil {
				t.Error(err)
				return
			}
		}
	})
	seen := map[string]int{}
	for i := range 400 {
		f, err := s.ReadFile(t.Context(), "dir/f", 100)
		switch {
		case err == nil && string(f.Data) == "secret":
			t.Fatal("read a file outside the workspace")
		case err == nil:
			seen["inside"]++
		case errors.Is(err, tool.ErrOutsideWorkspace):
			seen["refused"]++
		case !errors.Is(err, tool.ErrNotFound):
			t.Errorf("ReadFile: %v", err)
		}
		_, err = s.WriteFile(t.Context(), "dir/f", []byte("inside"), tool.WriteOptions{})
		if err != nil && !errors.Is(err, tool.ErrOutsideWorkspace) && !errors.Is(err, tool.ErrNotFound) {
			seen[err.Error()]++
		}
		if i%4 == 0 {
			searchSwapped(t, s, seen)
		}
	}
	close(stop)
	wg.Wait()
	if seen["inside"] == 0 || seen["refused"] == 0 {
		t.Errorf("there was no race: %v", seen)
	}
	if data, _ := os.ReadFile(secret); string(data) != "secret" {
		t.Errorf("the file outside holds %q now", data)
	}
	if names, _ := os.ReadDir(outside); len(names) != 2 {
		t.Errorf("files appeared outside, or went: %v", names)
	}
}

// searchSwapped looks below a folder that may lead outside at any moment.
func searchSwapped(t T, s Subject, seen map[string]int) {
	t.Helper()
	if lines, err := s.ReadLines(t.Context(), "dir/f", tool.LineRange{}); err == nil && len(lines.Lines) > 0 {
		seen["lines"]++
		if lines.Lines[0].Text == "secret" {
			t.Fatal("read lines outside the workspace")
		}
	}
	for _, path := range []string{"", "dir"} {
		if res, err := s.Grep(t.Context(), tool.GrepRequest{Pattern: "secret", Path: path}); err == nil {
			seen["grep"]++
			if res.Matches > 0 {
				t.Fatalf("found outside the workspace: %+v", res.Files)
			}
		}
		if res, err := s.Glob(t.Context(), tool.GlobRequest{Pattern: "only-*", Path: path}); err == nil {
			seen["glob"]++
			if strings.Contains(strings.Join(res.Paths, " "), "only-outside") {
				t.Fatalf("listed outside the workspace: %v", res.Paths)
			}
		}
	}
	if err := s.Remove(t.Context(), "dir/only-outside"); err == nil {
		t.Fatal("removed a file outside the workspace")
	}
	if info, err := s.Stat(t.Context(), "dir/only-outside"); err == nil {
		t.Fatalf("saw a file outside the workspace: %+v", info)
	}
}

func testRemove(t T, s Subject) {
	s.write(t, "d/f", "x")
	wantErr(t, "Remove of a full folder", s.Remove(t.Context(), "d"), tool.ErrNotEmpty)
	must(t, s.Remove(t.Context(), "d/f"))
	must(t, s.Remove(t.Context(), "d"))
	wantErr(t, "Remove again", s.Remove(t.Context(), "d"), tool.ErrNotFound)
	wantErr(t, "Remove of the workspace", s.Remove(t.Context(), "."), tool.ErrInvalid)
}
