package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/client"
	"github.com/sampan-dev/sampan/internal/sandbox/engine"
	"github.com/sampan-dev/sampan/internal/sandbox/server"
)

// run serves in this process until the test ends.
func run(t *testing.T, socket string) *client.Client {
	t.Helper()
	return runWith(t, server.Options{SocketPath: socket, MaxFileBytes: 1 << 20})
}

// runWith serves a new workspace.
func runWith(t *testing.T, opts server.Options) *client.Client {
	t.Helper()
	opts.Workspace = t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, opts) }()
	c := client.NewWithSecret(opts.SocketPath, secret)
	t.Cleanup(func() {
		_ = c.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if err := c.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// secret is the one of the tests' clients.
const secret = "a-secret-of-the-tests-own-choice"

func TestSocket(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	run(t, socket)
	st, err := os.Lstat(socket)
	if err != nil || st.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket is %v, %v", st.Mode(), err)
	}
	err = server.Run(t.Context(), server.Options{SocketPath: socket, Workspace: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "another server is listening") {
		t.Errorf("a second server: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	err = server.Run(t.Context(), server.Options{SocketPath: file, Workspace: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file in the socket's place: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("the folder holds %v", entries)
	}
}

// TestHTTP is what a client without our code sees.
func TestHTTP(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	run(t, socket)
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer tr.CloseIdleConnections()
	hc := &http.Client{Transport: tr}
	const etag = `"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"` // of "x"
	for _, tc := range []struct {
		name, method, path, body string
		header                   map[string]string
		status                   int
		want                     string
	}{
		{name: "status", method: "GET", path: "/v1/status", status: 200, want: `"protocol":3`},
		{name: "put", method: "PUT", path: "/v1/files/d/f.txt", body: "x", status: 200, want: `"path":"d/f.txt"`},
		{name: "get", method: "GET", path: "/v1/files/d/f.txt", status: 200, want: "x"},
		{name: "get cached", method: "GET", path: "/v1/files/d/f.txt", header: map[string]string{"If-None-Match": etag}, status: 304},
		{name: "get range", method: "GET", path: "/v1/files/d/f.txt", header: map[string]string{"Range": "bytes=0-0"}, status: 206, want: "x"},
		{name: "get bounded", method: "GET", path: "/v1/files/d/f.txt?max=0", status: 413, want: `"code":"too_large"`},
		{name: "put changed", method: "PUT", path: "/v1/files/d/f.txt", body: "y", header: map[string]string{"If-Match": `"sha256:00"`}, status: 412, want: `"code":"precondition_failed"`},
		{name: "put there", method: "PUT", path: "/v1/files/d/f.txt", body: "y", header: map[string]string{"If-None-Match": "*"}, status: 412},
		{name: "put mode", method: "PUT", path: "/v1/files/m", body: "y", header: map[string]string{"Sampan-Mode": "4755"}, status: 400, want: `"code":"invalid"`},
		{name: "put matching", method: "PUT", path: "/v1/files/d/f.txt", body: "y", header: map[string]string{"If-Match": etag}, status: 200},
		{name: "put too much", method: "PUT", path: "/v1/files/big", body: strings.Repeat("x", 2<<20), status: 413, want: `"code":"too_large"`},
		{name: "nothing left of it", method: "GET", path: "/v1/files/big", status: 404},
		{name: "dots", method: "GET", path: "/v1/files/../../etc/passwd", status: 403, want: `"code":"outside_workspace"`},
		{name: "encoded dots", method: "GET", path: "/v1/files/%2e%2e/%2e%2e/etc/passwd", status: 403, want: `"code":"outside_workspace"`},
		{name: "encoded slashes", method: "GET", path: "/v1/files/..%2f..%2fetc%2fpasswd", status: 403, want: `"code":"outside_workspace"`},
		{name: "absolute", method: "GET", path: "/v1/files//etc/passwd", status: 403, want: `"code":"outside_workspace"`},
		{name: "nul", method: "GET", path: "/v1/files/a%00b", status: 400, want: `"code":"invalid"`},
		{name: "head missing", method: "HEAD", path: "/v1/files/none", status: 404},
		{name: "folder", method: "GET", path: "/v1/files/d", status: 409, want: `"code":"is_directory"`},
		{name: "method", method: "PATCH", path: "/v1/files/d", status: 405, want: `"code":"no_such_route"`},
		{name: "get range beyond", method: "GET", path: "/v1/files/d/f.txt", header: map[string]string{"Range": "bytes=9-"}, status: 416},
		{name: "get changed", method: "GET", path: "/v1/files/d/f.txt", header: map[string]string{"If-Match": `"sha256:00"`}, status: 412},
		{name: "head", method: "HEAD", path: "/v1/files/d/f.txt", status: 200},
		{name: "list", method: "GET", path: "/v1/files/?list", status: 200, want: `{"path":".","entries":[{"name":"d","size":`},
		{name: "list folder", method: "GET", path: "/v1/files/d?list", status: 200, want: `"entries":[{"name":"f.txt","size":1,"mode":420,`},
		{name: "list page", method: "GET", path: "/v1/files/d?list&after=f.txt", status: 200, want: `"entries":[]`},
		{name: "list file", method: "GET", path: "/v1/files/d/f.txt?list", status: 400, want: `"code":"invalid"`},
		{name: "list outside", method: "GET", path: "/v1/files/..?list", status: 403, want: `"code":"outside_workspace"`},
		{name: "list limit", method: "GET", path: "/v1/files/d?list&limit=x", status: 400, want: `"code":"invalid"`},
		{name: "delete changed", method: "DELETE", path: "/v1/files/d/f.txt", header: map[string]string{"If-Match": `"sha256:00"`}, status: 412},
		{name: "delete", method: "DELETE", path: "/v1/files/d/f.txt", status: 204},
		{name: "route", method: "GET", path: "/v2/status", status: 404, want: `"code":"no_such_route"`},
		{name: "exec", method: "POST", path: "/v1/exec", body: `{"argv":["true"]}`, status: 200, want: `"exitCode":0`},
		{name: "exec nothing", method: "POST", path: "/v1/exec", body: `{}`, status: 400, want: `"code":"invalid"`},
		{name: "exec unknown field", method: "POST", path: "/v1/exec", body: `{"shell":"true","tty":true}`, status: 400, want: `unknown field`},
		{name: "exec no json", method: "POST", path: "/v1/exec", body: `true`, status: 400, want: `"code":"invalid"`},
		{name: "exec two", method: "POST", path: "/v1/exec", body: `{"shell":"true"}{}`, status: 400, want: `more than one`},
		{name: "processes", method: "GET", path: "/v1/processes", status: 200, want: `[]`},
		{name: "kill all", method: "DELETE", path: "/v1/processes", status: 204},
		{name: "stranger", method: "GET", path: "/v1/status", header: map[string]string{"Authorization": "Bearer " + strings.Repeat("x", 30)}, status: 403, want: `"code":"not_owner"`},
		{name: "no secret", method: "POST", path: "/v1/exec", header: map[string]string{"Authorization": ""}, body: `{"shell":"true"}`, status: 403, want: `must carry a secret`},
		{name: "kill nothing", method: "DELETE", path: "/v1/processes/x", status: 404, want: `"code":"not_found"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tc.method, "http://x"+tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+secret)
			for k, v := range tc.header {
				req.Header.Set(k, v)
			}
			resp, err := hc.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tc.status || !strings.Contains(string(body), tc.want) {
				t.Errorf("%s %s: %d %s, want %d with %q", tc.method, tc.path, resp.StatusCode, body, tc.status, tc.want)
			}
			if want := api.ETag(engine.Digest([]byte("y"))); tc.name == "head" && resp.Header.Get("ETag") != want {
				t.Errorf("ETag %s, want %s", resp.Header.Get("ETag"), want)
			}
			if tc.status >= 400 && resp.Header.Get(api.HeaderError) == "" {
				t.Error("no code in the header")
			}
		})
	}
}

// TestDisconnect: a client that goes away without a word takes its command with it.
func TestDisconnect(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	c := run(t, socket)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(tool.ExecRequest{Shell: "touch started; sleep 1000"})
	req, _ := http.NewRequest(http.MethodPost, "http://x/v1/exec", bytes.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+secret)
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	processes := func(want int) {
		t.Helper()
		deadline := time.Now().Add(5 * time.Second)
		for {
			st, err := c.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(st.Processes) == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("processes: %v, want %d", st.Processes, want)
			}
		}
	}
	processes(1)
	_ = conn.Close()
	processes(0)
}

func TestProtocolMismatch(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(api.Status{Protocol: 99})
	})}
	go func() { _ = hs.Serve(l) }()
	defer func() { _ = hs.Close() }()
	c := client.New(socket)
	defer func() { _ = c.Close() }()
	if err := c.WaitReady(t.Context()); !errors.Is(err, client.ErrProtocolMismatch) {
		t.Errorf("WaitReady gave %v", err)
	}
}

func TestWaitReadyGivesUp(t *testing.T) {
	c := client.New(filepath.Join(t.TempDir(), "none"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("WaitReady gave %v", err)
	}
}
