package sandbox

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// reconcileAttempt gives the open attempt of a task its pod. A pod that is lost is
// not replaced here: the task decides whether there is another attempt.
func (r *Reconciler) reconcileAttempt(ctx context.Context, s *scope) error {
	st := &s.sandbox.Status
	switch {
	case s.holder.over:
		return r.keepRecord(ctx, s)
	case s.holder.ref.Attempt == 0:
		if err := r.confirmHolder(ctx, s); err != nil {
			return err // the cache may have the Sandbox and not yet the attempt that it was made for
		}
		s.facts.noAttempt = true
		return r.removePod(ctx, s)
	}
	st.TaskRef = s.holder.ref // so that the task hears what its attempt waits for
	if s.lacksPod() {
		if gone, err := r.retirePods(ctx, s); err != nil || !gone {
			return err
		}
	}
	switch {
	case s.pod == nil && (st.PodName != "" || kit.Spoke(s.holder.task)):
		live, err := r.livePod(ctx, s)
		if err != nil {
			return err
		}
		if s.facts.lost = live == nil; s.facts.lost {
			st.PodName = s.podName() // its runner has reported, so it was there
			return nil
		}
		s.requeue, s.pod = podGoneInterval, live // it is not in the cache, so no watch tells of it
	case s.pod == nil:
		return r.createPod(ctx, s)
	}
	if ok, err := r.vouch(ctx, s); err != nil || !ok {
		return err
	}
	r.observePod(ctx, s)
	if s.facts.telling() || kit.Spoke(s.holder.task) {
		r.recordMade(s)
	}
	if s.facts.dead() {
		return nil
	}
	return r.keepOwned(ctx, s)
}

// keepRecord looks after the pod of a task that has ended: its log is the record.
func (r *Reconciler) keepRecord(ctx context.Context, s *scope) error {
	if s.pod == nil && s.sandbox.Status.PodName != "" {
		live, err := r.livePod(ctx, s)
		if err != nil {
			return err
		}
		s.pod = live
	}
	if s.pod != nil && s.holder.task != nil {
		ok, err := r.vouch(ctx, s)
		if err != nil || s.facts.obstructed() {
			return err
		}
		if s.facts.problem = nil; ok { // no pod is to be made, so nothing stands in its way
			r.recordMade(s)
		}
	}
	s.facts.over = s.pod == nil
	r.observePod(ctx, s)
	return nil
}

// lacksPod reports whether the attempt has no pod yet and an earlier one may have:
// also one that was never recorded.
func (s *scope) lacksPod() bool {
	attempt, name := s.holder.ref.Attempt, s.sandbox.Status.PodName
	if name == "" {
		return s.pod == nil && attempt > 1
	}
	return name != PodName(s.sandbox, attempt)
}

// retirePods removes the pods of earlier attempts and of earlier Sandboxes, and reports whether the next one
// may be made. One that does not go, because its node does not answer, is waited
// for only until its runner has given up: it can report nothing, since the task
// names another pod.
func (r *Reconciler) retirePods(ctx context.Context, s *scope) (gone bool, err error) {
	if err := r.confirm(ctx, s); err != nil {
		return false, err
	}
	if err := r.confirmHolder(ctx, s); err != nil {
		return false, err
	}
	pods, err := r.livePods(ctx, client.ObjectKeyFromObject(s.sandbox))
	if err != nil {
		return false, err
	}
	next := PodName(s.sandbox, s.holder.ref.Attempt)
	if s.holder.task == nil {
		next = s.podName()
	}
	for i := range pods {
		pod, of := &pods[i], "attempt"
		if !metav1.IsControlledBy(pod, s.sandbox) {
			of = "Sandbox " + s.sandbox.Name
		} else if s.holder.task == nil {
			continue // those of a named Sandbox are replaced one by one
		}
		since := pod.DeletionTimestamp
		if pod.Name == next || since != nil && s.facts.now.Sub(since.Time) >= kit.NodeGrace {
			continue
		}
		s.facts.remains = fmt.Sprintf("Waiting for Pod %s of an earlier %s to be removed", pod.Name, of)
		s.requeue = podGoneInterval
		if err := r.deletePod(ctx, pod); err != nil {
			return false, err
		}
	}
	if s.facts.obstructed() {
		return false, nil
	}
	if s.sandbox.Status.PodName != "" && s.sandbox.Status.PodName != next {
		s.pod = nil
		s.forgetPod()
	}
	return true, nil
}

// livePods are all pods of a Sandbox and of earlier ones of its name, read past the
// cache: those of a Sandbox that is gone may take a while to end.
func (r *Reconciler) livePods(ctx context.Context, sandbox types.NamespacedName) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := r.APIReader.List(ctx, &list, client.InNamespace(sandbox.Namespace), client.MatchingLabels{podspec.LabelSandbox: sandbox.Name})
	if err != nil {
		return nil, fmt.Errorf("listing Pods of Sandbox %s: %w", sandbox.Name, err)
	}
	return slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool {
		owner := metav1.GetControllerOf(&pod)
		return owner == nil || owner.APIVersion != v1alpha1.GroupVersion.String() || owner.Kind != "Sandbox" || owner.Name != sandbox.Name
	}), nil
}

// ownPods are all pods of the Sandbox itself.
func (r *Reconciler) ownPods(ctx context.Context, s *scope) ([]corev1.Pod, error) {
	pods, err := r.livePods(ctx, client.ObjectKeyFromObject(s.sandbox))
	return slices.DeleteFunc(pods, func(pod corev1.Pod) bool { return !metav1.IsControlledBy(&pod, s.sandbox) }), err
}

// quiet reports whether there is nothing to write yet: the pod of an attempt has
// just been made, and the task says that it starts.
func (s *scope) quiet() bool {
	f := s.facts
	if s.holder.task == nil || s.pod == nil || f.telling() || f.now.Sub(s.pod.CreationTimestamp.Time) >= slowStart {
		return false
	}
	if f.problem != nil || f.obstructed() || f.noAttempt || f.over || f.lost || f.suspended {
		return false
	}
	return s.sandbox.Status.PodName == "" && len(s.before.Status.Conditions) == 0 // nothing has been said that has to be taken back
}
