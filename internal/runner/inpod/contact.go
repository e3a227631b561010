package inpod

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sampan-dev/sampan/internal/harness"
)

const (
	// contactInterval is how often a runner makes sure that it still reaches the
	// API server: a broken watch by itself says nothing.
	contactInterval = time.Minute
	// contactLost is how long a runner goes on without. It is well below the
	// five minutes after which Kubernetes evicts the pods of a node that does
	// not answer, and the operator starts another attempt.
	contactLost = 3 * time.Minute
)

// errCutOff ends a run on a node that is cut off: another runner may soon take over.
var errCutOff = fmt.Errorf("%w: the API server could not be reached for %s", harness.ErrInterrupted, contactLost)

// keepContact cancels the run when the API server was out of reach for too
// long. Any answer is contact, also a refusal, save that of a token that is not
// accepted: such a runner can report nothing, and may have been replaced.
func keepContact(ctx context.Context, ask func(context.Context) error, ticks <-chan time.Time, cancel context.CancelCauseFunc) {
	missed := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		if err := ask(ctx); err == nil || apierrors.ReasonForError(err) != "" && !apierrors.IsUnauthorized(err) {
			missed = 0
		} else if missed++; missed >= int(contactLost/contactInterval) {
			cancel(errCutOff)
			return
		}
	}
}
