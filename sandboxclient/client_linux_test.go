package sandboxclient_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/sampan-dev/sampan/internal/sandbox/server"
	"github.com/sampan-dev/sampan/internal/testing/reached"
	"github.com/sampan-dev/sampan/sandboxclient"
)

// cluster serves a Sandbox as a cluster does, until stop is called.
func cluster() (config *rest.Config, stop func()) {
	return serve(func(l net.Listener) net.Listener { return l }, func(h http.Handler) http.Handler { return h })
}

// serve is cluster with something between a client and the API.
func serve(listener func(net.Listener) net.Listener, between func(http.Handler) http.Handler) (config *rest.Config, stop func()) {
	dir, err := os.MkdirTemp("", "workspace-")
	if err != nil {
		panic(err)
	}
	h, err := server.NewHandler(server.Options{Workspace: dir})
	if err != nil {
		panic(err)
	}
	box := httptest.NewServer(h)
	front := httptest.NewUnstartedServer(between(reached.Handler(reached.Direct(box.URL))))
	front.Listener = listener(front.Listener)
	front.Start()
	return &rest.Config{Host: front.URL}, func() {
		if err := h.Close(); err != nil { // ends what is under way
			panic(err)
		}
		front.CloseClientConnections()
		front.Close()
		box.CloseClientConnections()
		box.Close()
		if err := os.RemoveAll(dir); err != nil {
			panic(err)
		}
	}
}

