package tunnel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const hang = time.Minute

var box = Key{Namespace: "work", Name: "box", UID: "1"}

// house is a hub behind a real server, which takes the token for the name of the caller.
type house struct {
	*Hub
	server *httptest.Server
}

func newHouse(t *testing.T, most int) *house {
	t.Helper()
	h := &house{Hub: &Hub{Max: most}}
	h.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		name, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
		if !ok || name == "stranger" {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		if err := h.Accept(w, req, Key{Namespace: box.Namespace, Name: name, UID: box.UID}); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}))
	h.server.EnableHTTP2 = true
	h.server.StartTLS()
	t.Cleanup(func() { h.server.CloseClientConnections(); h.server.Close() })
	return h
}

func (h *house) caller(name string, handler http.Handler, onState func(error)) *Caller {
	pool := x509.NewCertPool()
	pool.AddCert(h.server.Certificate())
	return &Caller{
		URL: h.server.URL + "/tunnel", TLS: &tls.Config{RootCAs: pool}, Handler: handler, OnState: onState,
		Token: func() (string, error) { return name, nil },
	}
}

// call runs a caller until the test ends or stop is called, which waits for it.
func (h *house) call(t *testing.T, name string, handler http.Handler, onState func(error)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { h.caller(name, handler, onState).Run(ctx) })
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, hang, true, func(context.Context) (bool, error) { return is(), nil }); err != nil {
		t.Fatalf("never came: %s", what)
	}
}

func (h *house) ask(t *testing.T, name, path string, body io.Reader) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://sandbox"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h.To(Key{box.Namespace, name, box.UID}).RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func says(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

func TestRequestsGoInward(t *testing.T) {
	h := newHouse(t, 10)
	if _, err := h.ask(t, "box", "/", nil); !errors.Is(err, ErrNoTunnel) {
		t.Errorf("with nobody there: %v", err)
	}
	stop := h.call(t, "box", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		_, _ = fmt.Fprintf(w, "%s %d %v", req.URL.Path, len(body), err)
	}), nil)
	eventually(t, "the connection", func() bool { return h.Count() == 1 })
	big := strings.NewReader(strings.Repeat("x", 40*window))
	if got, err := h.ask(t, "box", "/v1/files/a%20b", big); err != nil || got != fmt.Sprintf("/v1/files/a b %d <nil>", 40*window) {
		t.Errorf("got %q, %v", got, err)
	}
	stop()
	eventually(t, "the end of the connection", func() bool { return h.Count() == 0 })
}

// TestStreams: what is written comes at once, in both directions, and the end of the
// one who asks ends the one who answers.
func TestStreams(t *testing.T) {
	h := newHouse(t, 10)
	ended := make(chan struct{})
	h.call(t, "box", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer close(ended)
		for part := make([]byte, 100); ; {
			n, err := req.Body.Read(part)
			if _, wrong := w.Write(part[:n]); err != nil || wrong != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
		}
	}), nil)
	eventually(t, "the connection", func() bool { return h.Count() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	out, in := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://sandbox/", out)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := func() (*http.Response, error) {
		go func() { _, _ = in.Write([]byte("one")) }()
		return h.To(box).RoundTrip(req)
	}()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 3)
	for _, want := range []string{"one", "two"} {
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v; want %s", got, err, want)
		}
		if want == "one" {
			if _, err := in.Write([]byte("two")); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = resp.Body.Close()
	select {
	case <-ended:
	case <-time.After(hang):
		t.Fatal("the handler goes on for nobody")
	}
}

// TestComesBack: a caller whose connection is cut calls again, and one whose place was
// taken by a newer one of its own is let go.
func TestComesBack(t *testing.T) {
	h := newHouse(t, 10)
	var up, down atomic.Int64
	h.call(t, "box", says("here"), func(err error) {
		if err == nil {
			up.Add(1)
		} else {
			down.Add(1)
		}
	})
	for cut := int64(1); cut <= 3; cut++ {
		eventually(t, "a connection", func() bool { return up.Load() >= cut && h.Count() == 1 })
		h.server.CloseClientConnections() // does not know those that were taken over
		h.mu.Lock()
		cc := h.conns[box]
		h.mu.Unlock()
		_ = cc.Close()
		eventually(t, "the caller's notice", func() bool { return down.Load() >= cut })
	}
	eventually(t, "a connection", func() bool { return h.Count() == 1 })

	h.call(t, "box", says("newer"), nil)
	eventually(t, "the newer one's answer", func() bool { got, err := h.ask(t, "box", "/", nil); return err == nil && got == "newer" })
}

// TestReplacedEndsInOrder: what is under way on a connection that another replaces comes
// to its end.
func TestReplacedEndsInOrder(t *testing.T) {
	h := newHouse(t, 10)
	asked, answer := make(chan struct{}), make(chan struct{})
	stop := h.call(t, "box", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		_, _ = io.WriteString(w, "old")
	}), nil)
	eventually(t, "the connection", func() bool { return h.Count() == 1 })
	got := make(chan string, 1)
	go func() { text, err := h.ask(t, "box", "/", nil); got <- fmt.Sprint(text, err) }()
	<-asked
	h.mu.Lock()
	before := h.conns[box]
	h.mu.Unlock()
	h.call(t, "box", says("new"), nil)
	eventually(t, "the newer connection", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.conns[box] != before })
	close(answer)
	if text := <-got; text != "old<nil>" {
		t.Errorf("the request under way gave %s", text)
	}
	stop()
}

func TestRefused(t *testing.T) {
	h := newHouse(t, 1)
	var last atomic.Value
	h.call(t, "stranger", says("no"), func(err error) { last.Store(fmt.Sprint(err)) })
	eventually(t, "the refusal", func() bool { s, _ := last.Load().(string); return strings.Contains(s, "403 Forbidden: who are you?") })
	h.call(t, "first", says("first"), nil)
	eventually(t, "the connection", func() bool { return h.Count() == 1 })
	var full atomic.Value
	h.call(t, "second", says("second"), func(err error) { full.Store(fmt.Sprint(err)) })
	eventually(t, "the refusal", func() bool { s, _ := full.Load().(string); return strings.Contains(s, ErrFull.Error()) })
	if got, err := h.ask(t, "first", "/", nil); err != nil || got != "first" {
		t.Errorf("the first: %q, %v", got, err)
	}
	// Over HTTP/2 there is nothing to take over.
	resp, err := h.server.Client().Post(h.server.URL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || resp.ProtoMajor != 2 {
		t.Errorf("a plain request got %s over %s", resp.Status, resp.Proto)
	}
}

// TestThousand: a thousand callers at rest, each of which is found.
func TestThousand(t *testing.T) {
	const callers, atOnce = 1000, 50
	h := newHouse(t, callers)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	for i := range callers {
		running.Go(func() { h.caller(fmt.Sprint(i), says(fmt.Sprint("I am ", i)), nil).Run(ctx) })
		if (i+1)%atOnce == 0 {
			eventually(t, "all of them", func() bool { return h.Count() == i+1 })
		}
	}
	for i := range callers {
		if got, err := h.ask(t, fmt.Sprint(i), "/", nil); err != nil || got != fmt.Sprint("I am ", i) {
			t.Fatalf("caller %d: %q, %v", i, got, err)
		}
	}
}
