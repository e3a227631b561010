// Package api is what the sandbox server and its client say to each other:
// plain HTTP and JSON under /v1, so that curl is a client, too.
package api

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// Protocol is the version of the interface under /v1. It rises when an old
// client could misunderstand a new server.
const Protocol = 2

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
	// HeaderExecID names a command, so that it can be killed from another connection.
	HeaderExecID = "Sampan-Exec-Id"
)

// Status is the answer of GET /v1/status.
type Status struct {
	Protocol      int       `json:"protocol"`
	Workspace     string    `json:"workspace"`
	UptimeSeconds float64   `json:"uptimeSeconds"`
	LastActivity  time.Time `json:"lastActivity"`
	// Processes are the commands that have not ended.
	Processes []Process `json:"processes"`
	// OOMKills counts what the kernel killed in this cgroup for lack of memory.
	OOMKills int64 `json:"oomKills"`
	// MemoryBytes is what the cgroup uses, 0 where that cannot be read.
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
}

// Process is a command that runs.
type Process struct {
	ID      string    `json:"id"`
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Started time.Time `json:"started"`
}

// Error is the body of every answer that is not a success.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// The codes of an Error that stand for no sentinel.
const (
	CodeInternal  = "internal"
	CodeCancelled = "cancelled"
	CodeRoute     = "no_such_route"
)

// ErrNotOwner says that a request did not carry the secret of the client that
// the server obeys.
var ErrNotOwner = errors.New("the sandbox server obeys another client")

// codes maps the Executor's sentinels to the wire, one to one. The first that
// an error wraps counts.
var codes = []struct {
	err    error
	code   string
	status int
}{
	{tool.ErrExecutorGone, "shutting_down", http.StatusServiceUnavailable},
	{tool.ErrNotIsolated, "not_isolated", http.StatusConflict},
	{tool.ErrOutsideWorkspace, "outside_workspace", http.StatusForbidden},
	{tool.ErrNotFound, "not_found", http.StatusNotFound},
	{tool.ErrIsDirectory, "is_directory", http.StatusConflict},
	{tool.ErrNotRegular, "not_regular", http.StatusConflict},
	{tool.ErrNotEmpty, "not_empty", http.StatusConflict},
	{tool.ErrTooLarge, "too_large", http.StatusRequestEntityTooLarge},
	{tool.ErrPreconditionFailed, "precondition_failed", http.StatusPreconditionFailed},
	{tool.ErrPermission, "permission_denied", http.StatusForbidden},
	{tool.ErrNoSpace, "no_space", http.StatusInsufficientStorage},
	{tool.ErrInvalid, "invalid", http.StatusBadRequest},
	{tool.ErrKilled, "killed", http.StatusConflict},
	{tool.ErrIsolated, "isolated", http.StatusConflict},
	{ErrNotOwner, "not_owner", http.StatusForbidden},
}

// CodeOf gives an error's code and HTTP status.
func CodeOf(err error) (code string, status int) {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code, c.status
		}
	}
	return CodeInternal, http.StatusInternalServerError
}

// Err is the error that an answer stands for: the server's words, wrapping the sentinel.
func (e Error) Err() error {
	for _, c := range codes {
		if c.code == e.Code {
			return &remoteError{e.Message, c.err}
		}
	}
	return &remoteError{"sandbox: " + e.Message, nil}
}

// remoteError has the server's text and wraps the sentinel without repeating it.
type remoteError struct {
	text     string
	sentinel error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.sentinel }

// ETag quotes a digest.
func ETag(digest string) string { return strconv.Quote(digest) }

// Digest takes the quotes off; what is not quoted is given as it is.
func Digest(etag string) string {
	if s, err := strconv.Unquote(etag); err == nil {
		return s
	}
	return etag
}

// LinesRequest is the body of POST /v1/lines.
type LinesRequest struct {
	Path string `json:"path"`
	tool.LineRange
}
