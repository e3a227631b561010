package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/client"
)

// Endpoint is a client of a server, for what that does beside what an executor does.
type Endpoint interface {
	Start(ctx context.Context, req api.StreamRequest) (Stream, error)
	Follow(ctx context.Context, id string, after int64) (Stream, error)
	Feed(ctx context.Context, id string, data []byte, end bool) (*api.StdinResult, error)
	Signal(ctx context.Context, id, signal string) error
	Kill(ctx context.Context, id string) error
	Backup(ctx context.Context, to io.Writer) (digest string, err error)
	Restore(ctx context.Context, archive io.Reader, digest string) (*api.Restored, error)
	Usage(ctx context.Context) (*api.Status, error)
}

// Stream is the output of a process.
type Stream interface {
	ID() string
	Next() (api.StreamEvent, error)
	Close()
}

// OverSocket is the client of a sandbox's own socket as an Endpoint.
func OverSocket(c *client.Client) Endpoint { return overSocket{c} }

type overSocket struct{ *client.Client }

type socketStream struct{ *client.Stream }

// ID implements Stream.
func (s socketStream) ID() string { return s.Process.ID }

// Start implements Endpoint.
func (o overSocket) Start(ctx context.Context, req api.StreamRequest) (Stream, error) {
	s, err := o.Client.Start(ctx, req)
	return socketStream{s}, err
}

// Follow implements Endpoint.
func (o overSocket) Follow(ctx context.Context, id string, after int64) (Stream, error) {
	s, err := o.Client.Follow(ctx, id, after)
	return socketStream{s}, err
}

// Backup implements Endpoint.
func (o overSocket) Backup(ctx context.Context, to io.Writer) (string, error) {
	b, err := o.Client.Backup(ctx, to)
	if err != nil {
		return "", err
	}
	return b.Digest, nil
}

// EndpointCases are for what a server does beside what an executor does. Their Subject
// has an Endpoint.
func EndpointCases() []Case {
	return []Case{
		{"backup", testBackup},
		{"process/ends", testProcessEnds},
		{"process/input", testProcessInput},
		{"process/resume", testProcessResume},
		{"status", testStatus},
	}
}

// printed is what a stream has brought.
type printed struct {
	stdout, stderr bytes.Buffer
	position       int64
	exit           *api.Exit
}

// read takes up to n events, or all to the exit where n is 0.
func (p *printed) read(t T, s Stream, n int) {
	t.Helper()
	defer s.Close()
	for i := 0; n == 0 || i < n; i++ {
		ev, err := s.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil || ev.Lost != nil {
			t.Fatalf("a stream gave %v, lost %+v", err, ev.Lost)
		}
		for to, out := range map[*bytes.Buffer]*api.Output{&p.stdout: ev.Stdout, &p.stderr: ev.Stderr} {
			if out == nil {
				continue
			}
			if out.Offset != int64(to.Len()) {
				t.Fatalf("output at %d after %d bytes", out.Offset, to.Len())
			}
			to.Write(out.Data)
		}
		p.position = ev.Position
		if ev.Exit != nil {
			p.exit = ev.Exit
			return
		}
	}
}

