package server_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/client"
)

// treeOf lists a workspace with modes and content, and without what is the server's.
const treeOf = `find . -path ./.sampan -prune -o -printf '%P %m %l\n' | sort; find . -path ./.sampan -prune -o -type f -print0 | sort -z | xargs -0 sha256sum`

func shellOutput(t *testing.T, c *client.Client, command string) string {
	t.Helper()
	res, err := c.Exec(t.Context(), tool.ExecRequest{Shell: command, MaxOutputBytes: 4 << 20})
	if err != nil || res.ExitCode == nil || *res.ExitCode != 0 {
		t.Fatalf("%s: %+v, %v", command, res, err)
	}
	return string(res.Stdout)
}

func TestBackup(t *testing.T) {
	c := run(t, filepath.Join(t.TempDir(), "s"))
	shellOutput(t, c, `git init --quiet r; mkdir -p d/e; for i in $(seq 500); do echo $i > d/f$i; done; ln -s /usr/bin/env d/e/env; chmod 700 d/e; head -c 3000000 /dev/urandom > big; mkfifo pipe; mkdir -p .sampan; echo x > .sampan/x`)
	before := shellOutput(t, c, "rm pipe; "+treeOf)
	shellOutput(t, c, "mkfifo pipe")
	var archive bytes.Buffer
	b, err := c.Backup(t.Context(), &archive)
	if err != nil || b.Skipped != 1 || b.Entries < 500 || b.Bytes != int64(archive.Len()) {
		t.Fatalf("%+v, %v", b, err)
	}
	shellOutput(t, c, "rm -rf d; echo changed > big; mkdir -p new/folder; chmod 000 new; touch more")
	s := startStream(t, c, api.StreamRequest{Shell: "sleep 1000"})
	restored, err := c.Restore(t.Context(), bytes.NewReader(archive.Bytes()), b.Digest)
	if err != nil || restored.Digest != b.Digest || restored.Entries != b.Entries {
		t.Fatalf("%+v, %v", restored, err)
	}
	if after := shellOutput(t, c, treeOf); after != before {
		t.Errorf("restored:\n%s\nwant:\n%s", after, before)
	}
	if _, _, exit := drainStream(t, s); !exit.Killed {
		t.Errorf("what ran meanwhile: %+v", exit)
	}
	if left := shellOutput(t, c, "ls -A .sampan"); strings.Contains(left, "replace") {
		t.Errorf("left: %s", left)
	}
}

// entryOf is an archive of a file "good" and one more entry.
func entryOf(t *testing.T, h tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	good := tar.Header{Typeflag: tar.TypeReg, Name: "good", Mode: 0o644, Size: 1}
	err = w.WriteHeader(&good)
	if err == nil {
		_, err = w.Write([]byte("x"))
	}
	if err := errors.Join(err, w.WriteHeader(&h), w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestHostileBackup: an archive that is refused changes nothing, and ends nothing.
func TestHostileBackup(t *testing.T) {
	c := run(t, filepath.Join(t.TempDir(), "s"))
	shellOutput(t, c, "echo old > good; mkdir d; echo x > d/f")
	before := shellOutput(t, c, treeOf)
	s := startStream(t, c, api.StreamRequest{Shell: "sleep 1000"})
	whole := entryOf(t, tar.Header{Typeflag: tar.TypeDir, Name: "dir/", Mode: 0o755})
	for name, tc := range map[string]struct {
		archive []byte
		digest  string
		want    error
	}{
		"dots":            {entryOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "../escaped"}), "", tool.ErrInvalid},
		"device":          {entryOf(t, tar.Header{Typeflag: tar.TypeChar, Name: "null"}), "", tool.ErrInvalid},
		"setuid":          {entryOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "su", Mode: 0o4755}), "", tool.ErrInvalid},
		"cut off":         {whole[:len(whole)-3], "", tool.ErrInvalid},
		"another digest":  {whole, "sha256:00", tool.ErrPreconditionFailed},
		"large and wrong": {bytes.Repeat([]byte("x"), 20<<20), "", tool.ErrInvalid},
	} {
		if _, err := c.Restore(t.Context(), bytes.NewReader(tc.archive), tc.digest); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
		if after := shellOutput(t, c, treeOf+"; ls -A .sampan | grep replace || true"); after != before {
			t.Errorf("%s: it has changed:\n%s", name, after)
		}
	}
	if p, err := c.Process(t.Context(), s.Process.ID); err != nil || p.Exit != nil {
		t.Errorf("what ran meanwhile: %+v, %v", p, err)
	}
	if _, err := c.Restore(t.Context(), bytes.NewReader(whole), ""); err != nil {
		t.Errorf("the archive that is good: %v", err)
	}
	if after := shellOutput(t, c, "cat good; ls"); after != "xdir\ngood\n" {
		t.Errorf("restored: %s", after)
	}
}

// TestBackupIsBrokenOff: what a verification ends does not look whole, and neither
// direction keeps that waiting.
func TestBackupIsBrokenOff(t *testing.T) {
	p := startProcess(t, nil)
	shellOutput(t, p.Client, "head -c 60000000 /dev/urandom > big; echo old > old")
	down := dialAs(t, p, http.MethodGet, "/v1/backup", "")
	if _, err := io.ReadFull(down, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	body, feed := io.Pipe()
	restored := make(chan error, 1)
	go func() {
		_, err := p.Restore(t.Context(), body, "")
		restored <- err
	}()
	whole := entryOf(t, tar.Header{Typeflag: tar.TypeDir, Name: "dir/", Mode: 0o755})
	if _, err := feed.Write(whole[:10]); err != nil {
		t.Fatal(err)
	}
	awaitEvent(t, "the restore", func() bool {
		_, err := os.Stat(filepath.Join(p.workspace, ".sampan/replace/new"))
		return err == nil
	})
	if res := p.isolated(t, "exit 7"); res.ExitCode == nil || *res.ExitCode != 7 {
		t.Errorf("beside them: %+v", res)
	}
	_ = feed.CloseWithError(io.ErrUnexpectedEOF)
	if err := <-restored; err == nil {
		t.Error("the restore that was broken off succeeded")
	}
	if err := down.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(down)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) || bytes.Contains(rest, []byte("Sampan-Digest: ")) {
		t.Errorf("the backup that was broken off ended with %v and %d bytes", err, len(rest))
	}
	if got := shellOutput(t, p.Client, "cat old; ls -A .sampan | grep replace || true"); got != "old\n" {
		t.Errorf("afterwards: %s", got)
	}
}

// TestBackupOfAnyUser: who may not write to a folder can still move it.
func TestBackupOfAnyUser(t *testing.T) {
	p := startAsPlatformUser(t, "HOME="+openDir(t))
	shellOutput(t, p.Client, "mkdir -p cache/sub; echo x > cache/sub/f; chmod 555 cache/sub cache; mkdir other")
	before := shellOutput(t, p.Client, treeOf)
	var archive bytes.Buffer
	if _, err := p.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Restore(t.Context(), &archive, ""); err != nil {
		t.Fatal(err)
	}
	if after := shellOutput(t, p.Client, treeOf); after != before {
		t.Errorf("restored:\n%s\nwant:\n%s", after, before)
	}
	if left := shellOutput(t, p.Client, "ls -A .sampan"); strings.Contains(left, "replace") {
		t.Errorf("left: %s", left)
	}
	shellOutput(t, p.Client, "chmod -R 755 cache") // so that the test's folder can be removed
}
