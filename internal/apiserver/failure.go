package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/internal/record"
)

// retryAfterSeconds is when to ask again after trouble with the store.
const retryAfterSeconds = 5

// asStatus makes of a store's error what people get.
func asStatus(err error) error {
	var status apierrors.APIStatus
	var corrupt *record.CorruptError
	switch {
	case errors.Is(err, record.ErrUnavailable): // whatever the API server has said to this one
		return failure(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, err, retryAfterSeconds)
	case errors.As(err, &status):
		return err
	case errors.As(err, &corrupt):
		return failure(http.StatusInternalServerError, metav1.StatusReasonInternalError, err, 0)
	case errors.Is(err, record.ErrNotFound):
		return failure(http.StatusNotFound, metav1.StatusReasonNotFound, err, 0)
	case errors.Is(err, context.DeadlineExceeded):
		return failure(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, err, retryAfterSeconds)
	}
	return apierrors.NewInternalError(err)
}

func failure(code int32, reason metav1.StatusReason, err error, retryAfter int32) error {
	status := metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: err.Error()}
	if retryAfter > 0 {
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: retryAfter}
	}
	return &apierrors.StatusError{ErrStatus: status}
}

func notFound(format string, args ...any) error {
	return failure(http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Errorf(format, args...), 0)
}