func connect(t *testing.T, config *rest.Config) *sandboxclient.Client {
	t.Helper()
	c, err := sandboxclient.New(config, reached.Namespace, reached.Name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func box(t *testing.T) *sandboxclient.Client {
	t.Helper()
	config, stop := cluster()
	t.Cleanup(stop)
	return connect(t, config)
}

// wantCode wants an error of the Sandbox that is one of Kubernetes' as well.
func wantCode(t *testing.T, what string, err error, want sandboxclient.Code) {
	t.Helper()
	var status apierrors.APIStatus
	if sandboxclient.CodeOf(err) != want || !errors.As(err, &status) || status.Status().Message == "" {
		t.Errorf("%s: %v (%q), want %q", what, err, sandboxclient.CodeOf(err), want)
	}
}

func TestFiles(t *testing.T) {
	c, ctx := box(t), t.Context()
	for _, name := range []string{"a b/c#d", "ä", "100%25", "x?y&z"} {
		w, err := c.WriteFile(ctx, name, []byte(name), sandboxclient.WriteOptions{Mode: 0o600})
		if err != nil {
			t.Fatal(err)
		}
		f, err := c.ReadFile(ctx, name, 100)
		if err != nil || string(f.Data) != name || f.Path != name || f.Digest != w.Digest || f.Mode != 0o600 || f.ModTime.IsZero() || f.Size != int64(len(name)) {
			t.Errorf("%q came back as %+v, %v", name, f, err)
		}
		if _, err := c.WriteFile(ctx, name, []byte("two"), sandboxclient.WriteOptions{IfMatch: w.Digest}); err != nil {
			t.Error(err)
		}
		_, err = c.WriteFile(ctx, name, []byte("three"), sandboxclient.WriteOptions{IfMatch: w.Digest})
		wantCode(t, "a write over another's", err, sandboxclient.PreconditionFailed)
		_, err = c.ReadFile(ctx, name, 2)
		wantCode(t, "more than asked for", err, sandboxclient.TooLarge)
		wantCode(t, "to remove another's", c.Remove(ctx, name, w.Digest), sandboxclient.PreconditionFailed)
	}
	list, err := c.List(ctx, ".", sandboxclient.ListOptions{After: "100%25", Limit: 1})
	if err != nil || len(list.Entries) != 1 || list.Entries[0].Name != "a b" || !list.More {
		t.Errorf("the folder has %+v, %v", list, err)
	}
	if err := c.Remove(ctx, "ä", ""); err != nil {
		t.Error(err)
	}
	_, err = c.ReadFile(ctx, "ä", 100)
	wantCode(t, "what was removed", err, sandboxclient.NotFound)
	_, err = c.ReadFile(ctx, "../x", 100)
	wantCode(t, "outside", err, sandboxclient.OutsideWorkspace)
}

func TestCommands(t *testing.T) {
	c, ctx := box(t), t.Context()
	res, err := c.Exec(ctx, sandboxclient.ExecRequest{Shell: "cat; echo two >&2; exit 3", Stdin: []byte("one"), TimeoutSeconds: 60})
	if err != nil || string(res.Stdout) != "one" || string(res.Stderr) != "two\n" || res.ExitCode == nil || *res.ExitCode != 3 {
		t.Errorf("it ended as %+v, %v", res, err)
	}
	_, err = c.Exec(ctx, sandboxclient.ExecRequest{Argv: []string{"no-such-program-here"}})
	wantCode(t, "no such program", err, sandboxclient.NotFound)

	s := start(t, c, sandboxclient.StreamRequest{Shell: "cat; sleep 1000", StdinOpen: true})
	id := s.Process().ID
	for i, part := range []string{"one", "two"} {
		if took, err := c.Stdin(ctx, id, []byte(part), i == 1); err != nil || took.TotalBytes != int64(3*(i+1)) {
			t.Errorf("it took %+v, %v", took, err)
		}
	}
	if st, err := c.StatusWithUsage(ctx); err != nil || len(st.Processes) != 1 || st.Processes[0].ID != id || st.Streams != 1 || st.Usage == nil {
		t.Errorf("the status is %+v, %v", st, err)
	}
	for s.Position() < int64(len("onetwo")) {
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Signal(ctx, id, "SIGTERM"); err != nil {
		t.Fatal(err)
	}
	s, err = c.Follow(ctx, id, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := collect(t, s)
	if got.stdout.String() != "onetwo" || got.exit.Signal != "SIGTERM" {
		t.Errorf("it printed %q and ended as %+v", got.stdout.String(), got.exit)
	}
	if p, err := c.Process(ctx, id); err != nil || p.Exit == nil || p.Exit.Signal != "SIGTERM" {
		t.Errorf("it is %+v, %v", p, err)
	}
	wantCode(t, "a signal after the end", c.Signal(ctx, id, "SIGTERM"), sandboxclient.Ended)

	s = start(t, c, sandboxclient.StreamRequest{Shell: "sleep 1000", Window: &sandboxclient.Window{Rows: 5, Columns: 6}})
	if err := errors.Join(c.Resize(ctx, s.Process().ID, sandboxclient.Window{Rows: 7, Columns: 8}), c.Kill(ctx, s.Process().ID)); err != nil {
		t.Fatal(err)
	}
	if got := collect(t, s); !got.exit.Killed {
		t.Errorf("it ended as %+v", got.exit)
	}
	if all, err := c.Processes(ctx); err != nil || len(all) != 2 {
		t.Errorf("there are %+v, %v", all, err)
	}
	if err := c.Kill(ctx, id); err != nil {
		t.Error(err)
	}
	_, err = c.Follow(ctx, id, 0)
	wantCode(t, "to follow what was dropped", err, sandboxclient.NotFound)
}

func start(t *testing.T, c *sandboxclient.Client, req sandboxclient.StreamRequest) *sandboxclient.Stream {
	t.Helper()
	s, err := c.Start(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

type collected struct {
	stdout, stderr bytes.Buffer
	exit           sandboxclient.Exit
}

// collect reads a stream to its end; what it gives must join.
func collect(t *testing.T, s *sandboxclient.Stream) *collected {
	t.Helper()
	got := new(collected)
	for {
		ev, err := s.Next()
		switch {
		case errors.Is(err, io.EOF):
			return got
		case err != nil || ev.Lost != nil:
			t.Fatalf("the stream gave %v, lost %+v", err, ev.Lost)
		case ev.Exit != nil:
			got.exit = *ev.Exit
		}
		for to, out := range map[*bytes.Buffer]*sandboxclient.Output{&got.stdout: ev.Stdout, &got.stderr: ev.Stderr} {
			if out == nil {
				continue
			}
			if out.Offset != int64(to.Len()) {
				t.Fatalf("output at %d after %d bytes", out.Offset, to.Len())
			}
			to.Write(out.Data)
		}
	}
}

// cutting is a listener whose connections break after some bytes, at random.
type cutting struct {
	net.Listener
	cuts *atomic.Int64
}

func (c cutting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	return &cut{Conn: conn, left: rand.N(1 << (10 + rand.N(6))), cuts: c.cuts}, err
}

type cut struct {
	net.Conn
	left int
	cuts *atomic.Int64
}

func (c *cut) Write(p []byte) (int, error) {
	if len(p) <= c.left {
		c.left -= len(p)
		return c.Conn.Write(p)
	}
	n, err := c.Conn.Write(p[:c.left])
	c.left = 0
	c.cuts.Add(1)
	return n, errors.Join(err, c.Close(), errors.New("cut"))
}

// TestStreamGoesOn: however often and wherever a stream is cut, also where the answer to
// its start is, what comes is the whole output once, and how the command ended.
func TestStreamGoesOn(t *testing.T) {
	var cuts atomic.Int64
	config, stop := serve(func(l net.Listener) net.Listener { return cutting{l, &cuts} }, func(h http.Handler) http.Handler { return h })
	t.Cleanup(stop)
	var stdout, stderr strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&stdout, "out %d\n", i+1)
		if i%4 == 3 { // each change of the stream takes up a little of what the Sandbox keeps
			fmt.Fprintf(&stderr, "err %d\n", i+1)
		}
	}
	// A start whose request never arrived is said to be unknown.
	c := connect(t, config)
	var s *sandboxclient.Stream
	for s == nil {
		var err error
		s, err = c.Start(t.Context(), sandboxclient.StreamRequest{Shell: `for i in $(seq 4000); do echo "out $i"; test $((i % 4)) != 0 || echo "err $i" >&2; done; exit 3`})
		if err != nil && !strings.Contains(err.Error(), "not known whether") {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.Close)
	got := collect(t, s)
	if got.stdout.String() != stdout.String() || got.stderr.String() != stderr.String() {
		t.Errorf("%d and %d bytes came, want %d and %d", got.stdout.Len(), got.stderr.Len(), stdout.Len(), stderr.Len())
	}
	if got.exit.ExitCode == nil || *got.exit.ExitCode != 3 {
		t.Errorf("it ended as %+v", got.exit)
	}
	if s.Position() != int64(stdout.Len()+stderr.Len()) {
		t.Errorf("the position at the end is %d", s.Position())
	}
	t.Logf("%d cuts", cuts.Load())
	if cuts.Load() < 5 {
		t.Errorf("there were only %d cuts", cuts.Load())
	}
}

// outage is an API that is away from time to time.
type outage struct {
	down    atomic.Bool
	refused chan struct{}
	ctx     context.Context
	begin   context.CancelFunc
}

func (o *outage) between(h http.Handler) http.Handler {
	o.refused = make(chan struct{}, 1)
	o.ctx, o.begin = context.WithCancel(context.Background())
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if o.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			select {
			case o.refused <- struct{}{}:
			default:
			}
			return
		}
		ctx, cancel := context.WithCancel(req.Context())
		defer cancel()
		defer context.AfterFunc(o.ctx, cancel)() //nolint:contextcheck // the outage's own
		h.ServeHTTP(w, req.WithContext(ctx))
	})
}

// TestStreamOutlastsAnOutage: what is away for a while is tried again, and not for longer
// than the caller wants.
func TestStreamOutlastsAnOutage(t *testing.T) {
	o := &outage{}
	config, stop := serve(func(l net.Listener) net.Listener { return l }, o.between)
	t.Cleanup(stop)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := connect(t, config)
	until := func(file string) *sandboxclient.Stream {
		s, err := c.Start(ctx, sandboxclient.StreamRequest{Shell: "echo first; until test -e " + file + "; do sleep 0.01; done; echo second"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		if ev, err := s.Next(); err != nil || string(ev.Stdout.Data) != "first\n" { //nolint:contextcheck // the stream has it
			t.Fatalf("it began with %+v, %v", ev, err)
		}
		return s
	}
	s, forsaken := until("go"), until("never")
	o.down.Store(true)
	o.begin()
	came := make(chan string, 1)
	go func() {
		ev, err := s.Next()
		came <- fmt.Sprint(ev.Stdout, err)
	}()
	<-o.refused
	_, err := c.Follow(ctx, s.Process().ID, 0)
	if !apierrors.IsServiceUnavailable(err) && !apierrors.IsInternalError(err) {
		t.Errorf("of an API that is down Follow says %v", err)
	}
	o.ctx = context.Background()
	o.down.Store(false)
	if _, err := c.WriteFile(ctx, "go", nil, sandboxclient.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, want := <-came, fmt.Sprint(&sandboxclient.Output{Offset: 6, Data: []byte("second\n")}, nil); got != want {
		t.Errorf("after the outage came %s, want %s", got, want)
	}

	o.down.Store(true)
	go func() { <-o.refused; <-o.refused; cancel() }()
	if ev, err := forsaken.Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("to who has given up came %+v, %v", ev, err)
	}
}

func TestBackup(t *testing.T) {
	c, ctx := box(t), t.Context()
	if _, err := c.WriteFile(ctx, "d/f", []byte("one"), sandboxclient.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	b, err := c.Backup(ctx, &archive)
	if err != nil || b.Entries != 2 || b.Bytes != int64(archive.Len()) {
		t.Fatalf("the backup is %+v, %v", b, err)
	}
	if _, err := c.WriteFile(ctx, "later", nil, sandboxclient.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Restore(ctx, bytes.NewReader(archive.Bytes()), "sha256:00")
	wantCode(t, "another digest", err, sandboxclient.PreconditionFailed)
	if r, err := c.Restore(ctx, bytes.NewReader(archive.Bytes()), b.Digest); err != nil || r.Digest != b.Digest || r.Entries != 2 {
		t.Errorf("restored %+v, %v", r, err)
	}
	if f, err := c.ReadFile(ctx, "d/f", 10); err != nil || string(f.Data) != "one" {
		t.Errorf("the file is %+v, %v", f, err)
	}
	_, err = c.ReadFile(ctx, "later", 10)
	wantCode(t, "what is not in the backup", err, sandboxclient.NotFound)
}

// TestBackupIsWhole: an archive without the digest that it must have is none.
func TestBackupIsWhole(t *testing.T) {
	for name, said := range map[string]string{"none": "", "another": "sha256:00"} {
		t.Run(name, func(t *testing.T) {
			config, stop := serve(func(l net.Listener) net.Listener { return l }, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Trailer", "Sampan-Digest")
					_, _ = io.WriteString(w, "half") // the client's to find out
					if said != "" {
						w.Header().Set("Sampan-Digest", said)
					}
				})
			})
			t.Cleanup(stop)
			if b, err := connect(t, config).Backup(t.Context(), io.Discard); !errors.Is(err, sandboxclient.ErrBackupIncomplete) {
				t.Errorf("it is %+v, %v", b, err)
			}
		})
	}
}

// TestBackupWithoutTrailers: kube-apiserver passes none on, and the archive itself tells
// whether it is whole.
func TestBackupWithoutTrailers(t *testing.T) {
	var archive bytes.Buffer
	compressed, err := zstd.NewWriter(&archive)
	if err != nil {
		t.Fatal(err)
	}
	content := tar.NewWriter(compressed)
	err = content.WriteHeader(&tar.Header{Name: "f", Size: 3, Mode: 0o600})
	_, wrong := content.Write([]byte("one"))
	if err := errors.Join(err, wrong, content.Close(), compressed.Close()); err != nil {
		t.Fatal(err)
	}
	for name, cut := range map[string]int{"whole": 0, "without its checksum": 2, "half": archive.Len() / 2} {
		t.Run(name, func(t *testing.T) {
			config, stop := serve(func(l net.Listener) net.Listener { return l }, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_, _ = w.Write(archive.Bytes()[:archive.Len()-cut]) // the client's to find out
				})
			})
			t.Cleanup(stop)
			b, err := connect(t, config).Backup(t.Context(), io.Discard)
			if whole := cut == 0; whole != (err == nil) || !whole && !errors.Is(err, sandboxclient.ErrBackupIncomplete) || whole && b.Entries != 1 {
				t.Errorf("it is %+v, %v", b, err)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"", "..", "a/b"} {
		if _, err := sandboxclient.New(&rest.Config{Host: "https://localhost"}, "default", name); err == nil {
			t.Errorf("%q is taken for a name", name)
		}
	}
}
