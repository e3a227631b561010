package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

const (
	gib = 1 << 30
	// maxGrowth bounds the memory for any one request, whatever it looks at.
	maxGrowth = 128 << 20
)

// bounded runs a request and checks that it ended, and how much memory it took.
func bounded(t T, what string, request func()) {
	t.Helper()
	runtime.GC()
	before, peak := heap(), atomic.Uint64{}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				peak.Store(max(peak.Load(), heap()))
			}
		}
	}()
	began := time.Now()
	request()
	took := time.Since(began)
	close(stop)
	<-stopped
	if took > hang {
		t.Errorf("%s took %v, want at most %v", what, took, hang)
	}
	if grown := int64(max(peak.Load(), heap())) - int64(before); grown > maxGrowth {
		t.Errorf("%s took %d MiB of memory, want at most %d", what, grown>>20, maxGrowth>>20)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// testGiantFiles: files that are too large are refused or skipped by their size,
// and none is ever held whole. They are sparse, and take no room.
func testGiantFiles(t T, s Subject) {
	for name, size := range map[string]int64{"larger": gib + 1, "giant": gib} {
		must(t, os.WriteFile(s.onDisk(name), nil, 0o600))
		must(t, os.Truncate(s.onDisk(name), size))
	}
	bounded(t, "ReadFile", func() {
		_, err := s.ReadFile(t.Context(), "giant", 16<<20)
		wantErr(t, "ReadFile", err, tool.ErrTooLarge)
	})
	bounded(t, "ReadLines of more than 1 GiB", func() {
		_, err := s.ReadLines(t.Context(), "larger", tool.LineRange{Count: 1})
		wantErr(t, "ReadLines", err, tool.ErrTooLarge)
	})
	bounded(t, "ReadLines of 1 GiB", func() {
		lines, err := s.ReadLines(t.Context(), "giant", tool.LineRange{Count: 1})
		if err != nil || !lines.Binary || lines.Size != gib {
			t.Errorf("ReadLines gave %+v, %v", lines, err)
		}
	})
	bounded(t, "Grep of a folder", func() {
		res, err := s.Grep(t.Context(), tool.GrepRequest{Pattern: "x"})
		if err != nil || res.Matches != 0 || strings.Count(strings.Join(res.Notes, "\n"), "was skipped") != 2 {
			t.Errorf("Grep gave %+v, %v", res, err)
		}
	})
	bounded(t, "Grep of a file of more than 1 GiB", func() {
		_, err := s.Grep(t.Context(), tool.GrepRequest{Pattern: "x", Path: "larger"})
		wantErr(t, "Grep", err, tool.ErrTooLarge)
	})
	bounded(t, "WriteFile in its place", func() {
		if info := s.write(t, "giant", "small"); info.Size != 5 {
			t.Errorf("it has %d bytes now", info.Size)
		}
	})
}

// testManyFiles: a search through 100,000 files is bounded in time and memory,
// gives the same answer twice, and stops when it is told to.
func testManyFiles(t T, s Subject) {
	const folders, each = 500, 200
	makeTree(t, s, folders, each)
	var first, again *tool.GlobResult
	glob := func(res **tool.GlobResult) func() {
		return func() {
			var err error
			*res, err = s.Glob(t.Context(), tool.GlobRequest{Pattern: "*.txt"})
			must(t, err)
		}
	}
	bounded(t, "Glob", glob(&first))
	bounded(t, "Glob again", glob(&again))
	if first.Total != folders*each || !first.Truncated || len(first.Paths) != 1000 || first.Paths[0] != "d000/f000.txt" || first.Paths[999] != "d004/f199.txt" {
		t.Errorf("Glob found %d, gave %d, truncated %v", first.Total, len(first.Paths), first.Truncated)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("not the same twice: %s", diff)
	}
	bounded(t, "Grep of what is in all of them", func() {
		res, err := s.Grep(t.Context(), tool.GrepRequest{Pattern: "hay"})
		if err != nil || len(res.Files) != 500 || res.Matches < 10_000 || !res.Truncated || !res.Ended || res.Files[0].Path != "d000/f000.txt" {
			t.Errorf("Grep: %v, %d matches, %d files, truncated %v, ended %v", err, res.Matches, len(res.Files), res.Truncated, res.Ended)
		}
	})
	bounded(t, "Grep of what is in one", func() {
		res, err := s.Grep(t.Context(), tool.GrepRequest{Pattern: "needle"})
		if err != nil || res.Truncated || found(res) != "d499/f199.txt:1:needle\n" {
			t.Errorf("Grep: %v, %+v", err, res)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Grep(ctx, tool.GrepRequest{Pattern: "nowhere"})
		done <- err
	}()
	time.AfterFunc(20*time.Millisecond, cancel)
	bounded(t, "Grep that is cancelled", func() {
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled Grep gave %v", err)
		}
	})
}

// makeTree makes a tree of files with hay; the last one has a needle instead.
func makeTree(t T, s Subject, folders, each int) {
	t.Helper()
	for d := range folders {
		dir := s.onDisk(fmt.Sprintf("d%03d", d))
		must(t, os.Mkdir(dir, 0o700))
		// Links are made faster than files; some file systems take 65,000 of one file.
		must(t, os.WriteFile(filepath.Join(dir, "f000.txt"), []byte("hay\n"), 0o600))
		for f := 1; f < each; f++ {
			must(t, os.Link(filepath.Join(dir, "f000.txt"), filepath.Join(dir, fmt.Sprintf("f%03d.txt", f))))
		}
	}
	last := s.onDisk(fmt.Sprintf("d%03d/f%03d.txt", folders-1, each-1))
	must(t, os.Remove(last))
	must(t, os.WriteFile(last, []byte("needle\n"), 0o600))
}
