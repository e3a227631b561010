package agenttask

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
)

// checkOrigin settles which task it is that this one goes on from, once: a later task of
// that name has another record. One that is still on its way to the turn is waited for;
// otherwise it is the record that says to the runner whether there is a checkpoint.
func (r *Reconciler) checkOrigin(ctx context.Context, s *scope) (bool, error) {
	ref, st := s.task.Spec.From.TaskRef, &s.task.Status
	if ref.Name == "" || st.FromUID != "" {
		return true, nil
	}
	var origin v1alpha1.AgentTask
	err := r.APIReader.Get(ctx, types.NamespacedName{Namespace: s.task.Namespace, Name: ref.Name}, &origin)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return false, fmt.Errorf("reading AgentTask %s: %w", ref.Name, err)
	case ref.UID != "" && string(origin.UID) != ref.UID: // it is gone, and its record may be kept
	case err != nil:
		s.wait(v1alpha1.ReasonOriginNotFound, fmt.Sprintf(
			"spec.from: there is no AgentTask %s in namespace %s; if it was deleted and its record is kept, name it with taskRef.uid, in another task", ref.Name, s.task.Namespace))
		s.requeueWithin(inputInterval)
		return false, nil
	default:
		if what := missingOf(&origin, s.task.Spec.From.Turn); what != "" {
			s.waitTurn(v1alpha1.ReasonOriginNotReady, fmt.Sprintf("spec.from: AgentTask %s has %s", ref.Name, what))
			s.requeueWithin(inputInterval)
			return false, nil
		}
		ref.UID = string(origin.UID)
	}
	st.FromUID = ref.UID
	return true, nil
}

// missingOf says what a task has not yet that another is to go on from, and may still
// come to have.
func missingOf(origin *v1alpha1.AgentTask, turn *int32) string {
	if kit.Finished(origin) || !keepsCheckpoints(origin) {
		return ""
	}
	switch last := origin.Status.Checkpoint.Turn; {
	case last == nil:
		return "no checkpoint yet"
	case turn != nil && *last < *turn:
		return fmt.Sprintf("no checkpoint of turn %d yet; the last one is of turn %d", *turn, *last)
	}
	return ""
}

// keepsCheckpoints tells whether a task has checkpoints of its workspace, as far as that
// is known.
func keepsCheckpoints(t *v1alpha1.AgentTask) bool {
	return t.Spec.Sandbox.SandboxRef.Name == "" && t.Spec.Sandbox.Template.Workspace.Persistence != v1alpha1.WorkspacePersistent &&
		!meta.IsStatusConditionFalse(t.Status.Conditions, v1alpha1.ConditionRecorded)
}
