package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/sampan-dev/sampan/internal/record/wire"
)

func problemOf(err error) wire.Problem {
	var no *refused
	switch {
	case errors.As(err, &no):
		return no.Problem
	case errors.Is(err, context.DeadlineExceeded):
		return wire.Problem{Code: wire.CodeUnavailable, Message: err.Error()}
	}
	return wire.ProblemOf(err)
}

func answerProblem(w http.ResponseWriter, p wire.Problem) {
	if p.Code == wire.CodeUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	// A client that does not get it asks again.
	_ = answerJSON(w, p.Status(), p)
}

func answerJSON(w http.ResponseWriter, status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	w.Header().Set("Content-Type", wire.JSON)
	w.WriteHeader(status)
	_, err = w.Write(data)
	return err
}

// begun knows whether an answer has begun.
type begun struct {
	http.ResponseWriter
	begun bool
}

// WriteHeader implements http.ResponseWriter.
func (b *begun) WriteHeader(status int) {
	b.begun = true
	b.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (b *begun) Write(p []byte) (int, error) {
	b.begun = true
	return b.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (b *begun) Unwrap() http.ResponseWriter { return b.ResponseWriter }
