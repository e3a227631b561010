package sandbox

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// Obstacle is what keeps a pod from being made.
type Obstacle struct{ Reason, Message string }

// EnsureNamespace makes what the runners of a namespace share: their identity, its rights,
// and the NetworkPolicy that lets nobody reach them. It gives the pull secrets of the
// identity, or what is in the way.
func (r *Reconciler) EnsureNamespace(ctx context.Context, namespace string) ([]corev1.LocalObjectReference, *Obstacle, error) {
	sb := &v1alpha1.Sandbox{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}
	s := &scope{sandbox: sb, before: sb, facts: facts{now: r.Clock.Now()}}
	secrets, err := r.ensureNamespace(ctx, s)
	switch f := s.facts; {
	case err != nil, !s.stopped():
		return secrets, nil, err
	case f.problem != nil:
		return nil, &Obstacle{f.problem.reason, f.problem.message}, nil
	case f.conflict != "":
		return nil, &Obstacle{v1alpha1.ReasonNameConflict, f.conflict + " exists and is not Sampan's; delete it"}, nil
	}
	return nil, &Obstacle{v1alpha1.ReasonPodPending, s.facts.remains}, nil
}

// APIServerRules open the API server, which runners report to.
func (r *Reconciler) APIServerRules(ctx context.Context) ([]networkingv1.NetworkPolicyEgressRule, error) {
	return r.apiServerRules(ctx)
}

// Trouble says why a pod of Sampan's does not start, or how it has ended, which is over. It
// is empty where there is nothing to tell.
func Trouble(pod *corev1.Pod) (reason, message string, over bool) {
	state := stateOf(pod)
	if state.reason == v1alpha1.ReasonPodPending || state.phase == podReady {
		return "", "", false
	}
	return state.reason, state.message, state.dead()
}
