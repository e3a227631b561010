package client_test

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/client"
	"github.com/sampan-dev/sampan/internal/sandbox/conformance"
	"github.com/sampan-dev/sampan/internal/sandbox/conformance/conformancetest"
	"github.com/sampan-dev/sampan/internal/sandbox/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server until the test ends, and gives a client that is ready.
func serve(t testing.TB) (*client.Client, string) {
	t.Helper()
	ws := t.TempDir()
	socket := filepath.Join(t.TempDir(), "s.sock")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, server.Options{SocketPath: socket, Workspace: ws}) }()
	c := client.New(socket)
	ready, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := c.WaitReady(ready); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return c, ws
}

func TestConformance(t *testing.T) {
	conformancetest.Run(t, append(conformance.Cases(), conformance.EndpointCases()...), func(t *testing.T) conformance.Subject {
		c, ws := serve(t)
		return conformance.Subject{Executor: c, Workspace: ws, Endpoint: conformance.OverSocket(c)}
	})
}

// BenchmarkExecTrue is what every tool call pays. The target is a median of
// 1.2 ms over the socket, on two cores with nothing else to do.
func BenchmarkExecTrue(b *testing.B) {
	c, _ := serve(b)
	bench(b, func() error {
		_, err := c.Exec(b.Context(), tool.ExecRequest{Argv: []string{"/bin/true"}})
		return err
	})
}

// BenchmarkExecBash is a command as the bash tool sends it, with 30 KB of output.
func BenchmarkExecBash(b *testing.B) {
	c, _ := serve(b)
	if _, err := c.WriteFile(b.Context(), "f", bytes.Repeat([]byte("0123456789abcde\n"), 1875), tool.WriteOptions{}); err != nil {
		b.Fatal(err)
	}
	bench(b, func() error {
		_, err := c.Exec(b.Context(), tool.ExecRequest{Shell: "echo \"$(<f)\"", MergeStderr: true})
		return err
	})
}

// BenchmarkForkExec is the floor: the same program without a sandbox.
func BenchmarkForkExec(b *testing.B) {
	bench(b, func() error { return exec.Command("/bin/true").Run() })
}

func BenchmarkReadFile(b *testing.B) {
	c, _ := serve(b)
	if _, err := c.WriteFile(b.Context(), "f", make([]byte, 4096), tool.WriteOptions{}); err != nil {
		b.Fatal(err)
	}
	bench(b, func() error { _, err := c.ReadFile(b.Context(), "f", 1<<20); return err })
}

func BenchmarkWriteFile(b *testing.B) {
	c, _ := serve(b)
	data := make([]byte, 4096)
	bench(b, func() error { _, err := c.WriteFile(b.Context(), "f", data, tool.WriteOptions{}); return err })
}

// bench reports the median and the 99th percentile: a mean hides both.
func bench(b *testing.B, f func() error) {
	b.Helper()
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}
