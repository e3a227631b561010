// Package kit is what the controllers share: what becomes of an error, of what is in
// the way, and how a status is written.
package kit

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// afterConflict is when to look again at what somebody else has just written.
const afterConflict = 10 * time.Millisecond

// afterNotFound is when to look again after something was not there that a reconcile
// needs: not every such thing is watched.
const afterNotFound = time.Second

// ResultFor turns an error into a result. A conflict or a vanished object means that the
// cache was behind, and is no fault worth a log line. In a namespace that is being
// deleted nothing can be made, and what is reconciled is about to be deleted, too.
// Anything else is an error.
func ResultFor(err error) (ctrl.Result, error) {
	switch {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: afterConflict}, nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return ctrl.Result{}, nil
	case apierrors.IsNotFound(err):
		return ctrl.Result{RequeueAfter: afterNotFound}, nil
	}
	return ctrl.Result{}, err
}

// Stale says that the cache is behind the API server, for objects of a resource of ours.
// It is a conflict, so ResultFor has it tried again.
func Stale(resource string) error {
	return apierrors.NewConflict(v1alpha1.GroupVersion.WithResource(resource).GroupResource(), "", errors.New("cache is behind"))
}
