package tunnel

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	firstPause, longestPause = 200 * time.Millisecond, 30 * time.Second
	// steady is how long a connection must have held for the next pause to be a short one.
	steady = time.Minute
	// maxRefusal bounds what is read of an answer that refuses a caller.
	maxRefusal = 4 << 10
)

// Caller keeps a connection to a hub and serves a handler over it.
type Caller struct {
	// URL is what is asked for the connection: https, with the path of the hub.
	URL string
	// TLS trusts the hub.
	TLS *tls.Config
	// Token gives what the request bears. It is asked for each connection.
	Token func() (string, error)
	// Handler answers the hub's requests.
	Handler http.Handler
	// OnState is told nil when there is a connection, and why there is none when there is
	// none. It may be nil.
	OnState func(error)
}

// Run keeps a connection until ctx ends. What fails is tried again, with pauses that
// grow.
func (c *Caller) Run(ctx context.Context) {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = firstPause, longestPause
	for {
		began := time.Now()
		err := c.once(ctx)
		if ctx.Err() != nil {
			return
		}
		c.tell(err)
		if time.Since(began) >= steady {
			pauses.Reset()
		}
		wait := time.NewTimer(pauses.NextBackOff())
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return
		}
	}
}

func (c *Caller) tell(err error) {
	if c.OnState != nil {
		c.OnState(err)
	}
}

// once connects and serves until the connection ends; its error says why.
func (c *Caller) once(ctx context.Context) error {
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	c.tell(nil)
	one := newOnly(conn)
	server := &http.Server{
		Handler: c.Handler, Protocols: onlyHTTP2(), HTTP2: settings(), ReadHeaderTimeout: handshake,
		// The requests' contexts outlive ctx, so that they can come to their ends.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(one) // it ends with the connection, which is no news
	}()
	select {
	case <-served:
		_ = server.Close() // the connection is closed already
		return errors.New("the connection was lost")
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if server.Shutdown(end) != nil { // it tells the hub to send no more
		_ = server.Close()
	}
	<-served
	return ctx.Err()
}

// only is a listener with one connection, which is closed with that.
type only struct {
	net.Conn
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newOnly(conn net.Conn) *only {
	o := &only{Conn: conn, accepted: make(chan net.Conn, 1), closed: make(chan struct{})}
	o.accepted <- &watched{Conn: conn, onClose: func() { _ = o.Close() }}
	return o
}

// Accept implements net.Listener.
func (o *only) Accept() (net.Conn, error) {
	select {
	case conn := <-o.accepted:
		return conn, nil
	case <-o.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (o *only) Close() error {
	o.once.Do(func() { close(o.closed) })
	return nil
}

// Addr implements net.Listener.
func (o *only) Addr() net.Addr { return o.LocalAddr() }

// watched is a connection that tells when it is closed.
type watched struct {
	net.Conn
	onClose func()
}

// Close implements net.Conn.
func (w *watched) Close() error {
	defer w.onClose()
	return w.Conn.Close()
}

// connect gives a connection that the hub has accepted.
func (c *Caller) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("the hub's address: %w", err)
	}
	token, err := c.Token()
	if err != nil {
		return nil, fmt.Errorf("the token: %w", err)
	}
	settings := c.TLS.Clone()
	settings.NextProtos = []string{"http/1.1"}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	conn, err := (&tls.Dialer{Config: settings}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("calling the hub: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	upgraded, err := upgrade(ctx, conn, c.URL, token)
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return upgraded, nil
}

// upgrade makes a connection of HTTP one of a tunnel.
func upgrade(ctx context.Context, conn net.Conn, address, token string) (net.Conn, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", Protocol)
	req.Header.Set("Authorization", "Bearer "+token)
	if err := req.Write(conn); err != nil {
		return nil, fmt.Errorf("asking for a tunnel: %w", err)
	}
	answers := bufio.NewReaderSize(conn, maxRefusal)
	resp, err := http.ReadResponse(answers, req)
	if err != nil {
		return nil, fmt.Errorf("asking for a tunnel: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != Protocol {
		said, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
		return nil, errors.Join(fmt.Errorf("the hub refused the connection: %s: %s", resp.Status, bytes.TrimSpace(said)), err, resp.Body.Close())
	}
	return &begun{Conn: conn, first: answers}, nil
}

// begun is a connection whose first bytes may have been read already.
type begun struct {
	net.Conn
	first *bufio.Reader
}

// Read implements io.Reader.
func (b *begun) Read(p []byte) (int, error) {
	if b.first != nil && b.first.Buffered() > 0 {
		return b.first.Read(p[:min(len(p), b.first.Buffered())])
	}
	b.first = nil
	return b.Conn.Read(p)
}
