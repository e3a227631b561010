package sandbox

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// countsIdle reports whether the times without a task count: not while a task
// holds the Sandbox, nor for one that was made for an attempt.
func countsIdle(sb *v1alpha1.Sandbox) bool {
	return sb.Status.TaskRef.Name == "" && podapi.OwnerTask(sb) == nil
}

// noteActivity keeps when the spec last changed, which costs no write of its own:
// each change of the spec has one. A task that claims or releases the Sandbox
// notes it itself, and the runner that it is used from outside.
func (s *scope) noteActivity() {
	st := &s.sandbox.Status
	if st.ObservedGeneration != s.sandbox.Generation || st.LastActivityTime == nil {
		st.LastActivityTime = new(metav1.NewTime(s.facts.now).Rfc3339Copy())
	}
}

// idleFor reports whether the Sandbox has had no task, and was not used from outside, for
// so many seconds; 0 is never.
func (s *scope) idleFor(seconds int32) bool {
	st := s.before.Status
	if seconds == 0 || !countsIdle(s.sandbox) || st.ObservedGeneration != s.sandbox.Generation || st.LastActivityTime == nil {
		return false
	}
	return s.facts.now.Sub(st.LastActivityTime.Time) >= time.Duration(seconds)*time.Second
}

// requeueForIdle asks for a look when one of the times without a task is up.
func (s *scope) requeueForIdle() {
	if !countsIdle(s.sandbox) {
		return
	}
	for _, seconds := range []int32{s.sandbox.Spec.IdleSeconds, s.sandbox.Spec.TTLSeconds} {
		left := s.sandbox.Status.LastActivityTime.Add(time.Duration(seconds) * time.Second).Sub(s.facts.now)
		if seconds > 0 && left > 0 && (s.requeue == 0 || left < s.requeue) {
			s.requeue = left
		}
	}
}

// stopIdle deletes the pod of an idle Sandbox. That it is idle is written first:
// from then on no task claims it before its pod is gone (agenttask.unusable), so
// no pod is deleted under a task.
func (r *Reconciler) stopIdle(ctx context.Context, s *scope) error {
	s.facts.idle = true
	said := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ConditionReady)
	if said == nil || said.Reason != v1alpha1.ReasonIdle && !suspending(s.before) {
		s.event(corev1.EventTypeNormal, v1alpha1.ReasonIdle, "Stop", "It was not used for %d seconds; the next task gets a new pod", s.sandbox.Spec.IdleSeconds)
		return nil // the write brings the next reconcile
	}
	if err := r.confirm(ctx, s); err != nil {
		return err
	}
	return r.putAside(ctx, s, v1alpha1.ReasonIdle)
}

// expire deletes a Sandbox that nobody has used for its ttlSeconds. A claim
// that came first changed the resourceVersion.
func (r *Reconciler) expire(ctx context.Context, s *scope) (ctrl.Result, error) {
	err := r.Delete(ctx, s.sandbox, client.Preconditions{UID: &s.sandbox.UID, ResourceVersion: &s.sandbox.ResourceVersion})
	if err == nil {
		logf.FromContext(ctx).Info("Deleted Sandbox after its TTL")
	}
	return kit.ResultFor(err)
}
