package server

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections are those that the server has open, and whether each is to end.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]*connection
}

type connection struct {
	active bool
	// ending connections answer the request that they are at, and no other.
	ending bool
}

func newConnections() *connections { return &connections{open: map[net.Conn]*connection{}} }

type connKey struct{}

// remember gives a connection's requests a context that knows it.
func (c *connections) remember(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// changed follows a connection from its beginning to its end.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.open[conn] = &connection{}
	case http.StateActive, http.StateIdle:
		if known := c.open[conn]; known != nil {
			known.active = state == http.StateActive
		}
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
	}
}

// endOthers ends every connection but that of a request: at once, or with the
// answer of the request that it is at. What has been sent and was not read yet
// will not be, and what was sent along with it (file descriptors, too) is gone.
func (c *connections) endOthers(request context.Context) {
	own, _ := request.Value(connKey{}).(net.Conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn, known := range c.open {
		switch {
		case conn == own:
		case known.active:
			known.ending = true
			_ = conn.SetReadDeadline(time.Unix(1, 0)) // a body that does not come must not keep it
		default:
			_ = conn.Close() // changed removes it
		}
	}
}

// ending says whether a request's connection is to end.
func (c *connections) ending(request context.Context) bool {
	conn, _ := request.Value(connKey{}).(net.Conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.open[conn]
	return known != nil && known.ending
}

// farewell says in an answer that the connection ends with it, where it does.
type farewell struct {
	http.ResponseWriter
	ending func() bool
	said   bool
}

// WriteHeader implements http.ResponseWriter.
func (f *farewell) WriteHeader(status int) {
	if f.ending() {
		f.said = true
		f.Header().Set("Connection", "close")
	}
	f.ResponseWriter.WriteHeader(status)
}

// leave ends the connection after an answer that had begun before it was to end, and
// so could not say it: a client must not send its next request there.
func (f *farewell) leave() {
	if f.said || !f.ending() {
		return
	}
	_ = http.NewResponseController(f.ResponseWriter).Flush() // the client has gone; it knows
	panic(http.ErrAbortHandler)
}

// Unwrap is for http.ResponseController.
func (f *farewell) Unwrap() http.ResponseWriter { return f.ResponseWriter }
