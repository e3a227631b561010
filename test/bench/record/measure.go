package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/apiserver"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/client"
	"github.com/sampan-dev/sampan/internal/runner/snapshot"
	"github.com/sampan-dev/sampan/internal/testing/testca"
)

const (
	namespace = "team"
	taskName  = "work"
	taskUID   = "5f1c4e1a-0000-4000-8000-000000000001"
	// takes is how often snapshots are measured, and copies what copies a whole tree.
	takes, copies = 30, 5
	changed       = 10
)

// served is a record over HTTPS, and beside it a handler that writes a file and waits
// until it is on disk.
type served struct {
	rec   *client.Client
	floor func(ctx context.Context, data []byte) error
	stop  func() error
}

func (b *bench) serve(ctx context.Context) (*served, error) {
	ca, cert, err := testca.New()
	if err != nil {
		return nil, err
	}
	store, err := record.Open(ctx, "file://"+b.folder("store"))
	if err != nil {
		return nil, err
	}
	door := apiserver.RunnersDoor(store, func(string) (record.Writer, bool) { return record.Writer{Attempt: 1, PodUID: "pod"}, true })
	mux := http.NewServeMux()
	mux.Handle("/v1/", door)
	mux.Handle("/floor", &writer{dir: b.folder("floor")})
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	go func() { _ = s.Serve(tls.NewListener(l, config)) }() // until it is closed
	url, caFile, token := "https://"+l.Addr().String(), filepath.Join(b.dir, "ca"), filepath.Join(b.dir, "token")
	if err := errors.Join(os.WriteFile(caFile, ca, 0o600), os.WriteFile(token, []byte("token"), 0o600)); err != nil {
		return nil, err
	}
	c, err := client.New(client.Config{URL: url, CA: ca, TokenFile: token, Namespace: namespace, Task: taskName, UID: taskUID})
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}}}
	return &served{rec: c, floor: func(ctx context.Context, data []byte) error { return post(ctx, h, url+"/floor", data) },
		stop: func() error { return errors.Join(s.Close(), store.Close()) }}, nil
}

func (b *bench) folder(name string) string {
	dir := filepath.Join(b.dir, name)
	_ = os.MkdirAll(dir, 0o755) // what uses it says why not
	return dir
}

// writer is the floor of an append.
type writer struct {
	dir string
	n   int
}

// ServeHTTP implements http.Handler, for one request at a time.
func (f *writer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	data, err := io.ReadAll(req.Body)
	f.n++
	if err == nil {
		err = writeSynced(filepath.Join(f.dir, fmt.Sprint(f.n)), data)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func writeSynced(path string, data []byte) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	return errors.Join(err, out.Sync(), out.Close())
}

func post(ctx context.Context, h *http.Client, url string, data []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		return err
	}
	resp, err := h.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusNoContent {
		err = fmt.Errorf("the floor answers %s", resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

func event(n int) []byte {
	return fmt.Appendf(nil, `{"seq":%d,"time":"2026-01-02T03:04:05Z","turn":%d,"type":"tool_result","data":{"content":%q},"prev":""}`+"\n", n, n/4, strings.Repeat("some text ", 40))
}

// appends measures one event, and the floor of one in turn.
func (b *bench) appends(ctx context.Context) error {
	s, err := b.serve(ctx)
	if err != nil {
		return err
	}
	r := row{what: "append one event", target: "≤ 2 ms"}
	for n := 1; n <= b.rounds; n++ {
		line := event(n)
		err := errors.Join(clock(&r.took, func() error { return s.rec.Append(ctx, int64(n), line) }), clock(&r.floor, func() error { return s.floor(ctx, line) }))
		if err != nil {
			return err
		}
	}
	b.rows = append(b.rows, r)
	return s.stop()
}

// snapshots measures what is kept of a workspace, and what it is built from.
func (b *bench) snapshots(ctx context.Context) error {
	s, err := b.serve(ctx)
	if err != nil {
		return err
	}
	dir := b.folder("workspace")
	for i := range b.files {
		if err := write(dir, i, 0); err != nil {
			return err
		}
	}
	snap := &snapshot.Snapshotter{Root: dir, MaxBytes: 1 << 30}
	var tree snapshot.Tree
	take := func() (err error) { tree, err = snap.Take(ctx, s.rec); return err }
	first, delta := row{what: "first snapshot", target: "-"}, row{what: fmt.Sprintf("snapshot, %d of %d files changed", changed, b.files), target: "≤ 30 ms"}
	if err := clock(&first.took, take); err != nil {
		return err
	}
	for n := range takes {
		for i := range changed {
			if err := write(dir, (i*990+n)%b.files, n+1); err != nil {
				return err
			}
		}
		if err := errors.Join(clock(&delta.took, take), clock(&delta.floor, func() error { return walk(dir) })); err != nil {
			return err
		}
	}
	restore := row{what: "restore", target: "-"}
	for n := range copies {
		to := b.folder(fmt.Sprint("restored", n))
		other := &snapshot.Snapshotter{Root: to, MaxBytes: 1 << 30}
		c := record.Checkpoint{Tree: tree.Chunks, Files: tree.Files, Bytes: tree.Bytes}
		copied := filepath.Join(b.dir, fmt.Sprint("copied", n))
		err := errors.Join(clock(&restore.took, func() error { return other.Restore(ctx, s.rec, c) }),
			clock(&restore.floor, func() error { return os.CopyFS(copied, os.DirFS(dir)) }), os.RemoveAll(to), os.RemoveAll(copied))
		if err != nil {
			return err
		}
	}
	b.rows = append(b.rows, first, delta, restore)
	return s.stop()
}

func write(dir string, i, version int) error {
	path := filepath.Join(dir, fmt.Sprintf("d%d/f%d.go", i/100, i))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.Repeat(fmt.Sprintf("line of file %d, version %d\n", i, version), 50+i%100)), 0o600)
}

// walk looks at each file and reads none.
func walk(dir string) error {
	return filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil {
			_, err = d.Info()
		}
		return err
	})
}
