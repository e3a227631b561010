package server_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/sandbox/server"
)

// TestMounted: who serves the interface on another connection decides who may send
// requests there, and needs no greeting.
func TestMounted(t *testing.T) {
	h, err := server.NewHandler(server.Options{Workspace: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(func() {
		s.Close()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, tc := range []struct{ method, path, body, want string }{
		{"GET", "/v1/status", "", `"protocol":`},
		{"PUT", "/v1/files/f", "x", `"path":"f"`},
		{"POST", "/v1/exec", `{"shell":"cat f"}`, `"exitCode":0`},
		{"POST", "/v1/exec", `{"shell":"test -e f","isolated":true}`, `"exitCode":0`},
		{"GET", "/v1/files/f", "", "x"},
		{"POST", "/v1/shutdown", "", `"code":"no_such_route"`},
		{"DELETE", "/v1/owner", "", `"code":"no_such_route"`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, s.URL+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !bytes.Contains(body, []byte(tc.want)) || resp.ProtoMajor != 2 {
			t.Errorf("%s %s over HTTP/%d: %s, %v, want %s", tc.method, tc.path, resp.ProtoMajor, body, err, tc.want)
		}
	}
}

// TestSlowDownload: who does not take an answer does not keep a verification waiting.
func TestSlowDownload(t *testing.T) {
	p := startProcess(t, nil)
	if _, err := p.Exec(t.Context(), toolShell("truncate -s 64M big")); err != nil {
		t.Fatal(err)
	}
	conn := dialAs(t, p, "GET", "/v1/files/big", "")
	if _, err := io.ReadFull(conn, make([]byte, 64<<10)); err != nil { // the rest is never taken
		t.Fatal(err)
	}
	if res := p.isolated(t, "exit 7"); res.ExitCode == nil || *res.ExitCode != 7 {
		t.Errorf("beside a download: %+v", res)
	}
}