func start(t T, c Endpoint, req api.StreamRequest) Stream {
	t.Helper()
	req.TimeoutSeconds = 60
	s, err := c.Start(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func testProcessResume(t T, subject Subject) {
	c := subject.Endpoint
	s := start(t, c, api.StreamRequest{Shell: `for i in $(seq 2000); do echo "out $i"; echo "err $i" >&2; done; exit 3`})
	id := s.ID()
	var p printed
	for p.read(t, s, 3); p.exit == nil; p.read(t, s, 3) {
		var err error
		if s, err = c.Follow(t.Context(), id, p.position); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&stdout, "out %d\n", i+1)
		fmt.Fprintf(&stderr, "err %d\n", i+1)
	}
	if p.stdout.String() != stdout.String() || p.stderr.String() != stderr.String() {
		t.Errorf("%d and %d bytes over many streams, want %d and %d", p.stdout.Len(), p.stderr.Len(), stdout.Len(), stderr.Len())
	}
	if p.exit.ExitCode == nil || *p.exit.ExitCode != 3 || p.exit.Unknown {
		t.Errorf("exit %+v, want code 3", p.exit)
	}
}

func testProcessInput(t T, subject Subject) {
	c := subject.Endpoint
	s := start(t, c, api.StreamRequest{Shell: "cat", StdinOpen: true})
	var want bytes.Buffer
	for i := range 20 {
		part := bytes.Repeat([]byte{byte('a' + i)}, 5000)
		want.Write(part)
		if _, err := c.Feed(t.Context(), s.ID(), part, i == 19); err != nil {
			t.Fatal(err)
		}
	}
	var p printed
	p.read(t, s, 0)
	if !bytes.Equal(p.stdout.Bytes(), want.Bytes()) || p.exit == nil || p.exit.ExitCode == nil || *p.exit.ExitCode != 0 {
		t.Errorf("%d bytes came back of %d, exit %+v", p.stdout.Len(), want.Len(), p.exit)
	}
	_, err := c.Feed(t.Context(), s.ID(), []byte("x"), false)
	wantErr(t, "input after the end", err, tool.ErrEnded)
}

func testProcessEnds(t T, subject Subject) {
	c := subject.Endpoint
	for name, tc := range map[string]struct {
		end    func(id string) error
		signal string
		killed bool
	}{
		"signal":   {func(id string) error { return c.Signal(t.Context(), id, "SIGTERM") }, "SIGTERM", false},
		"kill":     {func(id string) error { return c.Kill(t.Context(), id) }, "SIGKILL", true},
		"stop all": {func(string) error { return subject.StopAll(t.Context()) }, "SIGKILL", true},
		"verification": {func(string) error {
			_, err := subject.Exec(t.Context(), tool.ExecRequest{Shell: "true", Isolated: true})
			return err
		}, "SIGKILL", true},
	} {
		t.Run(name, func(t T) {
			m := mark(t)
			s := start(t, c, api.StreamRequest{Shell: "(setsid sleep " + m + " &); sleep " + m})
			eventually(t, "two sleeps", func() bool { return len(alive(t, "sleep\x00"+m)) == 2 })
			if err := tc.end(s.ID()); err != nil {
				t.Fatal(err)
			}
			var p printed
			p.read(t, s, 0)
			if p.exit == nil || p.exit.Signal != tc.signal || p.exit.Killed != tc.killed {
				t.Errorf("exit %+v, want %s", p.exit, tc.signal)
			}
			wantNoneAlive(t, m)
		})
	}
}

func testBackup(t T, s Subject) {
	c := s.Endpoint
	s.shell(t, "mkdir -p d/e; echo one > d/e/f; chmod 750 d/e; ln -s f d/e/link; ln d/e/f same")
	const tree = "find . -mindepth 1 -path ./.sampan -prune -o -printf '%P %m %l %n\\n' | sort; cat d/e/f same"
	before := s.shell(t, tree)
	var archive bytes.Buffer
	digest, err := c.Backup(t.Context(), &archive)
	if err != nil {
		t.Fatal(err)
	}
	s.shell(t, "rm -rf d; mkdir other")
	changed := s.shell(t, "ls -A")
	_, err = c.Restore(t.Context(), bytes.NewReader(archive.Bytes()[:archive.Len()-3]), "")
	wantErr(t, "an archive that was cut off", err, tool.ErrInvalid)
	_, err = c.Restore(t.Context(), bytes.NewReader(archive.Bytes()), "sha256:00")
	wantErr(t, "an archive with another digest", err, tool.ErrPreconditionFailed)
	if now := s.shell(t, "ls -A | grep -v .sampan"); strings.ReplaceAll(string(changed.Stdout), ".sampan\n", "") != string(now.Stdout) {
		t.Errorf("after an archive that was refused: %s, want %s", now.Stdout, changed.Stdout)
	}
	if _, err := c.Restore(t.Context(), bytes.NewReader(archive.Bytes()), digest); err != nil {
		t.Fatal(err)
	}
	if after := s.shell(t, tree); !bytes.Equal(after.Stdout, before.Stdout) {
		t.Errorf("restored:\n%s\nwant:\n%s", after.Stdout, before.Stdout)
	}
}

func testStatus(t T, subject Subject) {
	c := subject.Endpoint
	s := start(t, c, api.StreamRequest{Shell: "sleep 1000"})
	st, err := c.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.Protocol != api.Protocol || len(st.Processes) != 1 || st.Processes[0].ID != s.ID() || st.Streams != 1 || st.Usage == nil || st.CapacityBytes <= 0 {
		t.Errorf("status %+v", st)
	}
}
