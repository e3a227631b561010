// Package client is a tool.Executor in another container: it talks to the
// sandbox server over a unix socket.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/convert"
)

// ErrProtocolMismatch says that the server speaks another version: the sandbox
// image's binary and the runner's are not of one release.
var ErrProtocolMismatch = errors.New("the sandbox server speaks another protocol version")

// ErrNotOwner says that the server obeys another client.
var ErrNotOwner = convert.ErrNotOwner

const (
	// idleTimeout is shorter than the server's, so that we never send on a
	// connection that it is closing.
	idleTimeout = time.Minute
	// maxAnswerBytes bounds any JSON answer. The server bounds what goes into
	// one; this holds also if somebody else has taken its place.
	maxAnswerBytes = 64 << 20
	// fileDeadline bounds every request that runs no command.
	fileDeadline = 2 * time.Minute
	// execMargin is added to a command's own deadline, which the server enforces: it
	// may first have to end what runs.
	execMargin = time.Minute
	// killDeadline bounds the wait for a command that was cancelled to be dead: a server
	// gives up after five seconds.
	killDeadline = 6 * time.Second
	// firstPoll and lastPoll bound the pause between attempts of WaitReady and kill.
	firstPoll = time.Millisecond
	lastPoll  = 20 * time.Millisecond
)

// Client implements tool.Executor. It is safe for concurrent use.
//
// What tools start runs as the server's user, and can put a socket of its own in
// the place of the server's. So the client keeps to the very socket that
// answered first, before any tool could run: a server that is gone is gone.
//
// It makes the server its own by a secret that every request carries: a server
// obeys the first who greets it, and nobody else.
type Client struct {
	socket string
	secret string
	http   *http.Client
	trans  *http.Transport

	mu sync.Mutex
	// address is where to connect: socket or, once that has answered, the pinned one.
	address string
	pinned  bool
	held    *os.File
}

var _ tool.Executor = (*Client)(nil)

// New gives a client for the server at a unix socket. It does not connect.
func New(socketPath string) *Client { return NewWithSecret(socketPath, rand.Text()) }

// NewWithSecret is New for several clients of one server, which it takes for one
// as they have the same secret.
func NewWithSecret(socketPath, secret string) *Client {
	c := &Client{socket: socketPath, address: socketPath, secret: secret}
	var d net.Dialer
	c.trans = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", c.where())
		},
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true,
		WriteBufferSize:     32 << 10,
		ReadBufferSize:      32 << 10,
	}
	c.http = &http.Client{Transport: c.trans,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c
}

// Close drops idle connections and lets go of the socket; nothing can be asked
// of the server after.
func (c *Client) Close() error {
	c.trans.CloseIdleConnections()
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.held
	c.held = nil
	if held == nil {
		return nil
	}
	c.address = "" // the number may soon be another file's
	return held.Close()
}

func (c *Client) where() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.address
}

// keep pins the socket that has answered, the first time.
func (c *Client) keep() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pinned {
		return nil
	}
	name, held, err := pin(c.socket)
	if err != nil {
		return err
	}
	c.address, c.held, c.pinned = name, held, true
	return nil
}

// Answered says whether the server has answered WaitReady.
func (c *Client) Answered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pinned
}

// WaitReady waits until the server answers, and from then on keeps to it.
// Another protocol version is ErrProtocolMismatch at once.
func (c *Client) WaitReady(ctx context.Context) error {
	var err error
	settled := poll(ctx, func() bool {
		err = c.greet(ctx)
		return err == nil || errors.Is(err, ErrProtocolMismatch) || errors.Is(err, ErrNotOwner)
	})
	if !settled {
		// The last attempt's error is told, not wrapped: that the server is gone is not known, only that time is up.
		return fmt.Errorf("waiting for the sandbox server at %s: %w (last: %s)", c.socket, ctx.Err(), err.Error())
	}
	return err
}

// greet asks the server once whether it is there and speaks our protocol, and
// keeps to it.
func (c *Client) greet(ctx context.Context) error {
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if st.Protocol != api.Protocol {
		return fmt.Errorf("%w: it speaks %d, we speak %d", ErrProtocolMismatch, st.Protocol, api.Protocol)
	}
	return c.keep()
}

// poll tries until it is done, with pauses that grow; it is false when ctx ended
// before.
func poll(ctx context.Context, done func() bool) bool {
	pause := firstPoll
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for !done() {
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
		}
		pause = min(2*pause, lastPoll)
	}
	return true
}

// Guests gives what passes on requests of others, as their paths and headers are. The
// server knows that they are not its owner's own.
func (c *Client) Guests() http.RoundTripper { return guests{c} }

type guests struct{ *Client }

// RoundTrip implements http.RoundTripper.
func (g guests) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+g.secret)
	req.Header.Set(api.HeaderGuest, "yes")
	return g.trans.RoundTrip(req)
}

// Status asks the server for its own state.
func (c *Client) Status(ctx context.Context) (*api.Status, error) {
	st := new(api.Status)
	return st, c.call(ctx, http.MethodGet, "/v1/status", nil, nil, st)
}

// Usage asks for the state with what the workspace takes up.
func (c *Client) Usage(ctx context.Context) (*api.Status, error) {
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	st := new(api.Status)
	return st, c.call(ctx, http.MethodGet, "/v1/status?usage", nil, nil, st)
}

// Release ends everything on the server and lets it obey another client; nothing
// can be asked of it after. A server that is gone already is no error.
func (c *Client) Release(ctx context.Context) error {
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	err := c.call(ctx, http.MethodDelete, "/v1/owner", nil, nil, nil)
	if errors.Is(err, tool.ErrExecutorGone) {
		return nil
	}
	return err
}

