// Package client is a record on a server, for the runner of its task.
package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
)

const (
	// requestDeadline bounds a request, and each part of a log; a body has a second
	// more for each slowest bytes of it.
	requestDeadline = 30 * time.Second
	slowest         = 1 << 20
	dialDeadline    = 5 * time.Second
	// idleTimeout is shorter than a server's, so that nothing is sent on a connection
	// that is being closed.
	idleTimeout = time.Minute
	// maxProblem bounds the body of an answer that is none.
	maxProblem = 64 << 10
	// connections are kept open: as many as snapshots store chunks at a time, and some.
	connections = 8
)

// Config says where the record of a task is.
type Config struct {
	// URL is the server's: https, a host, perhaps a port.
	URL string
	// CA are PEM certificates; no other authority is trusted.
	CA []byte
	// TokenFile has the token. It is read for each request, since it is replaced before
	// it runs out.
	TokenFile string
	// Namespace, Task and UID are the task's. Of a named Sandbox they are the namespace,
	// Sandbox in place of Task, and the UID.
	Namespace, Task, Sandbox, UID string
	// OnWait is called with an error when the first of the calls waits for the server,
	// and OnGoOn when the last of them does so no more, in turns. Both may be nil, and
	// must not call the client.
	OnWait func(error)
	OnGoOn func()
}

// Client is a record.Recorder. A call that the server cannot take now is repeated
// until its context ends; then its error is the context's and record.ErrUnavailable.
type Client struct {
	config Config
	task   string
	http   *http.Client

	mu sync.Mutex
	// waiting counts the calls that the server has refused.
	waiting int
}

var _ record.Recorder = (*Client)(nil)

// New gives the record of a task. It does not connect.
func New(config Config) (*Client, error) {
	u, err := url.Parse(config.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("the record is at %q, which is not https and a host alone", config.URL)
	}
	name, path := config.Task, wire.TaskPath
	if config.Sandbox != "" {
		name, path = config.Sandbox, wire.SandboxPath
	}
	for _, part := range []string{config.Namespace, name, config.UID} {
		if !segment(part) {
			return nil, fmt.Errorf("nothing that is recorded has the namespace %q, the name %q and the UID %q", config.Namespace, name, config.UID)
		}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(config.CA) {
		return nil, errors.New("the CA of the record's server has no certificate in PEM")
	}
	return &Client{
		config: config,
		task:   strings.TrimSuffix(config.URL, "/") + path(config.Namespace, name, config.UID),
		http: &http.Client{
			// The token is for this server only, so no proxy is asked and no redirect followed.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				DialContext:         (&net.Dialer{Timeout: dialDeadline}).DialContext,
				TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13},
				TLSHandshakeTimeout: dialDeadline,
				MaxIdleConnsPerHost: connections,
				IdleConnTimeout:     idleTimeout,
				DisableCompression:  true,
				WriteBufferSize:     64 << 10,
				ReadBufferSize:      64 << 10,
			},
		},
	}, nil
}

// segment tells whether a text may be a part of a path.
func segment(s string) bool { return s != "" && s != "." && s != ".." }

// Close drops the connections that no call uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Append implements record.Recorder.
func (c *Client) Append(ctx context.Context, first int64, lines []byte) error {
	if len(lines) > record.MaxAppend {
		return fmt.Errorf("%d bytes are to be appended, and %d may be at once", len(lines), record.MaxAppend)
	}
	r := request{method: http.MethodPost, path: wire.Log + "?" + wire.First + "=" + strconv.FormatInt(first, 10), mediaType: wire.Lines, body: lines}
	return c.send(ctx, r)
}

