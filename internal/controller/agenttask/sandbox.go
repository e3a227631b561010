package agenttask

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// goneInterval is how often a terminating pod is looked at besides its watch.
const goneInterval = 2 * time.Second

// busyInterval is how often a task that waits for its turn looks whether those
// before it have given up; a Sandbox that becomes free wakes it by a watch.
const busyInterval = 10 * time.Second

// claim takes a named Sandbox for an attempt, if it is free and nobody waits
// longer. The patch carries the resourceVersion: of two claims one fails. The
// Sandbox is read past the cache: on a stale one a claim might be taken for
// held that was given back.
func (r *Reconciler) claim(ctx context.Context, s *scope, attempt int32) (bool, error) {
	name := s.task.Spec.Sandbox.SandboxRef.Name
	if s.sandbox != nil && heldByOther(s.sandbox, s.task) { // where the cache is behind, its next event wakes the task
		s.waitTurn(v1alpha1.ReasonSandboxBusy, busy(name, s.sandbox.Status.TaskRef.Name))
		return false, nil
	}
	var sb v1alpha1.Sandbox
	err := r.APIReader.Get(ctx, types.NamespacedName{Namespace: s.task.Namespace, Name: name}, &sb)
	if apierrors.IsNotFound(err) {
		s.wait(v1alpha1.ReasonSandboxNotFound, fmt.Sprintf("spec.sandbox.sandboxRef: there is no Sandbox %s in namespace %s", name, s.task.Namespace))
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading Sandbox %s: %w", name, err)
	}
	if task := ownerTask(&sb); task != "" {
		s.wait(v1alpha1.ReasonSandboxNotShared, fmt.Sprintf(
			"spec.sandbox.sandboxRef: Sandbox %s belongs to AgentTask %s alone, which has made it for itself; name a Sandbox that you have created", name, task))
		return false, nil
	}
	if pool := podapi.OwnerPool(&sb); pool != nil {
		s.wait(v1alpha1.ReasonSandboxNotShared, fmt.Sprintf(
			"spec.sandbox.sandboxRef: Sandbox %s waits in SandboxPool %s for a task of its own; name the pool by poolRef", name, pool.Name))
		return false, nil
	}
	if claimed(&sb, s.task, attempt) {
		return true, nil
	}
	ahead, err := r.aheadOf(ctx, s.task, &sb)
	if err != nil {
		return false, err
	}
	if ahead != "" {
		s.waitTurn(v1alpha1.ReasonSandboxBusy, busy(name, ahead))
		return false, nil
	}
	reason, message, err := r.unusable(ctx, &sb)
	if err != nil {
		return false, err
	}
	if reason != "" {
		if reason == v1alpha1.ReasonIdle || lossReasons[reason] {
			s.waitTurn(reason, message) // its pod goes by itself
		} else {
			s.wait(reason, message)
		}
		s.requeueWithin(busyInterval)
		return false, r.setTaskRef(ctx, &sb, v1alpha1.TaskReference{})
	}
	if err := r.setTaskRef(ctx, &sb, kit.Reference(s.task, attempt)); err != nil {
		return false, fmt.Errorf("claiming Sandbox %s: %w", name, err)
	}
	logf.FromContext(ctx).Info("Claimed Sandbox", "sandbox", name, "attempt", attempt)
	return true, nil
}

// busy says that a task waits for its turn.
func busy(sandbox, ahead string) string {
	return fmt.Sprintf("Sandbox %s is taken by AgentTask %s", sandbox, ahead)
}

// heldByOther reports whether another task holds a Sandbox. It does until it is given
// back, also when that task has ended, whose runner may still be at work, or is gone.
func heldByOther(sb *v1alpha1.Sandbox, task *v1alpha1.AgentTask) bool {
	holder := sb.Status.TaskRef
	return holder.Name != "" && holder.UID != string(task.UID)
}

