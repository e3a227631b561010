package engine_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/engine"
)

// TestGiantOutput: memory stays bounded however much a command writes.
func TestGiantOutput(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 1 GiB")
	}
	e := open(t, engine.Options{SpillBytes: 1 << 20})
	runtime.GC() // what earlier tests left is not ours
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	began := time.Now()
	res, err := e.Exec(t.Context(), tool.ExecRequest{Shell: "head -c 1073741824 /dev/zero; echo; echo end"})
	close(stop)
	<-stopped
	if err != nil {
		t.Fatal(err)
	}
	grown := int64(peak.Load()) - int64(before.HeapInuse)
	t.Logf("1 GiB in %v, the heap grew from %d MiB by at most %d KiB", time.Since(began), before.HeapInuse>>20, grown>>10)
	const total = 1<<30 + 5
	if got := int64(len(res.Stdout)) + res.OmittedStdoutBytes; got != total || !strings.HasSuffix(string(res.Stdout), "\nend\n") {
		t.Errorf("%d bytes in all, want %d, and the end", got, total)
	}
	if grown > 16<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	st, err := e.Stat(t.Context(), res.FullOutputPath)
	if err != nil || st.Size != 1<<20 || res.FullOutputOmittedBytes != total-1<<20 {
		t.Errorf("the kept output: %+v, %v, %d omitted", st, err, res.FullOutputOmittedBytes)
	}
}

// TestOutputsAreBounded: old outputs make room for new ones.
func TestOutputsAreBounded(t *testing.T) {
	e := open(t, engine.Options{SpillBytes: 1000, SpillTotalBytes: 3500, DefaultOutputBytes: 100})
	var last string
	for range 6 {
		res, err := e.Exec(t.Context(), tool.ExecRequest{Shell: "seq 1 1000"})
		if err != nil {
			t.Fatal(err)
		}
		last = res.FullOutputPath
	}
	entries, err := os.ReadDir(e.Workspace() + "/" + engine.OutputDir)
	if err != nil || len(entries) != 3 {
		t.Errorf("%d files are kept (%v), want 3", len(entries), err)
	}
	if _, err := e.Stat(t.Context(), last); err != nil {
		t.Errorf("the newest is gone: %v", err)
	}
}

// TestOutputDirIsHostile: a workspace that plants a link or a FIFO where
// outputs go loses its own outputs, and nothing else.
func TestOutputDirIsHostile(t *testing.T) {
	outside := t.TempDir()
	for name, plant := range map[string]string{
		"link outside": "ln -s " + outside + " .sampan",
		"file":         "echo x > .sampan",
		"no access":    "mkdir -p .sampan/output; rm -rf .sampan/output; echo x > .sampan/output",
	} {
		t.Run(name, func(t *testing.T) {
			e := open(t, engine.Options{DefaultOutputBytes: 100})
			if _, err := e.Exec(t.Context(), tool.ExecRequest{Shell: plant}); err != nil {
				t.Fatal(err)
			}
			res, err := e.Exec(t.Context(), tool.ExecRequest{Shell: "seq 1 1000"})
			if err != nil || res.FullOutputPath != "" || res.OmittedStdoutBytes == 0 {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("outside: %v", entries)
	}
}

func TestReadOnlyWorkspace(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root writes everywhere")
	}
	e := open(t, engine.Options{DefaultOutputBytes: 100})
	if err := os.Chmod(e.Workspace(), 0o555); err != nil {
		t.Fatal(err)
	}
	if res, err := e.Exec(t.Context(), tool.ExecRequest{Shell: "seq 1 1000"}); err != nil || res.FullOutputPath != "" {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestKillAndList(t *testing.T) {
	e := open(t, engine.Options{})
	done := make(chan error, 1)
	go func() {
		_, err := e.ExecID(t.Context(), "mine", tool.ExecRequest{Shell: "sleep 1000"})
		done <- err
	}()
	for deadline := time.Now().Add(5 * time.Second); ; {
		if r := e.Running(); len(r) == 1 && r[0].PID() > 0 && r[0].ID == "mine" && r[0].Command == "sleep 1000" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("running: %+v", e.Running())
		}
	}
	if _, err := e.ExecID(t.Context(), "mine", tool.ExecRequest{Shell: "true"}); err == nil {
		t.Error("an id was taken twice")
	}
	if err := e.Kill(t.Context(), "mine"); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil || !strings.Contains(fmt.Sprint(err), "killed on request") {
		t.Errorf("Exec gave %v", err)
	}
}

func BenchmarkExecTrue(b *testing.B) {
	e := open(b, engine.Options{})
	for b.Loop() {
		if _, err := e.Exec(b.Context(), tool.ExecRequest{Argv: []string{"/bin/true"}}); err != nil {
			b.Fatal(err)
		}
	}
}
