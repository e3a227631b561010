package sandboxclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

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
	info, err := fileInfo(resp.Header)
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
	info.Size, info.Digest = int64(len(data)), digest(data)
	return &File{FileInfo: info, Data: data}, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func fileInfo(h http.Header) (FileInfo, error) {
	path, errPath := url.QueryUnescape(h.Get(api.HeaderPath))
	mode, errMode := strconv.ParseUint(h.Get(api.HeaderMode), 10, 32)
	modTime, errTime := time.Parse(time.RFC3339Nano, h.Get(api.HeaderModTime))
	if err := errors.Join(errPath, errMode, errTime); err != nil {
		return FileInfo{}, fmt.Errorf("the answer does not describe the file: %w", err)
	}
	return FileInfo{Path: path, Mode: fs.FileMode(mode), ModTime: modTime}, nil
}

// WriteFile writes a file, as a whole or not at all, and makes the folders above it that
// are missing. Where a condition does not hold nothing is written (PreconditionFailed).
func (c *Client) WriteFile(ctx context.Context, path string, data []byte, opts WriteOptions) (*FileInfo, error) {
	h := http.Header{}
	if opts.IfMatch != "" {
		h.Set("If-Match", api.ETag(opts.IfMatch))
	}
	if opts.IfAbsent {
		h.Set("If-None-Match", "*")
	}
	if opts.Mode != 0 {
		h.Set(api.HeaderMode, strconv.FormatUint(uint64(opts.Mode.Perm()), 8))
	}
	info := new(FileInfo)
	if err := c.call(ctx, http.MethodPut, fileRoute(path), h, data, info); err != nil {
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
