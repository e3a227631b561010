package agenttask

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// checkOrigin settles which task it is that this one goes on from, once: a later task of
// that name has another record. Whether there is a checkpoint to go on from, the record
// says to the runner.
func (r *Reconciler) checkOrigin(ctx context.Context, s *scope) (bool, error) {
	ref, st := s.task.Spec.From.TaskRef, &s.task.Status
	if ref.Name == "" || st.FromUID != "" {
		return true, nil
	}
	if ref.UID != "" {
		st.FromUID = ref.UID // it may be gone, and its record kept
		return true, nil
	}
	var origin v1alpha1.AgentTask
	err := r.APIReader.Get(ctx, types.NamespacedName{Namespace: s.task.Namespace, Name: ref.Name}, &origin)
	if apierrors.IsNotFound(err) {
		s.wait(v1alpha1.ReasonOriginNotFound, fmt.Sprintf(
			"spec.from: there is no AgentTask %s in namespace %s; if it was deleted and its record is kept, name it with taskRef.uid, in another task", ref.Name, s.task.Namespace))
		s.requeueWithin(inputInterval)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading AgentTask %s: %w", ref.Name, err)
	}
	st.FromUID = string(origin.UID)
	return true, nil
}
