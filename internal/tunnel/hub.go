package tunnel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// ErrNoTunnel is the error of a request for somebody who has no connection here.
var ErrNoTunnel = errors.New("there is no connection")

// ErrBusy is the error of a request beside as many as a connection takes at once.
var ErrBusy = errors.New("too many requests are under way on the connection")

// ErrFull is the error of a caller for whom there is no place.
var ErrFull = errors.New("there are too many connections")

// Key says whose a connection is.
type Key struct{ Namespace, Name, UID string }

// Hub keeps the connections of callers. The zero value has no place for any.
type Hub struct {
	// Max is how many there may be.
	Max int

	mu    sync.Mutex
	conns map[Key]*http.ClientConn
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
	cc, ended, err := accepted(req.Context(), conn, buffered)
	if err != nil {
		return nil //nolint:nilerr // the caller has gone, or sends what is no HTTP/2
	}
	h.put(key, cc)
	<-ended
	h.drop(key, cc)
	return nil
}

// accepted says yes to a caller, and gives the connection as HTTP/2 and when it ended.
func accepted(ctx context.Context, conn net.Conn, buffered *bufio.ReadWriter) (*http.ClientConn, <-chan struct{}, error) {
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
	ended := make(chan struct{})
	over := &watched{Conn: &begun{Conn: conn, first: buffered.Reader}, onClose: sync.OnceFunc(func() { close(ended) })}
	t := &http.Transport{
		Protocols: onlyHTTP2(), HTTP2: settings(), DisableCompression: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return over, nil },
	}
	cc, err := t.NewClientConn(ctx, "http", "caller:80")
	return cc, ended, err
}

func (h *Hub) room(key Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conns[key] != nil || len(h.conns) < h.Max
}

func (h *Hub) put(key Key, cc *http.ClientConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old := h.conns[key]; old != nil {
		retire(old)
	}
	if h.conns == nil {
		h.conns = map[Key]*http.ClientConn{}
	}
	h.conns[key] = cc
}

// retire closes a connection once what is under way on it has ended, or after a while.
func retire(cc *http.ClientConn) {
	end := time.AfterFunc(farewell, func() { _ = cc.Close() })
	idle := func(cc *http.ClientConn) {
		if cc.InFlight() == 0 {
			end.Stop()
			_ = cc.Close()
		}
	}
	cc.SetStateHook(idle)
	idle(cc)
}

func (h *Hub) drop(key Key, cc *http.ClientConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns[key] == cc {
		delete(h.conns, key)
	}
}

// Has reports whether there is a connection of a key.
func (h *Hub) Has(key Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	cc := h.conns[key]
	return cc != nil && cc.Err() == nil
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
	defer h.mu.Unlock()
	for _, cc := range h.conns {
		retire(cc)
	}
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
	cc, err := t.reserve()
	if err != nil {
		return nil, fmt.Errorf("%w of %s/%s", err, t.key.Namespace, t.key.Name)
	}
	return cc.RoundTrip(req)
}

// reserve gives the connection with a place on it, so that it is not closed before the
// request is sent.
func (t to) reserve() (*http.ClientConn, error) {
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	cc := t.hub.conns[t.key]
	switch {
	case cc == nil || cc.Err() != nil:
		return nil, ErrNoTunnel
	case cc.Reserve() != nil:
		return nil, ErrBusy
	}
	return cc, nil
}