// Missing implements record.Recorder.
func (c *Client) Missing(ctx context.Context, chunks []record.Digest) ([]record.Digest, error) {
	var missing []record.Digest
	for some := range slices.Chunk(chunks, wire.MaxMissing) {
		var answer wire.Missing
		body, err := json.Marshal(wire.Missing{Chunks: some})
		if err != nil {
			return nil, err
		}
		r := request{method: http.MethodPost, path: wire.ChunksMissing, mediaType: wire.JSON, body: body}
		if err := c.get(ctx, r, &answer); err != nil {
			return nil, err
		}
		asked := map[record.Digest]bool{}
		for _, d := range some {
			asked[d] = true
		}
		for _, d := range answer.Chunks {
			if !asked[d] {
				return nil, fmt.Errorf("the server of the record misses %q, which it was not asked for", d)
			}
		}
		missing = append(missing, answer.Chunks...)
	}
	return missing, nil
}

// PutChunk implements record.Recorder.
func (c *Client) PutChunk(ctx context.Context, d record.Digest, data []byte) error {
	if len(data) > record.MaxChunk {
		return fmt.Errorf("a chunk has %d bytes, and may have %d", len(data), record.MaxChunk)
	}
	if got := digestOf(data); got != d {
		return fmt.Errorf("a chunk was to be stored as %q, and is %s", d, got)
	}
	return c.send(ctx, request{method: http.MethodPut, path: wire.ChunkPath(d), mediaType: wire.Content, body: data})
}

// Chunk implements record.Recorder.
func (c *Client) Chunk(ctx context.Context, d record.Digest) ([]byte, error) {
	if !segment(string(d)) {
		return nil, fmt.Errorf("%w: no chunk is %q", record.ErrNotFound, d)
	}
	data, err := c.call(ctx, request{method: http.MethodGet, path: wire.ChunkPath(d), most: record.MaxChunk})
	if err != nil {
		return nil, err
	}
	if got := digestOf(data); got != d {
		return nil, &record.CorruptError{Object: "the chunk " + string(d), Reason: "the server sent another content, " + string(got)}
	}
	return data, nil
}

// Commit implements record.Recorder.
func (c *Client) Commit(ctx context.Context, checkpoint record.Checkpoint) error {
	return c.put(ctx, wire.CheckpointPath(checkpoint.Turn), checkpoint)
}

// Latest implements record.Recorder.
func (c *Client) Latest(ctx context.Context) (record.Checkpoint, error) {
	var checkpoint record.Checkpoint
	err := c.get(ctx, request{method: http.MethodGet, path: wire.LatestCheckpoint}, &checkpoint)
	return checkpoint, err
}

// PutOutput implements record.Recorder.
func (c *Client) PutOutput(ctx context.Context, o record.Output) error {
	if !segment(o.Name) {
		return fmt.Errorf("an output cannot have the name %q", o.Name)
	}
	return c.put(ctx, wire.OutputPath(o.Name), o)
}

// Outputs implements record.Recorder.
func (c *Client) Outputs(ctx context.Context) ([]record.Output, error) {
	var list wire.OutputList
	err := c.get(ctx, request{method: http.MethodGet, path: wire.Outputs}, &list)
	return list.Items, err
}

// put sends JSON.
func (c *Client) put(ctx context.Context, path string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if len(body) > wire.MaxJSON {
		return fmt.Errorf("%d bytes are to be sent to the record, of which %d may be", len(body), wire.MaxJSON)
	}
	return c.send(ctx, request{method: http.MethodPut, path: path, mediaType: wire.JSON, body: body})
}

func (c *Client) send(ctx context.Context, r request) error {
	_, err := c.call(ctx, r)
	return err
}

// get makes a request whose answer is JSON.
func (c *Client) get(ctx context.Context, r request, answer any) error {
	r.most = wire.MaxJSON
	data, err := c.call(ctx, r)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(answer); err != nil {
		return fmt.Errorf("the server of the record gives no JSON for %s: %w", r, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the server of the record gives more than one answer for %s", r)
	}
	return nil
}

func digestOf(data []byte) record.Digest {
	sum := sha256.Sum256(data)
	return record.Digest("sha256:" + hex.EncodeToString(sum[:]))
}