// Shutdown makes the server kill everything and exit. A server that is gone
// already is no error.
func (c *Client) Shutdown(ctx context.Context) error {
	err := c.call(ctx, http.MethodPost, "/v1/shutdown", nil, nil, nil)
	if errors.Is(err, tool.ErrExecutorGone) {
		return nil
	}
	return err
}

// Exec implements tool.Executor. When ctx ends the command is killed and Exec
// waits until the server says that it is dead.
func (c *Client) Exec(ctx context.Context, req tool.ExecRequest) (*tool.ExecResult, error) {
	body, err := json.Marshal(api.ExecRequest(req))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", tool.ErrInvalid, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	id := rand.Text()
	conn, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	if req.TimeoutSeconds > 0 && req.TimeoutSeconds < 1e6 {
		conn, cancel = patience(conn, time.Duration(req.TimeoutSeconds*float64(time.Second))+execMargin)
		defer cancel()
	}
	defer context.AfterFunc(ctx, func() {
		c.kill(conn, id)
		cancel() // also when the kill was lost: the server sees the connection go
	})()
	if req.Isolated {
		defer c.trans.CloseIdleConnections() // the server has ended them
	}
	res := new(api.ExecResult)
	err = c.call(conn, http.MethodPost, "/v1/exec", http.Header{api.HeaderExecID: {id}}, body, res)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	return (*tool.ExecResult)(res), nil
}

// StopAll implements tool.Executor.
func (c *Client) StopAll(ctx context.Context) error {
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	defer c.trans.CloseIdleConnections() // the server has ended them
	return c.call(ctx, http.MethodDelete, "/v1/processes", nil, nil, nil)
}

// patience bounds the wait for an answer; a server that lets it pass counts as gone.
func patience(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("%w: no answer within %v", tool.ErrExecutorGone, d))
}

// kill ends a command while its request is open, which ctx is for. The request may
// still be on its way, on a connection of its own: a server that does not know
// the command yet is asked again.
func (c *Client) kill(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, killDeadline)
	defer cancel()
	poll(ctx, func() bool {
		err := c.call(ctx, http.MethodDelete, "/v1/processes/"+url.PathEscape(id), nil, nil, nil)
		return !errors.Is(err, tool.ErrNotFound)
	})
}

// ReadLines implements tool.Executor.
func (c *Client) ReadLines(ctx context.Context, path string, r tool.LineRange) (*tool.Lines, error) {
	return post(ctx, c, "/v1/lines", api.LinesRequest{Path: path, LineRange: api.LineRange(r)}, convert.ToLines)
}

// Grep implements tool.Executor.
func (c *Client) Grep(ctx context.Context, req tool.GrepRequest) (*tool.GrepResult, error) {
	return post(ctx, c, "/v1/grep", api.GrepRequest(req), convert.ToGrep)
}

// Glob implements tool.Executor.
func (c *Client) Glob(ctx context.Context, req tool.GlobRequest) (*tool.GlobResult, error) {
	return post(ctx, c, "/v1/glob", api.GlobRequest(req), convert.ToGlob)
}

// post sends a request and gives the answer as the harness has it.
func post[A, R any](ctx context.Context, c *Client, route string, req any, decode func(*A) *R) (*R, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", tool.ErrInvalid, err)
	}
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	res := new(A)
	if err := c.call(ctx, http.MethodPost, route, nil, body, res); err != nil {
		return nil, err
	}
	return decode(res), nil
}

// call sends a request and decodes its JSON answer into out, if there is one.
func (c *Client) call(ctx context.Context, method, route string, h http.Header, body []byte, out any) error {
	resp, err := c.send(ctx, method, route, h, body)
	if err != nil {
		return err
	}
	defer drain(resp)
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswerBytes)).Decode(out); err != nil {
		return c.broken(ctx, err)
	}
	return nil
}

// send gives the response of a success; anything else is an error.
func (c *Client) send(ctx context.Context, method, route string, h http.Header, body []byte) (*http.Response, error) {
	return c.sendFrom(ctx, method, route, h, bytes.NewReader(body))
}

func (c *Client) sendFrom(ctx context.Context, method, route string, h http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://sandbox"+route, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", tool.ErrInvalid, err)
	}
	for k, v := range h {
		req.Header[http.CanonicalHeaderKey(k)] = v
	}
	req.Header.Set("Authorization", "Bearer "+c.secret)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer drain(resp)
	e := api.Error{Code: api.Code(resp.Header.Get(api.HeaderError))}
	if method == http.MethodHead {
		e.Message, _ = url.QueryUnescape(resp.Header.Get(api.HeaderMessage))
	} else if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&e); err != nil {
		e.Message = "answered " + resp.Status
	}
	return nil, convert.ToError(e)
}

// broken names what a failed exchange means: our own ctx has ended, or the
// server is gone.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctxErr := ctx.Err(); ctxErr != nil {
		if cause := context.Cause(ctx); errors.Is(cause, tool.ErrExecutorGone) {
			return cause
		}
		return ctxErr
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // its text repeats a URL that means nothing to people
	}
	return fmt.Errorf("%w: %w", tool.ErrExecutorGone, err)
}

// drain lets the connection be used again.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}

// fileRoute puts a whole path into one segment, so that nothing on the way
// takes "..", "//" or a leading slash for its own.
func fileRoute(path string) string { return "/v1/files/" + url.PathEscape(path) }
