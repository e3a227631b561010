package snapshot

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

const benchFiles = 10000

// BenchmarkTake is the snapshot after a turn that changed 10 of 10,000 files. p50-ms
// is the figure of docs; compare it with BenchmarkFloorWalk.
func BenchmarkTake(b *testing.B) {
	dir, m := b.TempDir(), newMemory()
	repository(b, dir, benchFiles)
	s := snapshotter(dir)
	s.Now = later
	mustTake(b, s, m)
	m.count()
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		for i := range 10 {
			write(b, dir, map[string]string{repositoryFile((i*990 + n) % benchFiles): fmt.Sprint("changed ", n, i)})
		}
		b.StartTimer()
		start := time.Now()
		mustTake(b, s, m)
		took = append(took, time.Since(start))
	}
	median(b, took)
	b.ReportMetric(float64(m.bytes)/float64(len(took)), "stored-B/op")
}

func median(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
}

// BenchmarkFirstTake reads and stores all.
func BenchmarkFirstTake(b *testing.B) {
	dir := b.TempDir()
	repository(b, dir, benchFiles)
	for b.Loop() {
		mustTake(b, snapshotter(dir), newMemory())
	}
}

// BenchmarkFloorWalk looks at each file and reads none.
func BenchmarkFloorWalk(b *testing.B) {
	dir := b.TempDir()
	repository(b, dir, benchFiles)
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err == nil {
				_, err = d.Info()
			}
			return err
		}); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	median(b, took)
}

// BenchmarkRestore restores 10,000 files; compare it with BenchmarkFloorCopy.
func BenchmarkRestore(b *testing.B) {
	dir, m := b.TempDir(), newMemory()
	repository(b, dir, benchFiles)
	tree := mustTake(b, snapshotter(dir), m)
	for b.Loop() {
		to := filepath.Join(b.TempDir(), "to")
		if err := os.Mkdir(to, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := snapshotter(to).Restore(b.Context(), m, checkpoint(tree)); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := os.RemoveAll(to); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkFloorCopy copies each file with its mode and time.
func BenchmarkFloorCopy(b *testing.B) {
	dir := b.TempDir()
	repository(b, dir, benchFiles)
	for b.Loop() {
		to := filepath.Join(b.TempDir(), "to")
		if err := copyAll(dir, to); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := os.RemoveAll(to); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func copyAll(from, to string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, p[len(from):])
		if d.IsDir() {
			return os.Mkdir(target, 0o755)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		in, err := os.Open(p)
		if err != nil {
			return err
		}
		defer in.Close() //nolint:errcheck // only read
		out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode())
		if err != nil {
			return err
		}
		defer out.Close() //nolint:errcheck // a floor
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
		return os.Chtimes(target, info.ModTime(), info.ModTime())
	})
}
