package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/client"
	"github.com/sampan-dev/sampan/internal/sandbox/server"
)

// drainStream reads a stream to its exit.
func drainStream(t *testing.T, s *client.Stream) (stdout, stderr bytes.Buffer, exit *api.Exit) {
	t.Helper()
	defer s.Close()
	for {
		ev, err := s.Next()
		switch {
		case errors.Is(err, io.EOF):
			return stdout, stderr, exit
		case err != nil || ev.Lost != nil:
			t.Errorf("the stream broke off: %v, lost %+v", err, ev.Lost)
			return stdout, stderr, new(api.Exit)
		case ev.Stdout != nil:
			stdout.Write(ev.Stdout.Data)
		case ev.Stderr != nil:
			stderr.Write(ev.Stderr.Data)
		default:
			exit = ev.Exit
		}
	}
}

func startStream(t *testing.T, c *client.Client, req api.StreamRequest) *client.Stream {
	t.Helper()
	s, err := c.Start(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestExecStream(t *testing.T) {
	c := run(t, filepath.Join(t.TempDir(), "s"))
	s := startStream(t, c, api.StreamRequest{Shell: `echo "$GIVEN"; cat >&2; exit 4`, Stdin: []byte("fed"), Env: map[string]string{"GIVEN": "a b"}})
	if s.Process.PID == 0 || s.Process.ID == "" || !s.Process.Streamed {
		t.Errorf("it began as %+v", s.Process)
	}
	stdout, stderr, exit := drainStream(t, s)
	if stdout.String() != "a b\n" || stderr.String() != "fed" || exit == nil || exit.ExitCode == nil || *exit.ExitCode != 4 || exit.Unknown {
		t.Errorf("%q, %q, %+v", stdout.String(), stderr.String(), exit)
	}
	p, err := c.Process(t.Context(), s.Process.ID)
	if err != nil || p.Exit == nil || p.Exit.ExitCode == nil || *p.Exit.ExitCode != 4 || p.OutputBytes != 7 {
		t.Errorf("afterwards %+v, %v", p, err)
	}
	if _, err := c.Start(t.Context(), api.StreamRequest{Argv: []string{"no-such-program-here"}}); !errors.Is(err, tool.ErrNotFound) {
		t.Errorf("a program that is not there: %v", err)
	}
	if _, err := c.Follow(t.Context(), "x", 0); !errors.Is(err, tool.ErrNotFound) {
		t.Errorf("a process that is not there: %v", err)
	}
}

// TestStreamIsResumed: the process outlives its connection, and another one goes on
// at the very byte, however often that happens.
func TestStreamIsResumed(t *testing.T) {
	c := run(t, filepath.Join(t.TempDir(), "s"))
	const numbers = "seq 1000000"
	whole, _, _ := drainStream(t, startStream(t, c, api.StreamRequest{Shell: numbers}))
	s := startStream(t, c, api.StreamRequest{Shell: "read -r go; " + numbers, StdinOpen: true})
	id := s.Process.ID
	s.Close()
	if _, err := c.Feed(t.Context(), id, []byte("go\n"), false); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	var position int64
	for connections := 1; ; connections++ {
		s, err := c.Follow(t.Context(), id, position)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			ev, err := s.Next()
			if err != nil {
				t.Fatal(err)
			}
			if ev.Lost != nil { // nobody followed meanwhile
				got.Write(whole.Bytes()[ev.Lost.From:ev.Lost.To])
			}
			if ev.Stdout != nil {
				got.Write(ev.Stdout.Data)
			}
			if position = ev.Position; ev.Exit == nil {
				continue
			}
			if !bytes.Equal(got.Bytes(), whole.Bytes()) || ev.Exit.ExitCode == nil || *ev.Exit.ExitCode != 0 {
				t.Errorf("over %d connections: %d bytes of %d, %+v", connections, got.Len(), whole.Len(), ev.Exit)
			}
			s.Close()
			return
		}
		s.Close()
	}
}

// TestStreamLost: what is gone is told in the stream.
func TestStreamLost(t *testing.T) {
	c := run(t, filepath.Join(t.TempDir(), "s"))
	s := startStream(t, c, api.StreamRequest{Shell: "read -r go; head -c 5000000 /dev/zero; echo end", StdinOpen: true})
	s.Close()
	p := func() api.Process {
		p, err := c.Process(t.Context(), s.Process.ID)
		if err != nil {
			t.Fatal(err)
		}
		return *p
	}
	awaitEvent(t, "no stream", func() bool { st, err := c.Status(t.Context()); return err == nil && st.Streams == 0 })
	if _, err := c.Feed(t.Context(), s.Process.ID, []byte("\n"), true); err != nil {
		t.Fatal(err)
	}
	awaitEvent(t, "its end", func() bool { return p().Exit != nil })
	again, err := c.Follow(t.Context(), s.Process.ID, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	ev, err := again.Next()
	if err != nil || ev.Lost == nil || ev.Lost.From != 10 || ev.Lost.To < 1000000 || ev.Lost.StdoutOffset != ev.Lost.To || ev.Lost.StderrOffset != 0 {
		t.Fatalf("%+v, %v", ev.Lost, err)
	}
	rest, err := c.Follow(t.Context(), s.Process.ID, ev.Lost.To)
	if err != nil {
		t.Fatal(err)
	}
	stdout, _, _ := drainStream(t, rest)
	if ev.Lost.To+int64(stdout.Len()) != 5000004 || !strings.HasSuffix(stdout.String(), "\x00end\n") {
		t.Errorf("%d lost and %d bytes", ev.Lost.To, stdout.Len())
	}
}

// awaitEvent polls; the bound is there for what would never come.
func awaitEvent(t *testing.T, what string, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it never came to %s", what)
		}
	}
}

