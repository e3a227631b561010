package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/sandbox/client"
	"github.com/sampan-dev/sampan/internal/sandbox/server"
)

// FuzzSocket sends anything at all over the socket, as a client that the server
// obeys. Whatever that is, its answer comes to an end, and the server goes on to
// answer others. What would run a command or end the server is left out: the
// first thing that a fuzzer would find is `kill -9 -1`.
func FuzzSocket(f *testing.F) {
	for _, seed := range []string{
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer SECRET\r\n\r\n",
		"POST /v1/grep HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer SECRET\r\nContent-Length: 18\r\n\r\n{\"pattern\":\"(a|b\"}",
		"POST /v1/lines HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer SECRET\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"PUT /v1/files/a%2fb HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer SECRET\r\nIf-None-Match: *\r\nContent-Length: 1\r\n\r\nx",
		"GET /v1/files/..%2f..%2fetc%2fpasswd?max=-1 HTTP/1.1\r\nHost: x\r\nRange: bytes=9-1\r\nAuthorization: Bearer SECRET\r\n\r\n",
		"GET /v1/files/?list&after=%ff&limit=9 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer SECRET\r\n\r\n",
		"GET /v1/processes/x/stream?after=-1 HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 9\r\nAuthorization: Bearer SECRET\r\n\r\n",
		"PUT /v1/backup HTTP/1.1\r\nHost: x\r\nSampan-Digest: x\r\nAuthorization: Bearer SECRET\r\nContent-Length: 4\r\n\r\n\x28\xb5\x2f\xfd",
		"POST /v1/processes/x/window HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer SECRET\r\nContent-Length: 21\r\n\r\n{\"rows\":1,\"columns\":1}",
		"DELETE /v1/processes/%00 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer SECRET\r\n\r\nDELETE /v1/processes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer SECRET\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	socket := filepath.Join(f.TempDir(), "s")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, server.Options{SocketPath: socket, Workspace: f.TempDir()}) }()
	c := client.NewWithSecret(socket, secret)
	f.Cleanup(func() {
		_ = c.Close()
		cancel()
		if err := <-ended; err != nil {
			f.Error(err)
		}
	})
	if err := c.WaitReady(ctx); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		for _, dangerous := range []string{"exec", "shutdown", "owner", "%"} {
			if bytes.Contains(input, []byte(dangerous)) && (dangerous != "%" || !bytes.Contains(input, []byte("/v1/files/"))) {
				return
			}
		}
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // only a test's
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := conn.Write(bytes.ReplaceAll(input, []byte("SECRET"), []byte(secret))); err == nil {
			_ = conn.(*net.UnixConn).CloseWrite()
		}
		var timeout net.Error
		if _, err := io.Copy(io.Discard, io.LimitReader(conn, 64<<20)); errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatalf("no end of the answer to %q", input)
		}
		if _, err := c.Status(t.Context()); err != nil {
			t.Fatalf("after %q: %v", input, err)
		}
	})
}
