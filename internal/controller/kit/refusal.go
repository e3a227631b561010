package kit

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Refusal is an answer of the API server that is not what was asked for: its own,
// or that of a policy or a webhook that it has asked.
type Refusal struct {
	// Quota says that a ResourceQuota leaves no room.
	Quota bool
	// Lasting says that somebody has to change something before the same request
	// can be accepted. The others pass: the server is overloaded, away, or in the
	// middle of something.
	Lasting bool
	// Message is the server's, without the wrapping of our own call.
	Message string
}

// RefusalOf reads an error as a refusal, of whatever status code. It is nil for an
// error that is none: the server could not be reached, or the namespace is being
// deleted, which is no fault of the object.
func RefusalOf(err error) *Refusal {
	var status apierrors.APIStatus
	switch {
	case err == nil, apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause), apierrors.IsUnauthorized(err):
		return nil
	case errors.As(err, &status):
		return refusalOf(err, status.Status())
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return &Refusal{Message: "The API server did not answer in time"}
	}
	return nil
}

func refusalOf(err error, status metav1.Status) *Refusal {
	r := &Refusal{Message: status.Message}
	if r.Message == "" {
		r.Message = "The API server answered " + http.StatusText(int(status.Code))
	}
	// The words are those of the quota admission plugin; there is no other sign.
	r.Quota = apierrors.IsForbidden(err) && strings.Contains(status.Message, "exceeded quota")
	switch code := int(status.Code); {
	case r.Quota, code == http.StatusConflict, code == http.StatusTooManyRequests, code >= http.StatusInternalServerError:
	default:
		r.Lasting = true
	}
	return r
}

const (
	minPause      = 5 * time.Second
	maxPause      = 5 * time.Minute
	maxQuotaPause = 30 * time.Second
)

// Pause is how long to wait before what is refused since then is tried again: as
// long as it has been refused already, so that the pauses double, within bounds.
// Room in a quota comes and goes, so it is looked for more often.
func (r *Refusal) Pause(since, now time.Time) time.Duration {
	pause := Pause(since, now)
	if r.Quota {
		pause = min(pause, maxQuotaPause)
	}
	return pause
}

// Pause is how long to wait after what has failed now, and fails since then: as long as
// it has failed already, within bounds.
func Pause(since, now time.Time) time.Duration {
	return min(max(now.Sub(since), minPause), maxPause)
}
