package tunnel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// ErrNoTunnel is the error of a request for somebody who has no connection here.
var ErrNoTunnel = errors.New("there is no connection")

// ErrFull is the error of a caller for whom there is no place.
var ErrFull = errors.New("there are too many connections")

// Key says whose a connection is.
type Key struct{ Namespace, Name, UID string }

// Hub keeps the connections of callers. The zero value has no place for any.
type Hub struct {
	// Max is how many there may be.
	Max int

	mu    sync.Mutex
	conns map[Key]*http2.ClientConn
}

// Accept makes a request's connection the one of a key, in place of one that is there,
// and keeps it until it ends. Who asks must have been identified. What comes back is
// an error only where nothing was answered yet.
func (h *Hub) Accept(w http.ResponseWriter, req *http.Request, key Key) error {
	if req.Header.Get("Upgrade") != Protocol || req.ProtoMajor != 1 {
		return fmt.Errorf("a tunnel begins as a request of HTTP/1.1 with Upgrade: %s", Protocol)
	}
	if !h.room(key) {
		return ErrFull
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("taking over the connection: %w", err)
	}
	defer conn.Close() //nolint:errcheck // it may be closed by now
	cc, ended, err := accepted(conn, buffered)
	if err != nil {
		return nil //nolint:nilerr // the caller has gone, or sends what is no HTTP/2
	}
	h.put(key, cc)
	<-ended
	h.drop(key, cc)
	return nil
}

// accepted says yes to a caller.
func accepted(conn net.Conn, buffered *bufio.ReadWriter) (*http2.ClientConn, <-chan struct{}, error) {
	if err := conn.SetDeadline(time.Now().Add(handshake)); err != nil {
		return nil, nil, err
	}
	if _, err := buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + Protocol + "\r\n\r\n"); err != nil {
		return nil, nil, err
	}
	if err := buffered.Flush(); err != nil {
		return nil, nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, nil, err
	}
	watched := &watched{Conn: &begun{Conn: conn, first: buffered.Reader}, ended: make(chan struct{})}
	cc, err := client().NewClientConn(watched)
	return cc, watched.ended, err
}

// watched is a connection that tells when it is closed.
type watched struct {
	net.Conn
	once  sync.Once
	ended chan struct{}
}

// Close implements io.Closer.
func (w *watched) Close() error {
	defer w.once.Do(func() { close(w.ended) })
	return w.Conn.Close()
}

func (h *Hub) room(key Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conns[key] != nil || len(h.conns) < h.Max
}

func (h *Hub) put(key Key, cc *http2.ClientConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old := h.conns[key]; old != nil {
		go retire(old)
	}
	if h.conns == nil {
		h.conns = map[Key]*http2.ClientConn{}
	}
	h.conns[key] = cc
}

// retire closes a connection once what is under way on it has ended, or after a while.
func retire(cc *http2.ClientConn) {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	if cc.Shutdown(ctx) != nil {
		_ = cc.Close()
	}
}

func (h *Hub) drop(key Key, cc *http2.ClientConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns[key] == cc {
		delete(h.conns, key)
	}
}

// Count is how many connections there are.
func (h *Hub) Count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}

// Close ends all connections once what is under way on them has ended, or after a while.
func (h *Hub) Close() {
	h.mu.Lock()
	conns := slices.Collect(maps.Values(h.conns))
	h.mu.Unlock()
	var ending sync.WaitGroup
	for _, cc := range conns {
		ending.Go(func() { retire(cc) })
	}
	ending.Wait()
}

// To gives what sends requests to the caller of a key. Its errors wrap ErrNoTunnel
// where none is there. A request is sent once: what came of one that was cut off is
// not known.
func (h *Hub) To(key Key) http.RoundTripper { return to{h, key} }

type to struct {
	hub *Hub
	key Key
}

// RoundTrip implements http.RoundTripper.
func (t to) RoundTrip(req *http.Request) (*http.Response, error) {
	t.hub.mu.Lock()
	cc := t.hub.conns[t.key]
	t.hub.mu.Unlock()
	if cc == nil || !cc.CanTakeNewRequest() {
		return nil, fmt.Errorf("%w of %s/%s", ErrNoTunnel, t.key.Namespace, t.key.Name)
	}
	return cc.RoundTrip(req)
}