// TestStreamsEnd: a verification ends processes and streams, each of which says so,
// and a reader that takes nothing does not keep it waiting.
func TestStreamsEnd(t *testing.T) {
	p := pid1(t)
	const stubborn = "trap '' TERM HUP; (setsid env -i sleep 1000 &); while :; do echo x; done"
	s := startStream(t, p.Client, api.StreamRequest{Shell: stubborn})
	stuck := dialAs(t, p, http.MethodPost, "/v1/exec/stream", `{"shell":"yes"}`)
	if _, err := io.ReadFull(stuck, make([]byte, 100<<10)); err != nil { // and no more
		t.Fatal(err)
	}
	ended := make(chan *api.Exit, 1)
	go func() {
		var exit *api.Exit
		defer func() { ended <- exit }() // also where it fails
		_, _, exit = drainStream(t, s)
	}()
	p.wantAlone(t)
	if exit := <-ended; exit == nil || exit.Signal != "SIGKILL" || !exit.Killed {
		t.Errorf("it ended with %+v", exit)
	}
	st, err := p.Status(t.Context())
	if err != nil || len(st.Processes) != 0 || st.Streams != 0 {
		t.Errorf("afterwards %+v, %v", st, err)
	}
	all, err := p.Processes(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatalf("kept: %+v, %v", all, err)
	}
	for _, one := range all {
		if one.Exit == nil || !one.Exit.Killed {
			t.Errorf("kept: %+v", one)
		}
	}
}

// TestNoStreamMeanwhile: none begins beside a verification.
func TestNoStreamMeanwhile(t *testing.T) {
	p := startProcess(t, nil)
	done := make(chan error, 1)
	go func() {
		_, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "touch here; until test -e go; do sleep 0.01; done", Isolated: true, TimeoutSeconds: 60})
		done <- err
	}()
	p.awaitFile(t, "here")
	if _, err := p.Start(t.Context(), api.StreamRequest{Shell: "true"}); !errors.Is(err, tool.ErrIsolated) {
		t.Errorf("a stream beside it: %v", err)
	}
	if _, err := p.Follow(t.Context(), "x", 0); !errors.Is(err, tool.ErrIsolated) {
		t.Errorf("a reader beside it: %v", err)
	}
	if _, err := p.Feed(t.Context(), "x", nil, true); !errors.Is(err, tool.ErrIsolated) {
		t.Errorf("input beside it: %v", err)
	}
	if _, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "true"}); !errors.Is(err, tool.ErrIsolated) {
		t.Errorf("a command beside it: %v", err)
	}
	createFile(t, p, "go")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestSignalAndTerminal drives a shell as somebody at a terminal would.
func TestSignalAndTerminal(t *testing.T) {
	c := run(t, filepath.Join(t.TempDir(), "s"))
	s := startStream(t, c, api.StreamRequest{Argv: []string{"sh"}, Window: &api.Window{Rows: 30, Columns: 90}})
	id := s.Process.ID
	if err := c.Resize(t.Context(), id, api.Window{Rows: 31, Columns: 91}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Feed(t.Context(), id, []byte("stty size; exit 9\n"), false); err != nil {
		t.Fatal(err)
	}
	stdout, _, exit := drainStream(t, s)
	if !strings.Contains(stdout.String(), "31 91") || exit.ExitCode == nil || *exit.ExitCode != 9 {
		t.Errorf("%q, %+v", stdout.String(), exit)
	}

	s = startStream(t, c, api.StreamRequest{Shell: "sleep 1000"})
	if err := c.Signal(t.Context(), s.Process.ID, "SIGWHAT"); !errors.Is(err, tool.ErrInvalid) {
		t.Errorf("no signal: %v", err)
	}
	if err := c.Resize(t.Context(), s.Process.ID, api.Window{Rows: 1, Columns: 1}); !errors.Is(err, tool.ErrInvalid) {
		t.Errorf("no terminal: %v", err)
	}
	if _, err := c.Feed(t.Context(), s.Process.ID, []byte("x"), false); !errors.Is(err, tool.ErrEnded) {
		t.Errorf("no input: %v", err)
	}
	if err := c.Signal(t.Context(), s.Process.ID, "SIGINT"); err != nil {
		t.Fatal(err)
	}
	if _, _, exit := drainStream(t, s); exit.Signal != "SIGINT" || exit.Killed {
		t.Errorf("%+v", exit)
	}
	if err := c.Kill(t.Context(), s.Process.ID); err != nil {
		t.Errorf("dropping it: %v", err)
	}
	if _, err := c.Process(t.Context(), s.Process.ID); !errors.Is(err, tool.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
}

// TestHeartbeat: a silent stream shows that it lives.
func TestHeartbeat(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	runWith(t, server.Options{SocketPath: socket, Heartbeat: time.Millisecond})
	conn := dialAs(t, &process{socket: socket}, http.MethodPost, "/v1/exec/stream", `{"shell":"sleep 1000"}`)
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var seen []byte
	for bytes.Count(seen, []byte(": alive\n\n")) < 3 {
		buf := make([]byte, 1024)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("%q, then %v", seen, err)
		}
		seen = append(seen, buf[:n]...)
	}
}

// TestReleaseForgets: the next owner has no part in what commands of the last one printed.
func TestReleaseForgets(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	c := run(t, socket)
	drainStream(t, startStream(t, c, api.StreamRequest{Shell: "echo x"}))
	if err := c.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := client.New(socket)
	defer next.Close() //nolint:errcheck // only a test's
	if err := next.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all, err := next.Processes(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("the next owner sees %+v, %v", all, err)
	}
}
