package wire

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/sampan-dev/sampan/internal/record"
)

// Code says what kind a Problem is.
type Code string

// The codes, with what they are on the client's side.
const (
	// CodeNotFound is record.ErrNotFound.
	CodeNotFound Code = "NotFound"
	// CodeFenced is record.ErrFenced: also that the task is gone, has ended, or that
	// its pod is another one.
	CodeFenced Code = "Fenced"
	// CodeUnavailable is record.ErrUnavailable. The Retry-After header says when to
	// ask again, in seconds.
	CodeUnavailable Code = "Unavailable"
	// CodeCorrupt is a record.CorruptError.
	CodeCorrupt Code = "Corrupt"
	// CodeInvalid says what is wrong with the request. Repeating it does not help.
	CodeInvalid Code = "Invalid"
	// CodeTooLarge says that the body is above its bound.
	CodeTooLarge Code = "TooLarge"
	// CodeUnauthorized says that the token is none of this audience, or has run out.
	CodeUnauthorized Code = "Unauthorized"
	// CodeForbidden says that the token is not that of a runner of the namespace.
	CodeForbidden Code = "Forbidden"
)

// Problem is the body of an answer that is none.
type Problem struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	// Object and Reason are those of a record.CorruptError.
	Object string `json:"object,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// ProblemOf is what a Recorder's error becomes on the wire. An error that is none of
// package record's says what was wrong with the arguments.
func ProblemOf(err error) Problem {
	p := Problem{Code: CodeInvalid, Message: err.Error()}
	var corrupt *record.CorruptError
	switch {
	case errors.As(err, &corrupt):
		p.Code, p.Object, p.Reason = CodeCorrupt, corrupt.Object, corrupt.Reason
	case errors.Is(err, record.ErrNotFound):
		p.Code = CodeNotFound
	case errors.Is(err, record.ErrFenced):
		p.Code = CodeFenced
	case errors.Is(err, record.ErrUnavailable):
		p.Code = CodeUnavailable
	}
	return p
}

// Status is the HTTP status of the problem.
func (p Problem) Status() int {
	switch p.Code {
	case CodeNotFound:
		return http.StatusNotFound
	case CodeFenced:
		return http.StatusConflict
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	case CodeCorrupt:
		return http.StatusInternalServerError
	case CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case CodeUnauthorized:
		return http.StatusUnauthorized
	case CodeForbidden:
		return http.StatusForbidden
	case CodeInvalid:
	}
	return http.StatusBadRequest
}

// Err is the error that a Recorder gives for the problem.
func (p Problem) Err() error {
	switch p.Code {
	case CodeNotFound:
		return fmt.Errorf("%w: %s", record.ErrNotFound, p.Message)
	case CodeFenced:
		return fmt.Errorf("%w: %s", record.ErrFenced, p.Message)
	case CodeUnavailable:
		return fmt.Errorf("%w: %s", record.ErrUnavailable, p.Message)
	case CodeCorrupt:
		return &record.CorruptError{Object: p.Object, Reason: p.Reason}
	case CodeInvalid, CodeTooLarge, CodeUnauthorized, CodeForbidden:
	}
	return fmt.Errorf("the server of the record answers %s: %s", p.Code, p.Message)
}
