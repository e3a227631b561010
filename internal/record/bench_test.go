package record

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// benchEvent is a small event of a transcript.
func benchEvent(n int64) []byte {
	return fmt.Appendf(nil, `{"seq":%d,"time":"2026-01-02T03:04:05Z","type":"tool.result","turn":%d,"data":{"name":"read_file","output":%q}}`+"\n", n, n/4, strings.Repeat("some text ", 40))
}

// median times each round of a benchmark.
func median(b *testing.B, round func(n int64)) {
	b.Helper()
	var took []time.Duration
	for n := int64(1); b.Loop(); n++ {
		start := time.Now()
		round(n)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

func benchStore(b *testing.B) *Store {
	b.Helper()
	s, err := Open(b.Context(), "file://"+b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

func BenchmarkAppend(b *testing.B) {
	r := benchStore(b).Recorder(theTask, podA)
	median(b, func(n int64) {
		if err := r.Append(b.Context(), n, benchEvent(n)); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkAppendFloor is what the machine needs for a new file that outlives a crash.
func BenchmarkAppendFloor(b *testing.B) {
	dir := b.TempDir()
	d, err := os.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = d.Close() })
	median(b, func(n int64) {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(n)))
		if err != nil {
			b.Fatal(err)
		}
		for _, err := range []error{second(f.Write(benchEvent(n))), f.Sync(), f.Close(), d.Sync()} {
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func second(_ int, err error) error { return err }

func BenchmarkPutChunk(b *testing.B) {
	for _, size := range []int{64 << 10, MaxChunk} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			r := benchStore(b).Recorder(theTask, podA)
			data := make([]byte, size)
			_, _ = rand.Read(data[:size/2]) // half of it can be compressed
			b.SetBytes(int64(size))
			median(b, func(n int64) {
				copy(data, fmt.Sprint(n))
				if err := r.PutChunk(b.Context(), DigestOf(data), data); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}
