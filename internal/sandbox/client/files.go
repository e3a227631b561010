package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

// ReadFile implements tool.Executor.
func (c *Client) ReadFile(ctx context.Context, path string, maxBytes int64) (*tool.File, error) {
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, fileRoute(path)+"?max="+strconv.FormatInt(maxBytes, 10), nil, nil)
	if err != nil {
		return nil, err
	}
	defer drain(resp)
	info, err := api.Described(resp.Header)
	if err != nil {
		return nil, err
	}
	if resp.ContentLength > maxBytes {
		return nil, fmt.Errorf("%s: %w", path, tool.ErrTooLarge)
	}
	data, err := readBody(resp, maxBytes)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		// Not a sign that the server is gone; if it is, the next request shows it.
		return nil, fmt.Errorf("%s: it became shorter while it was read", path)
	}
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	if int64(len(data)) > maxBytes {
		return nil, fmt.Errorf("%s: %w", path, tool.ErrTooLarge)
	}
	// Named after what has come: the file may have changed since the header was written.
	info.Size, info.Digest = int64(len(data)), api.DigestOf(data)
	return &tool.File{FileInfo: tool.FileInfo(info), Data: data}, nil
}

// readBody reads a body of at most maxBytes, and one byte more of a longer one.
func readBody(resp *http.Response, maxBytes int64) ([]byte, error) {
	if resp.ContentLength < 0 {
		return io.ReadAll(io.LimitReader(resp.Body, maxBytes+1))
	}
	data := make([]byte, resp.ContentLength)
	_, err := io.ReadFull(resp.Body, data)
	return data, err
}

// WriteFile implements tool.Executor.
func (c *Client) WriteFile(ctx context.Context, path string, data []byte, opts tool.WriteOptions) (*tool.FileInfo, error) {
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	resp, err := c.send(ctx, http.MethodPut, fileRoute(path), api.WriteHeader(opts.IfMatch, opts.IfAbsent, opts.Mode), data)
	if err != nil {
		return nil, err
	}
	defer drain(resp)
	info := new(api.FileInfo)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswerBytes)).Decode(info); err != nil {
		return nil, c.broken(ctx, err)
	}
	return (*tool.FileInfo)(info), nil
}

// Stat implements tool.Executor.
func (c *Client) Stat(ctx context.Context, path string) (*tool.FileInfo, error) {
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	resp, err := c.send(ctx, http.MethodHead, fileRoute(path)+"?stat", nil, nil)
	if err != nil {
		return nil, err
	}
	defer drain(resp)
	info, err := api.Described(resp.Header)
	if err != nil {
		return nil, err
	}
	if info.Size, err = strconv.ParseInt(resp.Header.Get("Content-Length"), 10, 64); err != nil {
		return nil, fmt.Errorf("reading the answer's length: %w", err)
	}
	return (*tool.FileInfo)(&info), nil
}

// Remove implements tool.Executor.
func (c *Client) Remove(ctx context.Context, path string) error {
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	return c.call(ctx, http.MethodDelete, fileRoute(path), nil, nil, nil)
}

// RemoveIf removes a file that still has a digest.
func (c *Client) RemoveIf(ctx context.Context, path, digest string) error {
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	return c.call(ctx, http.MethodDelete, fileRoute(path), http.Header{"If-Match": {api.ETag(digest)}}, nil, nil)
}

// List gives the entries of a folder after a name, in the order of names; a limit of 0
// is the server's own.
func (c *Client) List(ctx context.Context, path, after string, limit int) (*api.List, error) {
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	q := url.Values{"list": {""}, "after": {after}, "limit": {strconv.Itoa(limit)}}
	out := new(api.List)
	return out, c.call(ctx, http.MethodGet, fileRoute(path)+"?"+q.Encode(), nil, nil, out)
}