// aheadOf names the task that holds a Sandbox, or the one that has waited longest
// for it; empty if it is this task's turn.
func (r *Reconciler) aheadOf(ctx context.Context, task *v1alpha1.AgentTask, sb *v1alpha1.Sandbox) (string, error) {
	if heldByOther(sb, task) {
		return sb.Status.TaskRef.Name, nil
	}
	first := task
	err := r.eachTask(ctx, func(t *v1alpha1.AgentTask) {
		if waits(t) && before(t, first) {
			first = t
		}
	}, client.InNamespace(task.Namespace), client.MatchingFields{indexSandboxRef: sb.Name})
	if err != nil || first == task {
		return "", err
	}
	return first.Name, nil
}

// unusable says why no attempt can be begun in a free Sandbox. Its dead pod is
// replaced only while nobody claims it, so a claim has to wait for that.
func (r *Reconciler) unusable(ctx context.Context, sb *v1alpha1.Sandbox) (reason, message string, err error) {
	ready := readyOf(sb)
	switch {
	case !sb.DeletionTimestamp.IsZero():
		return v1alpha1.ReasonSandboxNotFound, "Sandbox " + sb.Name + " is being deleted", nil
	case sb.Spec.State == v1alpha1.SandboxSuspended:
		return v1alpha1.ReasonSandboxSuspended, "Sandbox " + sb.Name + " is suspended; set its spec.state to Running", nil
	case ready != nil && lossReasons[ready.Reason]:
		return ready.Reason, "Sandbox " + sb.Name + " gets another pod: " + ready.Message, nil
	case sb.Status.PodName == "":
		return "", "", nil
	case ready != nil && ready.Reason == v1alpha1.ReasonSuspending:
		return v1alpha1.ReasonIdle, "Sandbox " + sb.Name + " gets another pod: " + ready.Message, nil
	case ready != nil && ready.Reason == v1alpha1.ReasonIdle:
		return ready.Reason, "Sandbox " + sb.Name + " gets another pod: Pod " + sb.Status.PodName + " is being deleted since there was no task", nil
	}
	pod, err := r.servingPod(ctx, sb)
	if err != nil || pod != nil {
		return "", "", err
	}
	return v1alpha1.ReasonPodLost, "Sandbox " + sb.Name + " gets another pod: Pod " + sb.Status.PodName + " is gone", nil
}

// setTaskRef writes who holds a named Sandbox, unless somebody else has written to it.
func (r *Reconciler) setTaskRef(ctx context.Context, sb *v1alpha1.Sandbox, ref v1alpha1.TaskReference) error {
	if sb.Status.TaskRef == ref {
		return nil
	}
	before := sb.DeepCopy()
	sb.Status.TaskRef = ref
	sb.Status.LastActivityTime = new(metav1.NewTime(r.Clock.Now()).Rfc3339Copy())
	return r.Status().Patch(ctx, sb, optimistic(before))
}

// dropFinalizer takes off what earlier versions have put on.
func (r *Reconciler) dropFinalizer(ctx context.Context, s *scope) error {
	if !controllerutil.RemoveFinalizer(s.task, finalizer) {
		return nil
	}
	if err := r.Patch(ctx, s.task, optimistic(s.before)); err != nil {
		return fmt.Errorf("removing the finalizer: %w", err)
	}
	s.before = s.task.DeepCopy()
	return nil
}

// lacksInput are the reasons of a task that could not begin even if it had its
// Sandbox: nobody waits behind it.
var lacksInput = map[string]bool{
	v1alpha1.ReasonRegistryNotFound: true, v1alpha1.ReasonRegistryInvalid: true, v1alpha1.ReasonModelNotFound: true,
	v1alpha1.ReasonPromptNotFound: true, v1alpha1.ReasonVerifyFilesNotFound: true, v1alpha1.ReasonPolicyViolation: true, v1alpha1.ReasonPolicyInvalid: true,
}

// waits reports whether a task wants its Sandbox and does not have it.
func waits(t *v1alpha1.AgentTask) bool {
	if c := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil && lacksInput[c.Reason] {
		return false
	}
	return !kit.Finished(t) && !kit.AttemptOpen(t) && t.Spec.State == v1alpha1.TaskActive && t.DeletionTimestamp.IsZero()
}

// before orders tasks by creation, then by name.
func before(a, b *v1alpha1.AgentTask) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}

