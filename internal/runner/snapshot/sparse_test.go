package snapshot

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/record"
)

// Holes come back as holes, so that a workspace takes no more room in its next pod than
// it did, and every byte is where it was.
func TestHoles(t *testing.T) {
	const size = 9<<20 + 123
	for name, written := range map[string]map[int64]string{
		"all of it":      {},
		"the beginning":  {0: "x"},
		"the end":        {size - 1: "x"},
		"across a chunk": {record.MaxChunk - 2: "abcd"},
		"odd places":     {4095: "x", 8192: "y", 5<<20 + 17: "z"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, m := t.TempDir(), newMemory()
			want := make([]byte, size)
			f, err := os.Create(filepath.Join(dir, "image"))
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Truncate(size); err != nil {
				t.Fatal(err)
			}
			for at, text := range written {
				copy(want[at:], text)
				if _, err := f.WriteAt([]byte(text), at); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			write(t, dir, map[string]string{"small": string(make([]byte, 5000)), "empty": ""})

			restored := mustRestore(t, mustTake(t, snapshotter(dir), m), m)
			got, err := os.ReadFile(filepath.Join(restored, "image"))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes came back, and not those that there were: %v", len(got), err)
			}
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(restored, "image"), &st); err != nil {
				t.Fatal(err)
			}
			// A file system may keep some blocks beside one that is not empty.
			if kept := st.Blocks * 512; kept > 1<<20 {
				t.Errorf("it takes %d bytes of room", kept)
			}
			if small, err := os.ReadFile(filepath.Join(restored, "small")); err != nil || !bytes.Equal(small, make([]byte, 5000)) {
				t.Errorf("a small file of zeros has %d bytes, %v", len(small), err)
			}
		})
	}
}
