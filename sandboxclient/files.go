package sandboxclient

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"

	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

// fileRoute is where a file is, in one segment. The workspace itself has no name there: the
// API server would take "." for a part of the route.
func fileRoute(name string) string {
	if name = path.Clean(name); name == "." {
		name = ""
	}
	return "/files/" + url.PathEscape(name)
}

// ReadFile reads a file of at most maxBytes; a larger one is refused (TooLarge). Paths are
// relative to the workspace.
func (c *Client) ReadFile(ctx context.Context, path string, maxBytes int64) (*File, error) {
	ctx, cancel := context.WithTimeout(ctx, requestDeadline)
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
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if int64(len(data)) > maxBytes {
		return nil, statusOf(&api.Error{Code: TooLarge, Message: path + " is larger than asked for"})
	}
	// Named after what has come: the file may have changed since the header was written.
	info.Size, info.Digest = int64(len(data)), api.DigestOf(data)
	return &File{FileInfo: info, Data: data}, nil
}

// WriteFile writes a file, as a whole or not at all, and makes the folders above it that
// are missing. Where a condition does not hold nothing is written (PreconditionFailed).
func (c *Client) WriteFile(ctx context.Context, path string, data []byte, opts WriteOptions) (*FileInfo, error) {
	info := new(FileInfo)
	if err := c.call(ctx, http.MethodPut, fileRoute(path), api.WriteHeader(opts.IfMatch, opts.IfAbsent, opts.Mode), data, info); err != nil {
		return nil, err
	}
	return info, nil
}

// Remove removes a file, a link or an empty folder. A digest, if it is not empty, must be
// that of the file.
func (c *Client) Remove(ctx context.Context, path, digest string) error {
	h := http.Header{}
	if digest != "" {
		h.Set("If-Match", api.ETag(digest))
	}
	return c.call(ctx, http.MethodDelete, fileRoute(path), h, nil, nil)
}

// List gives the entries of a folder, in the order of names; "." is the workspace.
func (c *Client) List(ctx context.Context, path string, opts ListOptions) (*Folder, error) {
	q := url.Values{"list": {""}, "after": {opts.After}, "limit": {strconv.Itoa(opts.Limit)}}
	out := new(Folder)
	if err := c.call(ctx, http.MethodGet, fileRoute(path)+"?"+q.Encode(), nil, nil, out); err != nil {
		return nil, err
	}
	return out, nil
}
