package sandboxpool

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/controller/warm"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/text"
)

// maxMessage keeps a condition's message short.
const maxMessage = 512

// steadyFor is how long the Sandboxes of a pool have to be ready after one has failed,
// until the pool is ready: one that fails as soon as it is ready makes it so again and again.
const steadyFor = 30 * time.Second

// check looks for what would keep every Sandbox of the pool from starting, so that it is
// told once and not by each of them. It gives the hash of the surroundings.
func (r *Reconciler) check(ctx context.Context, s *scope) (string, error) {
	refusal, err := r.Policy.Registry(ctx, r, s.pool.Namespace)
	if err == nil && refusal == nil {
		refusal, err = r.Policy.Template(ctx, &s.pool.Spec.Template, s.pool.Namespace, "spec.template")
	}
	if err != nil {
		return "", err
	}
	if refusal != nil {
		s.problem = &problem{reason: refusal.Reason, message: refusal.Message}
		s.requeueWithin(problemInterval)
		return "", nil
	}
	surroundings, err := r.Surroundings.Hash(ctx, r, s.pool.Namespace)
	if reason := modelregistry.Reason(err); reason != "" {
		s.problem = &problem{reason: reason, message: err.Error()}
		s.requeueWithin(problemInterval)
		return "", nil
	}
	return surroundings, err
}

// state is what a pool's conditions say.
type state struct {
	reason, message string
	ready, stalled  bool
}

// stateOf turns what was seen into what is said.
func (s *scope) stateOf() state {
	w, p := s.wanted, s.plan
	full := p.ready >= w.replicas && p.updated >= w.replicas && s.waiting == w.replicas
	failure := s.lastFailure()
	switch child := p.stalled; {
	case s.problem != nil:
		return state{reason: s.problem.reason, message: s.problem.message, stalled: !s.problem.passing}
	case failure != nil && child == nil && (!full || s.now.Sub(p.readySince) < steadyFor):
		s.requeueWithin(steadyFor)
		return state{reason: failure.Reason, message: failure.Message, stalled: true}
	case full:
		return state{reason: v1alpha1.ReasonReady, message: fmt.Sprintf("%d of %d Sandboxes are ready to be claimed", p.ready, w.replicas), ready: true}
	case child != nil:
		c := cmp.Or(warm.Failed(child), meta.FindStatusCondition(child.Status.Conditions, v1alpha1.ConditionStalled))
		return state{reason: c.Reason, message: fmt.Sprintf("Sandbox %s: %s", child.Name, c.Message), stalled: true}
	case s.waiting > p.updated:
		return state{reason: v1alpha1.ReasonUpdating, message: fmt.Sprintf("%d of %d Sandboxes are of the newest template, registry and images", p.updated, w.replicas)}
	}
	return state{reason: v1alpha1.ReasonFilling, message: fmt.Sprintf("%d of %d Sandboxes are ready to be claimed", p.ready, w.replicas)}
}

// lastFailure is what the pool says of its Sandbox that has failed last, until others that
// were made of the same spec have been ready for a while; nil if it says nothing of one.
func (s *scope) lastFailure() *metav1.Condition {
	c := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ConditionStalled)
	if c == nil || !warm.Failure(c.Reason) || c.ObservedGeneration != s.pool.Generation {
		return nil
	}
	return c
}

// notReadySince is since when the pool has not been ready.
func (s *scope) notReadySince() time.Time {
	if c := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ConditionReady); c != nil && c.Status == metav1.ConditionFalse {
		return c.LastTransitionTime.Time
	}
	return s.now
}

// writeStatus writes the status where it changed, and then tells of a problem that is new.
func (r *Reconciler) writeStatus(ctx context.Context, s *scope) (ctrl.Result, error) {
	st, is := &s.pool.Status, s.stateOf()
	st.ObservedGeneration = s.pool.Generation
	st.Replicas, st.ReadyReplicas, st.UpdatedReplicas = count(s.waiting), count(s.plan.ready), count(s.plan.updated)
	st.Selector = podspec.LabelPool + "=" + s.pool.Name
	s.condition(v1alpha1.ConditionReady, is.ready, true, is)
	s.condition(v1alpha1.ConditionReconciling, !is.ready && !is.stalled, false, is)
	s.condition(v1alpha1.ConditionStalled, is.stalled, false, is)
	if equality.Semantic.DeepEqual(s.before.Status, *st) {
		return ctrl.Result{RequeueAfter: s.requeue}, nil
	}
	if err := r.Status().Patch(ctx, s.pool, client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})); err != nil {
		return kit.ResultFor(err)
	}
	said := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ConditionReady)
	if is.stalled && (said == nil || said.Reason != is.reason) {
		r.Recorder.Eventf(s.pool, nil, corev1.EventTypeWarning, is.reason, "Fill", "%s", text.Clip(text.OneLine(is.message), maxMessage))
	}
	return ctrl.Result{RequeueAfter: s.requeue}, nil
}

func count(n int) *int32 { return new(int32(n)) } //nolint:gosec // a pool has 1,000 Sandboxes, and some more

// condition sets a condition; one that is abnormal when True is removed when it is not.
func (s *scope) condition(kind string, on, keep bool, is state) {
	if !on && !keep {
		meta.RemoveStatusCondition(&s.pool.Status.Conditions, kind)
		return
	}
	status := metav1.ConditionFalse
	if on {
		status = metav1.ConditionTrue
	}
	message := text.Clip(text.OneLine(is.message), maxMessage)
	if message == "" {
		message = is.reason
	}
	meta.SetStatusCondition(&s.pool.Status.Conditions, metav1.Condition{
		Type: kind, Status: status, ObservedGeneration: s.pool.Generation,
		Reason: is.reason, Message: message, LastTransitionTime: metav1.NewTime(s.now),
	})
}
