package convert

import (
	"errors"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

// ErrNotOwner says that a request did not carry the secret of the client that the
// server obeys.
var ErrNotOwner = errors.New("the sandbox server obeys another client")

// sentinels are the executor's and their codes, one to one. The first that an error
// wraps counts.
var sentinels = []struct {
	err  error
	code api.Code
}{
	{tool.ErrExecutorGone, api.CodeShuttingDown},
	{tool.ErrNotIsolated, api.CodeNotIsolated},
	{tool.ErrOutsideWorkspace, api.CodeOutsideWorkspace},
	{tool.ErrNotFound, api.CodeNotFound},
	{tool.ErrIsDirectory, api.CodeIsDirectory},
	{tool.ErrNotRegular, api.CodeNotRegular},
	{tool.ErrNotEmpty, api.CodeNotEmpty},
	{tool.ErrTooLarge, api.CodeTooLarge},
	{tool.ErrPreconditionFailed, api.CodePreconditionFailed},
	{tool.ErrPermission, api.CodePermissionDenied},
	{tool.ErrNoSpace, api.CodeNoSpace},
	{tool.ErrInvalid, api.CodeInvalid},
	{tool.ErrKilled, api.CodeKilled},
	{tool.ErrIsolated, api.CodeIsolated},
	{tool.ErrTooMany, api.CodeTooMany},
	{tool.ErrEnded, api.CodeEnded},
	{ErrNotOwner, api.CodeNotOwner},
}

// FromError is what a server answers for an error.
func FromError(err error) api.Error {
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return api.Error{Code: s.code, Message: err.Error()}
		}
	}
	return api.Error{Code: api.CodeInternal, Message: err.Error()}
}

// ToError is the error that an answer stands for: the server's words, wrapping the
// sentinel.
func ToError(e api.Error) error {
	for _, s := range sentinels {
		if s.code == e.Code {
			return &remoteError{e.Message, s.err}
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
