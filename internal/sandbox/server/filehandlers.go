package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

func (h *Handler) files(w http.ResponseWriter, r *http.Request) {
	escaped := strings.TrimPrefix(r.URL.EscapedPath(), api.FilesPrefix)
	p, err := url.PathUnescape(escaped)
	if err != nil {
		writeError(w, r, fmt.Errorf("%w: path %q: %w", tool.ErrInvalid, escaped, err))
		return
	}
	switch r.Method {
	case http.MethodGet:
		if r.URL.Query().Has("list") {
			err = h.listFiles(w, r, p)
		} else {
			err = h.getFile(w, r, p)
		}
	case http.MethodHead:
		err = h.headFile(w, r, p)
	case http.MethodPut:
		err = h.putFile(w, r, p)
	case http.MethodDelete:
		if err = h.engine.RemoveIf(r.Context(), p, api.Digest(r.Header.Get("If-Match"))); err == nil {
			w.WriteHeader(http.StatusNoContent)
		}
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT, DELETE")
		writeCode(w, r, http.StatusMethodNotAllowed, api.Error{Code: api.CodeRoute, Message: r.Method + ": no such method for files"})
	}
	if err != nil {
		writeError(w, r, err)
	}
}

// getFile gives a file's bytes, or the Range of them that is asked for; with
// ?max=N a longer file is refused.
func (h *Handler) getFile(w http.ResponseWriter, r *http.Request, p string) error {
	limit := h.opts.MaxFileBytes
	if q := r.URL.Query().Get("max"); q != "" {
		n, err := strconv.ParseInt(q, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%w: max=%s is no count of bytes", tool.ErrInvalid, q)
		}
		limit = min(limit, n)
	}
	f, info, err := h.engine.Open(r.Context(), p, limit)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	api.Describe(w.Header(), (*api.FileInfo)(info))
	w.Header().Set("Content-Type", "application/octet-stream")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerDeadline))
	http.ServeContent(coded{w}, r, "", info.ModTime, io.NewSectionReader(f, 0, info.Size))
	return nil
}

// coded gives the refusals of http.ServeContent our codes.
type coded struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (c coded) WriteHeader(status int) {
	switch status {
	case http.StatusPreconditionFailed:
		c.Header().Set(api.HeaderError, string(api.CodePreconditionFailed))
	case http.StatusRequestedRangeNotSatisfiable:
		c.Header().Set(api.HeaderError, string(api.CodeInvalid))
	}
	c.ResponseWriter.WriteHeader(status)
}

// headFile describes a path; with ?stat it does so without reading a file for its digest.
func (h *Handler) headFile(w http.ResponseWriter, r *http.Request, p string) error {
	info, err := h.engine.Stat(r.Context(), p)
	if err != nil {
		return err
	}
	if info.Mode.IsRegular() && info.Size <= h.opts.MaxFileBytes && !r.URL.Query().Has("stat") {
		f, read, err := h.engine.Open(r.Context(), p, h.opts.MaxFileBytes)
		if err != nil {
			return err
		}
		_ = f.Close()
		info = read
	}
	api.Describe(w.Header(), (*api.FileInfo)(info))
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
	return nil
}

// listFiles lists a folder: ?list, with &after=NAME and &limit=N.
func (h *Handler) listFiles(w http.ResponseWriter, r *http.Request, p string) error {
	q := r.URL.Query()
	limit := 0
	if s := q.Get("limit"); s != "" {
		var err error
		if limit, err = strconv.Atoi(s); err != nil {
			return fmt.Errorf("%w: limit=%q is no number", tool.ErrInvalid, s)
		}
	}
	rel, entries, more, err := h.engine.List(r.Context(), p, q.Get("after"), limit)
	if err != nil {
		return err
	}
	list := api.List{Path: rel, Entries: make([]api.Entry, len(entries)), More: more}
	for i, e := range entries {
		list.Entries[i] = api.Entry{Name: e.Name, Size: e.Info.Size(), Mode: e.Info.Mode(), ModTime: e.Info.ModTime().UTC(), Target: e.Target}
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

func (h *Handler) putFile(w http.ResponseWriter, r *http.Request, p string) error {
	opts := tool.WriteOptions{IfMatch: api.Digest(r.Header.Get("If-Match"))}
	switch r.Header.Get("If-None-Match") {
	case "":
	case "*":
		opts.IfAbsent = true
	default:
		return fmt.Errorf("%w: If-None-Match must be *", tool.ErrInvalid)
	}
	if m := r.Header.Get(api.HeaderMode); m != "" {
		n, err := strconv.ParseUint(m, 8, 32)
		if err != nil || n > 0o777 {
			return fmt.Errorf("%w: %s %q is not an octal mode up to 777", tool.ErrInvalid, api.HeaderMode, m)
		}
		opts.Mode = fs.FileMode(n)
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyDeadline))
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	if r.ContentLength > h.opts.MaxFileBytes {
		return fmt.Errorf("%s: %w: %d bytes, the limit is %d", p, tool.ErrTooLarge, r.ContentLength, h.opts.MaxFileBytes)
	}
	info, err := h.engine.WriteFrom(r.Context(), p, &bodyReader{r: http.MaxBytesReader(w, r.Body, h.opts.MaxFileBytes)}, opts)
	if err != nil {
		return err
	}
	api.Describe(w.Header(), (*api.FileInfo)(info))
	writeJSON(w, http.StatusOK, (*api.FileInfo)(info))
	return nil
}

// bodyReader gives a body's errors the Executor's words.
type bodyReader struct{ r io.Reader }

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = bodyError(err)
	}
	return n, err
}
