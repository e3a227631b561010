package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

// large is a file, or an output, of which the time is spent on its bytes.
const large = 64 << 20

// BenchmarkFirstByte is from the request to the first byte of the output. The target is
// a median of 1.23 ms.
func BenchmarkFirstByte(b *testing.B) {
	c, _ := serve(b)
	bench(b, func() error {
		s, err := c.Start(b.Context(), api.StreamRequest{Argv: []string{"echo", "x"}})
		if err != nil {
			return err
		}
		defer s.Close()
		if ev, err := s.Next(); err != nil || ev.Stdout == nil {
			return fmt.Errorf("%+v: %w", ev, err)
		}
		return nil
	})
}

// BenchmarkFirstByteFloor is the same without a sandbox.
func BenchmarkFirstByteFloor(b *testing.B) {
	bench(b, func() error {
		cmd := exec.Command("echo", "x")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			_, err = out.Read(make([]byte, 1))
		}
		return errors.Join(err, cmd.Wait())
	})
}

// BenchmarkStream is a large output, followed as it comes. The target is 290 MiB/s.
func BenchmarkStream(b *testing.B) {
	c, _ := serve(b)
	b.SetBytes(large)
	for b.Loop() {
		s, err := c.Start(b.Context(), api.StreamRequest{Argv: []string{"head", "-c", fmt.Sprint(large), "/dev/zero"}})
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for {
			ev, err := s.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || ev.Lost != nil {
				b.Fatalf("%+v, %v", ev, err)
			}
			if ev.Stdout != nil {
				n += len(ev.Stdout.Data)
			}
		}
		s.Close()
		if n != large {
			b.Fatalf("%d bytes", n)
		}
	}
}

// BenchmarkStreamFloor is the same by a pipe.
func BenchmarkStreamFloor(b *testing.B) {
	b.SetBytes(large)
	for b.Loop() {
		cmd := exec.Command("head", "-c", fmt.Sprint(large), "/dev/zero")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			_, err = io.Copy(io.Discard, out)
		}
		if err := errors.Join(err, cmd.Wait()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPut writes a large file. The target is 881 MiB/s.
func BenchmarkPut(b *testing.B) {
	c, _ := serve(b)
	data := bytes.Repeat([]byte("0123456789abcdef"), large/16)
	b.SetBytes(large)
	for b.Loop() {
		if _, err := c.WriteFile(b.Context(), "f", data, tool.WriteOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPutFloor writes it to the disk.
func BenchmarkPutFloor(b *testing.B) {
	data := bytes.Repeat([]byte("0123456789abcdef"), large/16)
	name := filepath.Join(b.TempDir(), "f")
	b.SetBytes(large)
	for b.Loop() {
		if err := errors.Join(os.WriteFile(name+".tmp", data, 0o644), os.Rename(name+".tmp", name)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGet reads a large file. The target is 1,328 MiB/s.
func BenchmarkGet(b *testing.B) {
	c, _ := serve(b)
	if _, err := c.WriteFile(b.Context(), "f", make([]byte, large), tool.WriteOptions{}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(large)
	for b.Loop() {
		if f, err := c.ReadFile(b.Context(), "f", large); err != nil || len(f.Data) != large {
			b.Fatal(err)
		}
	}
}

// BenchmarkGetFloor reads it from the disk.
func BenchmarkGetFloor(b *testing.B) {
	name := filepath.Join(b.TempDir(), "f")
	if err := os.WriteFile(name, make([]byte, large), 0o644); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(large)
	for b.Loop() {
		if _, err := os.ReadFile(name); err != nil {
			b.Fatal(err)
		}
	}
}

// manyFiles makes 10,000 files of 4 KiB in 100 folders.
func manyFiles(b *testing.B, dir string) {
	b.Helper()
	for i := range 100 {
		sub := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(sub, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range 100 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(j)), bytes.Repeat(fmt.Appendf(nil, "%d %d\n", i, j), 500), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkBackup is one of 10,000 files.
func BenchmarkBackup(b *testing.B) {
	c, ws := serve(b)
	manyFiles(b, ws)
	bench(b, func() error { _, err := c.Backup(b.Context(), io.Discard); return err })
}

// BenchmarkBackupFloor is tar, without compression.
func BenchmarkBackupFloor(b *testing.B) {
	dir := b.TempDir()
	manyFiles(b, dir)
	bench(b, func() error {
		cmd := exec.Command("tar", "-C", dir, "-cf", "-", ".")
		cmd.Stdout = struct{ io.Writer }{io.Discard}
		return cmd.Run()
	})
}

// BenchmarkRestore puts 10,000 files in the place of as many.
func BenchmarkRestore(b *testing.B) {
	c, ws := serve(b)
	manyFiles(b, ws)
	var archive bytes.Buffer
	if _, err := c.Backup(b.Context(), &archive); err != nil {
		b.Fatal(err)
	}
	bench(b, func() error { _, err := c.Restore(b.Context(), bytes.NewReader(archive.Bytes()), ""); return err })
}

// BenchmarkRestoreFloor is tar, into an empty folder, without compression.
func BenchmarkRestoreFloor(b *testing.B) {
	dir := b.TempDir()
	manyFiles(b, dir)
	packed, err := exec.Command("tar", "-C", dir, "-cf", "-", ".").Output()
	if err != nil {
		b.Fatal(err)
	}
	bench(b, func() error {
		cmd := exec.Command("tar", "-C", b.TempDir(), "-xf", "-")
		cmd.Stdin = bytes.NewReader(packed)
		return cmd.Run()
	})
}
