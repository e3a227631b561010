package api

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Describe puts what is known of a file into the header of an answer.
func Describe(h http.Header, i *FileInfo) {
	h.Set(HeaderPath, url.QueryEscape(i.Path))
	h.Set(HeaderMode, strconv.FormatUint(uint64(i.Mode), 10))
	h.Set(HeaderModTime, i.ModTime.Format(time.RFC3339Nano))
	h.Set("Last-Modified", i.ModTime.Format(http.TimeFormat))
	if i.Digest != "" {
		h.Set("ETag", ETag(i.Digest))
	}
}

// Described reads what Describe wrote; the size is none of it.
func Described(h http.Header) (FileInfo, error) {
	path, errPath := url.QueryUnescape(h.Get(HeaderPath))
	mode, errMode := strconv.ParseUint(h.Get(HeaderMode), 10, 32)
	modTime, errTime := time.Parse(time.RFC3339Nano, h.Get(HeaderModTime))
	if err := errors.Join(errPath, errMode, errTime); err != nil {
		return FileInfo{}, fmt.Errorf("the answer does not describe the file: %w", err)
	}
	return FileInfo{Path: path, Mode: fs.FileMode(mode), ModTime: modTime, Digest: Digest(h.Get("ETag"))}, nil
}

// WriteHeader is that of a PUT of a file: the digest that the file must have, if any;
// whether it must not be there; and the permissions of a new one, 0 for the server's own.
func WriteHeader(ifMatch string, ifAbsent bool, mode fs.FileMode) http.Header {
	h := http.Header{}
	if ifMatch != "" {
		h.Set("If-Match", ETag(ifMatch))
	}
	if ifAbsent {
		h.Set("If-None-Match", "*")
	}
	if mode != 0 {
		h.Set(HeaderMode, strconv.FormatUint(uint64(mode.Perm()), 8))
	}
	return h
}

// Counted reads from the trailers of a backup how many entries it has, and how many
// were skipped.
func Counted(trailers http.Header) (entries, skipped int64, err error) {
	entries, errEntries := strconv.ParseInt(trailers.Get(HeaderEntries), 10, 64)
	skipped, errSkipped := strconv.ParseInt(trailers.Get(HeaderSkipped), 10, 64)
	return entries, skipped, errors.Join(errEntries, errSkipped)
}

// DigestOf is the digest of a file with some content.
func DigestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return FormatDigest(sum[:])
}

// FormatDigest is the digest that a sum of SHA-256 stands for.
func FormatDigest(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }
