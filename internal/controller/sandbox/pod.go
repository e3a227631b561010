package sandbox

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
)

const (
	// podGoneInterval is how often a terminating pod is looked at besides its watch.
	podGoneInterval = 5 * time.Second
	// problemInterval is how often something that a user has to fix is looked for
	// where no watch tells.
	problemInterval = 15 * time.Second
	// obstacleInterval is how often an object in the way is looked at.
	obstacleInterval = 5 * time.Second
	// maxRestartDelay bounds the exponential wait before a dead pod is replaced,
	// as kubelet's own back-off does, and healthyAfter is how long a pod has to be
	// there for its death to count as the first.
	maxRestartDelay = 5 * time.Minute
	healthyAfter    = 2 * maxRestartDelay
)

// errStale says that the cache is behind the API server.
var errStale = kit.Stale("sandboxes")

// PodName is the name of a Sandbox's next pod. The pods of a task's own Sandbox
// have the number of their attempt; those of any other are counted.
func PodName(sb *v1alpha1.Sandbox, attempt int32) string {
	if attempt > 0 {
		return podapi.PodName(sb.Name, attempt)
	}
	return podapi.PodName(sb.Name, restarts(sb)+1)
}

func restarts(sb *v1alpha1.Sandbox) int32 {
	if sb.Status.Restarts == nil {
		return 0
	}
	return *sb.Status.Restarts
}

// reconcilePod finds, makes, replaces or removes the pod and records what it saw.
func (r *Reconciler) reconcilePod(ctx context.Context, s *scope) error {
	if err := r.readHolder(ctx, s); err != nil {
		return err
	}
	if err := r.findPod(ctx, s); err != nil {
		return err
	}
	switch {
	case s.facts.obstructed():
		return nil
	case s.sandbox.Spec.State == v1alpha1.SandboxSuspended:
		s.facts.suspended = true
		return r.putAside(ctx, s, v1alpha1.ReasonSuspended)
	case podapi.OwnerTask(s.sandbox) != nil:
		return r.reconcileAttempt(ctx, s)
	case s.idleFor(s.sandbox.Spec.IdleSeconds):
		return r.stopIdle(ctx, s)
	case s.pod == nil && s.sandbox.Status.PodName != "":
		if err := r.podGone(ctx, s); err != nil || s.pod == nil {
			return err
		}
	case s.pod == nil:
		if gone, err := r.retirePods(ctx, s); err != nil || !gone {
			return err
		}
		return r.createPod(ctx, s)
	}
	r.observePod(ctx, s)
	if s.facts.dead() {
		return r.replaceDeadPod(ctx, s)
	}
	return r.keepOwned(ctx, s)
}

// keepOwned puts back what a pod needs, where somebody has taken or changed it.
func (r *Reconciler) keepOwned(ctx context.Context, s *scope) error {
	if !s.recorded(s.pod) {
		return nil
	}
	if _, err := r.ensureNamespace(ctx, s); err != nil || s.stopped() {
		return err
	}
	if !podapi.Persistent(s.sandbox) && !podspec.Restricted(s.sandbox) {
		return nil
	}
	egress, err := podspec.Egress(s.pod)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Closed what the annotation had opened")
	}
	return r.ensureNeeds(ctx, s, egress)
}

// ensureNeeds makes what the Sandbox's pod needs and shares with no other.
func (r *Reconciler) ensureNeeds(ctx context.Context, s *scope, egress []networkingv1.NetworkPolicyEgressRule) error {
	if podapi.Persistent(s.sandbox) {
		if err := r.ensureClaim(ctx, s); err != nil || s.stopped() {
			return err
		}
	}
	if podspec.Restricted(s.sandbox) {
		return r.ensurePolicy(ctx, s, egress)
	}
	return nil
}

// findPod reads the Sandbox's pod from the cache. A pod of a named Sandbox that
// nobody has recorded is left to createPod, which knows what it would have made;
// that of an attempt is looked at, once vouch has looked at it.
func (r *Reconciler) findPod(ctx context.Context, s *scope) error {
	name := s.podName()
	pod := &corev1.Pod{}
	err := r.Get(ctx, types.NamespacedName{Namespace: s.sandbox.Namespace, Name: name}, pod)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading Pod %s: %w", name, err)
	}
	switch {
	case s.recorded(pod), s.holder.task != nil && s.sandbox.Status.PodUID == "" && metav1.IsControlledBy(pod, s.sandbox):
		s.pod = pod
	case s.sandbox.Status.PodUID == "" && !metav1.IsControlledBy(pod, s.sandbox):
		return r.inTheWay(ctx, s, pod, "use another name")
	}
	return nil
}

// podName is the pod that there is, or the one that will be made.
func (s *scope) podName() string {
	if name := s.sandbox.Status.PodName; name != "" {
		return name
	}
	if s.holder.task != nil {
		return PodName(s.sandbox, max(s.holder.task.Status.Attempt, 1))
	}
	return PodName(s.sandbox, 0)
}

// recorded reports whether a pod is the one that the status has, which is in it
// only after the operator had made that very pod, or had looked at it. One of the
// same name and another UID is somebody else's.
func (s *scope) recorded(pod *corev1.Pod) bool {
	return s.sandbox.Status.PodUID != "" && s.sandbox.Status.PodUID == string(pod.UID)
}

// record makes a pod the Sandbox's.
func (s *scope) record(pod *corev1.Pod) {
	s.pod = pod
	s.sandbox.Status.PodName, s.sandbox.Status.PodUID = pod.Name, string(pod.UID)
}

// vouch reports whether the pod of an attempt is the operator's. One that this process
// has not made, and no status has, is held against what it would have made.
func (r *Reconciler) vouch(ctx context.Context, s *scope) (bool, error) {
	if s.recorded(s.pod) || r.made.has(s.pod.UID) {
		return true, nil
	}
	if s.holder.task != nil && kit.Spoke(s.holder.task) {
		// Admission has let its runner report, so it is the pod that the task names, made
		// by an earlier manager: what has changed since, such as an image or the registry,
		// is no reason to end its run or to lose its log.
		r.made.add(s.pod.UID)
		return true, nil
	}
	pod, err := r.livePod(ctx, s) // the cache keeps only what is looked at
	if err != nil {
		return false, err
	}
	if pod == nil || pod.UID != s.pod.UID {
		return false, errStale
	}
	in, problem, err := r.podInput(ctx, s)
	if err != nil {
		return false, err
	}
	if problem != nil {
		s.facts.problem = problem
		s.requeue = problemInterval
		return false, nil
	}
	if field := unlike(podspec.Pod(*in), pod); field != "" {
		return false, r.discard(ctx, s, pod, field)
	}
	r.made.add(pod.UID)
	return true, nil
}

// recordMade records the pod of an attempt, once there is something to tell of it:
// to record that it was made would cost a write for which nobody waits.
func (r *Reconciler) recordMade(s *scope) {
	if !s.recorded(s.pod) {
		s.record(s.pod)
		r.made.remove(s.pod.UID)
	}
}

// removePod removes the pod and, once it is gone, makes room for the next one.
func (r *Reconciler) removePod(ctx context.Context, s *scope) error {
	pod := s.pod
	if pod == nil {
		var err error
		if pod, err = r.livePod(ctx, s); err != nil {
			return err
		}
	}
	switch {
	case pod != nil && s.holder.task != nil:
		if err := r.confirmHolder(ctx, s); err != nil {
			return err
		}
		fallthrough
	case pod != nil:
		s.requeue = podGoneInterval
		return r.deletePod(ctx, pod)
	case s.sandbox.Status.PodName != "":
		s.forgetPod()
		if s.holder.task != nil && s.holder.ref.Attempt != 0 {
			s.sandbox.Status.TaskRef = s.holder.ref // what is said now is said of that attempt
		}
	}
	return nil
}

// forgetPod makes the next pod one of another name.
func (s *scope) forgetPod() {
	s.sandbox.Status.Restarts = new(restarts(s.sandbox) + 1)
	s.sandbox.Status.PodName, s.sandbox.Status.PodUID = "", ""
	s.sandbox.Status.PodIP = ""
	s.sandbox.Status.NodeName = ""
}

// podGone deals with a pod that was there and is not any more. A pod that
// served a task is not replaced under it: the task has to see the loss first.
func (r *Reconciler) podGone(ctx context.Context, s *scope) error {
	live, err := r.livePod(ctx, s)
	if err != nil || live != nil {
		s.pod = live
		return err
	}
	s.facts.lost = true
	if s.holder.ref.Name != "" {
		return nil
	}
	s.event(corev1.EventTypeWarning, v1alpha1.ReasonPodLost, "Replace", "Pod %s is gone and will be replaced", s.sandbox.Status.PodName)
	s.forgetPod()
	s.facts.lost = false
	return nil
}

// livePod reads the pod past the cache: the one that is recorded or, where none is,
// one that says to be the Sandbox's. What is somebody else's is none.
func (r *Reconciler) livePod(ctx context.Context, s *scope) (*corev1.Pod, error) {
	name := s.podName()
	var pod corev1.Pod
	err := r.APIReader.Get(ctx, types.NamespacedName{Namespace: s.sandbox.Namespace, Name: name}, &pod)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Pod %s: %w", name, err)
	}
	if s.recorded(&pod) || s.sandbox.Status.PodUID == "" && metav1.IsControlledBy(&pod, s.sandbox) {
		return &pod, nil
	}
	return nil, nil
}

// confirm reads the Sandbox past the cache: what is made or deleted for a stale
// one might be made a second time, or be in use by now.
func (r *Reconciler) confirm(ctx context.Context, s *scope) error {
	if s.confirmed {
		return nil
	}
	var live v1alpha1.Sandbox
	if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(s.sandbox), &live); err != nil {
		return fmt.Errorf("reading Sandbox %s: %w", s.sandbox.Name, err)
	}
	if live.UID != s.sandbox.UID || live.ResourceVersion != s.sandbox.ResourceVersion {
		return errStale
	}
	s.confirmed = true
	return nil
}

// createPod makes the pod and, before it, what it needs.
func (r *Reconciler) createPod(ctx context.Context, s *scope) error {
	if err := r.confirm(ctx, s); err != nil {
		return err
	}
	if err := r.confirmHolder(ctx, s); err != nil {
		return err
	}
	in, problem, err := r.podInput(ctx, s)
	if err != nil {
		return err
	}
	if problem != nil {
		s.facts.problem = problem
		s.requeue = problemInterval
		return nil
	}
	if waiting, err := r.sweepPolicy(ctx, client.ObjectKeyFromObject(s.sandbox), s.sandbox.UID); err != nil || waiting {
		s.facts.remains = fmt.Sprintf("Waiting for NetworkPolicy %s of an earlier Sandbox %s to be removed", podspec.EgressPolicyName(s.sandbox.Name), s.sandbox.Name)
		return err
	}
	if in.AccountPullSecrets, err = r.ensureNamespace(ctx, s); err != nil || s.stopped() {
		return err
	}
	if err := r.ensureNeeds(ctx, s, in.Egress); err != nil || s.stopped() {
		return err
	}
	return r.ensurePod(ctx, s, in)
}

// replaceDeadPod removes a pod that ended, where nobody needs its record, so
// that the next reconcile makes a new one. The wait grows with each restart, rests
// among them, and is short again for a pod that was there for long.
func (r *Reconciler) replaceDeadPod(ctx context.Context, s *scope) error {
	if s.holder.ref.Name != "" || podapi.OwnerPool(s.sandbox) != nil { // the pool makes another Sandbox
		return nil
	}
	if s.pod.DeletionTimestamp != nil {
		return nil
	}
	before := restarts(s.sandbox)
	if s.facts.diedAt.Sub(s.pod.CreationTimestamp.Time) >= healthyAfter {
		before = 0
	}
	delay := min(10*time.Second<<min(before, 10), maxRestartDelay)
	wait := delay - s.facts.now.Sub(s.facts.diedAt)
	if wait > 0 {
		s.requeue = wait
		return nil
	}
	s.event(corev1.EventTypeWarning, s.facts.reason, "Replace", "Pod %s ended and will be replaced: %s", s.pod.Name, s.facts.message)
	return r.deletePod(ctx, s.pod)
}

func (r *Reconciler) deletePod(ctx context.Context, pod *corev1.Pod) error {
	if pod.DeletionTimestamp != nil {
		return nil
	}
	err := r.Delete(ctx, pod, client.Preconditions{UID: &pod.UID})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting Pod %s: %w", pod.Name, err)
	}
	r.made.remove(pod.UID)
	logf.FromContext(ctx).Info("Deleted Pod", "pod", pod.Name)
	return nil
}

// finalize removes the pods of a Sandbox that is being deleted and that something of
// others keeps. Of one that is gone the garbage collector does.
func (r *Reconciler) finalize(ctx context.Context, s *scope) (ctrl.Result, error) {
	pods, err := r.ownPods(ctx, s)
	if err != nil {
		return ctrl.Result{}, err
	}
	if recorded, err := r.livePod(ctx, s); err != nil {
		return ctrl.Result{}, err
	} else if recorded != nil { // somebody may have taken its labels
		pods = append(pods, *recorded)
	}
	for i := range pods {
		if err := r.deletePod(ctx, &pods[i]); err != nil {
			return ctrl.Result{}, err
		}
	}
	return kit.ResultFor(r.dropFinalizer(ctx, s))
}
