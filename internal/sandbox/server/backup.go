package server

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/engine"
)

// archiveType is the media type of an archive.
const archiveType = "application/zstd"

// Drained of a body that was refused is so much, for so long, so that its client reads
// the answer instead of failing to send.
const (
	drainBytes    = 64 << 20
	drainDeadline = 5 * time.Second
)

// backup sends the workspace. Whether it came whole is said by the trailers.
func (h *Handler) backup(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", archiveType)
	w.Header().Set("Trailer", api.HeaderDigest+", "+api.HeaderEntries+", "+api.HeaderSkipped)
	to := &download{w: w, rc: http.NewResponseController(w), hash: sha256.New()}
	sum, err := h.engine.Backup(r.Context(), to)
	if err == nil {
		// A short answer would get its length by HTTP/2, and lose its trailers where a proxy
		// passes that on by HTTP/1.1.
		err = to.rc.Flush()
	}
	switch {
	case err == nil:
		w.Header().Set(api.HeaderDigest, digestOf(to.hash))
		w.Header().Set(api.HeaderEntries, strconv.FormatInt(sum.Entries, 10))
		w.Header().Set(api.HeaderSkipped, strconv.FormatInt(sum.Skipped, 10))
	case to.begun:
		h.opts.Log.Warn("Broke off a backup", "error", err)
		panic(http.ErrAbortHandler) // so that it does not look whole
	default:
		w.Header().Del("Trailer")
		writeError(w, r, err)
	}
}

func digestOf(h hash.Hash) string { return api.FormatDigest(h.Sum(nil)) }

// download counts on a client that takes what is sent.
type download struct {
	w     io.Writer
	rc    *http.ResponseController
	hash  hash.Hash
	begun bool
}

// Write implements io.Writer.
func (d *download) Write(p []byte) (int, error) {
	d.begun = true
	_, _ = d.hash.Write(p) // it never fails
	_ = d.rc.SetWriteDeadline(time.Now().Add(streamDeadline))
	return d.w.Write(p)
}

// upload counts on a client that sends what is read.
type upload struct {
	r    io.Reader
	rc   *http.ResponseController
	hash hash.Hash
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	_ = u.rc.SetReadDeadline(time.Now().Add(streamDeadline))
	n, err := u.r.Read(p)
	_, _ = u.hash.Write(p[:n]) // it never fails
	return n, err
}

// restore replaces the workspace's content: it is read beside other requests, and put in
// place when all have ended.
func (h *Handler) restore(w http.ResponseWriter, r *http.Request) {
	var staged *engine.Staged
	var digest string
	h.entering(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if staged, digest, err = h.stage(w, r); err != nil {
			drain(w, r)
			writeError(w, r, err)
		}
	})(w, r)
	if staged == nil {
		return
	}
	defer staged.Close()
	if err := staged.Commit(r.Context()); err != nil {
		writeError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, api.Restored{Digest: digest, Entries: staged.Summary.Entries, Bytes: staged.Summary.Bytes})
}

func (h *Handler) stage(w http.ResponseWriter, r *http.Request) (*engine.Staged, string, error) {
	rc := http.NewResponseController(w)
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	body := &upload{r: &bodyReader{r: r.Body}, rc: rc, hash: sha256.New()}
	staged, err := h.engine.Stage(r.Context(), body)
	if err != nil {
		return nil, "", err
	}
	digest := digestOf(body.hash)
	if want := r.Header.Get(api.HeaderDigest); want != "" && want != digest {
		staged.Close()
		return nil, "", fmt.Errorf("%w: the archive has the digest %s, not %s", tool.ErrPreconditionFailed, digest, want)
	}
	return staged, digest, nil
}

// drain reads the rest of a body.
func drain(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainDeadline))
	_, _ = io.CopyN(io.Discard, r.Body, drainBytes) // what comes after that meets a closed connection
}
