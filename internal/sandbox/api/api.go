// Package api is what the sandbox server and its client say to each other:
// plain HTTP and JSON under /v1, so that curl is a client, too. Its types are its
// own: what the harness changes in its tools does not change them.
package api

import (
	"net/http"
	"strconv"
	"time"
)

// Protocol is the version of the interface under /v1. It rises when an old
// client could misunderstand a new server.
const Protocol = 3

// Headers of ours. A digest is an ETag, as HTTP wants it: quoted.
const (
	// HeaderMode is a file's type and permissions, as the number of an fs.FileMode;
	// in a PUT, its permissions in octal.
	HeaderMode = "Sampan-Mode"
	// HeaderPath is a file's path in the workspace, query-escaped.
	HeaderPath = "Sampan-Path"
	// HeaderModTime is a file's time of last change, RFC 3339 with nanoseconds.
	HeaderModTime = "Sampan-Mod-Time"
	// HeaderError is an error's code, also where there is no body (HEAD).
	HeaderError = "Sampan-Error"
	// HeaderMessage is an error's text, query-escaped, where there is no body.
	HeaderMessage = "Sampan-Message"
	// HeaderDigest is the digest of an archive: a trailer of GET /v1/backup, without
	// which it is not whole, and in a PUT what must come.
	HeaderDigest = "Sampan-Digest"
	// HeaderEntries and HeaderSkipped are trailers of GET /v1/backup: how many files,
	// folders and links are in it, and how many sockets, fifos and devices are not.
	HeaderEntries = "Sampan-Entries"
	HeaderSkipped = "Sampan-Skipped"
	// HeaderExecID names a command, so that it can be killed from another connection.
	HeaderExecID = "Sampan-Exec-Id"
)

// Status is the answer of GET /v1/status.
type Status struct {
	Protocol      int     `json:"protocol"`
	Workspace     string  `json:"workspace"`
	UptimeSeconds float64 `json:"uptimeSeconds"`
	// WarmSeconds is how long the sandbox has been ready without being used: until
	// its first command or file, or until now.
	WarmSeconds float64 `json:"warmSeconds"`
	// LastActivity is when a command or a request for files last began or ended; a
	// sandbox with processes or streams is not idle, whatever it says.
	LastActivity time.Time `json:"lastActivity"`
	// Processes are the commands that have not ended, Streams counts who follows them.
	Processes []Process `json:"processes"`
	Streams   int64     `json:"streams"`
	// OOMKills counts what the kernel killed in this cgroup for lack of memory.
	OOMKills int64 `json:"oomKills"`
	// MemoryBytes is what the cgroup uses, and MemoryLimitBytes what it may; 0 where
	// that cannot be read, or is not bounded.
	MemoryBytes      int64 `json:"memoryBytes,omitempty"`
	MemoryLimitBytes int64 `json:"memoryLimitBytes,omitempty"`
	// CapacityBytes is the size of the file system that the workspace is on, and
	// AvailableBytes what is left of it.
	CapacityBytes  int64 `json:"capacityBytes"`
	AvailableBytes int64 `json:"availableBytes"`
	// Usage is there when it was asked for.
	Usage *Usage `json:"usage,omitempty"`
}

// Usage is what the workspace takes up. To count it takes a while.
type Usage struct {
	// Bytes are those on the disk. Entries are files, folders and links.
	Bytes   int64 `json:"bytes"`
	Entries int64 `json:"entries"`
	// Incomplete says that there is more than was counted.
	Incomplete bool `json:"incomplete,omitempty"`
}

// Code says what an Error is about.
type Code string

// The codes. Those before CodeNotOwner stand for an error of the sandbox's
// executor, one to one.
const (
	CodeShuttingDown       Code = "shutting_down"
	CodeNotIsolated        Code = "not_isolated"
	CodeOutsideWorkspace   Code = "outside_workspace"
	CodeNotFound           Code = "not_found"
	CodeIsDirectory        Code = "is_directory"
	CodeNotRegular         Code = "not_regular"
	CodeNotEmpty           Code = "not_empty"
	CodeTooLarge           Code = "too_large"
	CodePreconditionFailed Code = "precondition_failed"
	CodePermissionDenied   Code = "permission_denied"
	CodeNoSpace            Code = "no_space"
	CodeInvalid            Code = "invalid"
	CodeKilled             Code = "killed"
	CodeIsolated           Code = "isolated"
	CodeTooMany            Code = "too_many"
	CodeEnded              Code = "ended"
	// CodeNotOwner: the request did not carry the secret of the client that the
	// server obeys.
	CodeNotOwner  Code = "not_owner"
	CodeInternal  Code = "internal"
	CodeCancelled Code = "cancelled"
	CodeRoute     Code = "no_such_route"
)

// statuses are those of the codes.
var statuses = map[Code]int{
	CodeShuttingDown:       http.StatusServiceUnavailable,
	CodeNotIsolated:        http.StatusConflict,
	CodeOutsideWorkspace:   http.StatusForbidden,
	CodeNotFound:           http.StatusNotFound,
	CodeIsDirectory:        http.StatusConflict,
	CodeNotRegular:         http.StatusConflict,
	CodeNotEmpty:           http.StatusConflict,
	CodeTooLarge:           http.StatusRequestEntityTooLarge,
	CodePreconditionFailed: http.StatusPreconditionFailed,
	CodePermissionDenied:   http.StatusForbidden,
	CodeNoSpace:            http.StatusInsufficientStorage,
	CodeInvalid:            http.StatusBadRequest,
	CodeKilled:             http.StatusConflict,
	CodeIsolated:           http.StatusConflict,
	CodeTooMany:            http.StatusTooManyRequests,
	CodeEnded:              http.StatusConflict,
	CodeNotOwner:           http.StatusForbidden,
	CodeCancelled:          http.StatusRequestTimeout,
	CodeRoute:              http.StatusNotFound,
}

// Status is the HTTP status that goes with a code.
func (c Code) Status() int {
	if status, ok := statuses[c]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// Error is the body of every answer that is not a success.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// ETag quotes a digest.
func ETag(digest string) string { return strconv.Quote(digest) }

// Digest takes the quotes off; what is not quoted is given as it is.
func Digest(etag string) string {
	if s, err := strconv.Unquote(etag); err == nil {
		return s
	}
	return etag
}