// release gives a named Sandbox back if this task holds it. A runner that has not
// told how the attempt ended may still be at work, or hang: its pod goes first, so
// that the next task gets one that answers.
func (r *Reconciler) release(ctx context.Context, s *scope) error {
	if !s.holds() {
		return nil
	}
	if s.runnerSilent() {
		if err := r.Delete(ctx, s.pod, client.Preconditions{UID: &s.pod.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting Pod %s: %w", s.pod.Name, err)
		}
		logf.FromContext(ctx).Info("Deleted Pod, whose runner did not stop", "pod", s.pod.Name)
	}
	if err := r.setTaskRef(ctx, s.sandbox, v1alpha1.TaskReference{}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("releasing Sandbox %s: %w", s.sandbox.Name, err)
	}
	logf.FromContext(ctx).Info("Released Sandbox", "sandbox", s.sandbox.Name)
	return nil
}

// holds reports whether the task holds its named Sandbox.
func (s *scope) holds() bool {
	return s.sandbox != nil && s.sandbox.Status.TaskRef.UID == string(s.task.UID)
}

// runnerSilent reports whether the attempt's runner is there and has not told
// how the attempt ended.
func (s *scope) runnerSilent() bool {
	st := s.task.Status
	return s.pod != nil && string(s.pod.UID) == st.PodUID && s.pod.DeletionTimestamp == nil &&
		!podEnded(s.pod) && runnerEnd(s.pod) == nil && st.Result.Attempt != st.Attempt
}

// cleanUp frees what an ended task holds, and deletes the task when its time
// has come. The pod of an own Sandbox stays, ended, so that its log can be read.
func (r *Reconciler) cleanUp(ctx context.Context, s *scope) error {
	if named(s.task) {
		if err := r.release(ctx, s); err != nil {
			return err
		}
	} else if err := r.stopPod(ctx, s); err != nil {
		return err
	}
	ttl := s.task.Spec.TTLSecondsAfterFinished
	if ttl == nil || s.task.Status.CompletionTime == nil {
		return nil
	}
	left := s.task.Status.CompletionTime.Add(time.Duration(*ttl) * time.Second).Sub(s.now)
	if left > 0 {
		s.requeueWithin(left)
		return nil
	}
	logf.FromContext(ctx).Info("Deleted AgentTask after its TTL")
	return r.Delete(ctx, s.task, client.Preconditions{UID: &s.task.UID, ResourceVersion: &s.task.ResourceVersion})
}

// stopPod removes a pod that still runs though its task has ended: at once when
// the runner did not end it, else after a grace.
func (r *Reconciler) stopPod(ctx context.Context, s *scope) error {
	if s.sandbox == nil || s.sandbox.Spec.State == v1alpha1.SandboxSuspended {
		return nil
	}
	st := s.task.Status
	if s.pod == nil && s.sandbox.Status.PodName != "" && s.sandbox.Status.PodName == st.PodName || s.pod != nil && podEnded(s.pod) {
		return nil // it is gone, or has ended; one that runs may be that of an earlier attempt
	}
	if st.Result.Attempt == st.Attempt && st.CompletionTime != nil { // the Sandbox may not even show yet that there was a pod
		if s.now.Sub(st.CompletionTime.Time) < stopGrace {
			return nil // it ends by itself, and overdue finds the one that does not
		}
	}
	before := s.sandbox.DeepCopy()
	s.sandbox.Spec.State = v1alpha1.SandboxSuspended
	if err := r.Patch(ctx, s.sandbox, optimistic(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("stopping Sandbox %s: %w", s.sandbox.Name, err)
	}
	return nil
}

// finalize gives a named Sandbox back for a task that is being deleted and that
// something of others keeps. For one that is gone the Sandbox controller does.
func (r *Reconciler) finalize(ctx context.Context, s *scope) error {
	if err := r.dropFinalizer(ctx, s); err != nil || !named(s.task) {
		return client.IgnoreNotFound(err)
	}
	if err := r.gather(ctx, s); err != nil {
		return err
	}
	if wait := stopGrace - r.Clock.Since(s.task.DeletionTimestamp.Time); wait > 0 && s.holds() && s.runnerSilent() {
		s.requeueWithin(wait) // it has been told to stop by the deletion itself
		return nil
	}
	return r.release(ctx, s)
}
