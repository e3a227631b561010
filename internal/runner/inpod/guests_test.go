package inpod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/client"
	"github.com/sampan-dev/sampan/internal/sandbox/server"
)

// lodging is a sandbox's server, its runner's client, and where guests come in.
type lodging struct {
	*guests
	exec *client.Client
	url  string
	// workspace is the sandbox's.
	workspace string
}

func lodge(t *testing.T) *lodging {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s.sock")
	workspace := t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, server.Options{SocketPath: socket, Workspace: workspace}) }()
	l := &lodging{guests: newGuests(), exec: client.New(socket), workspace: workspace}
	if err := l.exec.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(l.reception(l.exec.Guests(), func(context.Context) error { return nil }))
	l.url = front.URL
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
		stop()
		if err := errors.Join(<-ended, l.exec.Close()); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *lodging) ask(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, l.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func TestGuestsDoWhatToolsDo(t *testing.T) {
	l := lodge(t)
	if code, said := l.ask(t, "GET", "/v1/status", ""); code != 503 || !strings.Contains(said, `"code":"not_ready"`) {
		t.Errorf("before there is a workspace: %d %s", code, said)
	}
	l.open()
	for _, row := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"PUT", "/v1/files/a%20b", "x", 200, `"path":"a b"`},
		{"POST", "/v1/exec", `{"shell":"cat 'a b'; env"}`, 200, `"exitCode":0`},
		{"GET", "/v1/processes", "", 200, "["},
		// What is the runner's alone.
		{"POST", "/v1/exec", `{"shell":"true","isolated":true}`, 400, "isolated"},
		{"DELETE", "/v1/processes", "", 404, "not_found"},
		{"DELETE", "/v1/owner", "", 404, "not_found"},
		{"POST", "/v1/shutdown", "", 404, "not_found"},
		{"PUT", "/v1/files/../x", "x", 403, "outside_workspace"},
	} {
		code, said := l.ask(t, row.method, row.path, row.body)
		if code != row.code || !strings.Contains(said, row.want) {
			t.Errorf("%s %s: %d %s, want %d and %s", row.method, row.path, code, said, row.code, row.want)
		}
	}
	l.occupy(true)
	if code, said := l.ask(t, "PUT", "/v1/backup", "x"); code != 400 || !strings.Contains(said, "a task runs") {
		t.Errorf("replacing the workspace below a task: %d %s", code, said)
	}
}

// TestNobodyBesideAProof: a verify command sends guests away, whatever they are at, and
// nobody comes in between it and the outputs that it proves.
func TestNobodyBesideAProof(t *testing.T) {
	l := lodge(t)
	l.open()
	p := proving{Client: l.exec, guests: l.guests}
	mark := fmt.Sprintf("1000.%d", os.Getpid())                                                                                              // other tests' processes sleep, too
	streaming, err := http.Post(l.url+"/v1/exec/stream", "application/json", strings.NewReader(`{"shell":"touch started; sleep `+mark+`"}`)) // closed below
	if err != nil {
		t.Fatal(err)
	}
	defer streaming.Body.Close() //nolint:errcheck // its end is looked at
	for {
		if code, _ := l.ask(t, "GET", "/v1/files/started", ""); code == 200 {
			break
		}
	}
	// One that takes nothing of its answer.
	if _, err := l.exec.Exec(t.Context(), tool.ExecRequest{Shell: "truncate -s 64M big"}); err != nil {
		t.Fatal(err)
	}
	stuck, err := http.Get(l.url + "/v1/files/big") // closed below
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Body.Close() //nolint:errcheck // not read

	verified := make(chan error, 1)
	go func() {
		res, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "pgrep -f '[s]leep " + mark + "'; test $? = 1", Isolated: true})
		if err == nil && (res.ExitCode == nil || *res.ExitCode != 0) {
			err = errors.New("it does not run alone")
		}
		verified <- err
	}()
	select {
	case err := <-verified:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a guest keeps the verify command waiting")
	}
	if rest, err := io.ReadAll(streaming.Body); err == nil && strings.Contains(string(rest), "event: exit") {
		t.Errorf("the stream of a guest came to its end: %q", rest)
	}
	if code, said := l.ask(t, "PUT", "/v1/files/forged", "x"); code != 409 || !strings.Contains(said, `"code":"isolated"`) {
		t.Errorf("between a proof and the outputs: %d %s", code, said)
	}
	if _, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "true"}); err != nil {
		t.Fatal(err)
	}
	if code, said := l.ask(t, "PUT", "/v1/files/later", "x"); code != 200 {
		t.Errorf("once the agent goes on: %d %s", code, said)
	}
}

// slowResponse is one whose deadline takes a while to be set.
type slowResponse struct {
	http.ResponseWriter
	begun, goOn chan struct{}
}

func (w *slowResponse) SetReadDeadline(time.Time) error {
	close(w.begun)
	<-w.goOn
	return nil
}

func (w *slowResponse) SetWriteDeadline(time.Time) error { return nil }

// TestCutOff: nobody uses the response of a request that is over. Of HTTP/2 it is gone then.
func TestCutOff(t *testing.T) {
	w := &slowResponse{ResponseWriter: httptest.NewRecorder(), begun: make(chan struct{}), goOn: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	end, over := cutOff(ctx, w), make(chan struct{})
	cancel()
	<-w.begun
	go func() { end(); close(over) }()
	select {
	case <-over:
		t.Error("the request is over while its deadline is being set")
	case <-time.After(50 * time.Millisecond):
	}
	close(w.goOn)
	<-over
	cutOff(t.Context(), w)() // nothing was cut off
}

// TestWhatUsesASandbox: a request, also one that still waits for the workspace, a stream
// and a command that nobody follows use it, and nothing that has ended.
func TestWhatUsesASandbox(t *testing.T) {
	l := lodge(t)
	l.open()
	p := &Runner{exec: l.exec, guests: l.guests}
	used := func(what string, want bool) {
		t.Helper()
		if got := p.inUse(t.Context()); got != want {
			t.Errorf("%s: it is used: %t, want %t", what, got, want)
		}
	}
	used("nobody", false)
	ready := make(chan error)
	front := l.reception(l.exec.Guests(), func(context.Context) error { return <-ready })
	answered := make(chan int)
	go func() {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/status", nil))
		answered <- w.Code
	}()
	<-l.came
	used("who waits for the workspace", true)
	ready <- nil
	if code := <-answered; code != 200 {
		t.Errorf("who has waited gets %d", code)
	}
	used("who has got an answer", false)
	l.rest()
	go func() {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/status", nil))
		answered <- w.Code
	}()
	ready <- nil
	if code := <-answered; code != 503 {
		t.Errorf("who comes while the Sandbox is being suspended gets %d", code)
	}
	l.wake()

	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+"/v1/exec/stream", strings.NewReader(`{"shell":"until test -e go; do sleep 0.01; done"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	used("a stream", true)
	leave()
	_ = resp.Body.Close() // it was left
	for l.present() {
		<-l.came
	}
	used("a command that nobody follows", true)
	if code, said := l.ask(t, "PUT", "/v1/files/go", "x"); code != 200 {
		t.Fatalf("%d %s", code, said)
	}
	for p.inUse(t.Context()) { // until the command has seen it
		if t.Context().Err() != nil {
			t.Fatal("a command that has ended is taken for a use")
		}
	}
}
