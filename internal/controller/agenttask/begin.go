package agenttask

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/controller/warm"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// inputInterval is how often what is missing is looked for where no watch tells.
const inputInterval = 5 * time.Second

// begin opens an attempt where the task wants one and has what it needs. A task
// that is over by its user's wish or by its time ends at once, whatever is left
// of its last attempt: cleanUp sees to that.
func (r *Reconciler) begin(ctx context.Context, s *scope) error {
	defer func() {
		if !kit.AttemptOpen(s.task) {
			r.Budgets.Forget(s.task.UID)
		}
	}()
	switch {
	case s.task.Spec.State == v1alpha1.TaskCancelled:
		s.cancelled()
		return nil
	case s.task.Spec.State == v1alpha1.TaskActive && remaining(s.task) <= 0:
		s.end(decision{kind: fail, reason: v1alpha1.ReasonDeadlineExceeded,
			message: fmt.Sprintf("limits.activeSeconds (%d) has passed", int(active(s.task).Seconds()))})
		return nil
	case s.task.Spec.State == v1alpha1.TaskSuspended:
		return r.suspended(ctx, s)
	}
	if named(s.task) && (s.sandbox == nil || !claimed(s.sandbox, s.task, s.task.Status.Attempt+1)) {
		if err := r.release(ctx, s); err != nil { // what the last attempt held
			return err
		}
	}
	var err error
	if s.budgeted, err = r.Budgets.Any(ctx, s.task.Namespace); err != nil {
		return err
	}
	if ready, err := r.prepare(ctx, s); err != nil || !ready {
		return err
	}
	if s.pausing() {
		return nil
	}
	return r.open(ctx, s)
}

// suspended says that nothing of the task runs, as soon as that is so.
func (r *Reconciler) suspended(ctx context.Context, s *scope) error {
	if named(s.task) {
		if err := r.release(ctx, s); err != nil {
			return err
		}
	} else if gone, err := r.podGone(ctx, s); err != nil || !gone {
		return err
	}
	// As with a Job, the time of the task starts anew when it is resumed.
	s.task.Status.StartTime, s.task.Status.StopRequestTime, s.task.Status.ActiveSeconds = nil, nil, 0
	s.setInProgress(v1alpha1.ReasonSuspended, "spec.state is Suspended; set it to Active to go on", passes)
	return nil
}

// podGone reports whether the pod of the last attempt is gone, or its node is.
func (r *Reconciler) podGone(ctx context.Context, s *scope) (bool, error) {
	name := s.task.Status.PodName
	if name == "" {
		return true, nil
	}
	var pod corev1.Pod
	err := r.APIReader.Get(ctx, types.NamespacedName{Namespace: s.task.Namespace, Name: name}, &pod)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading Pod %s: %w", name, err)
	}
	if err != nil || s.sandbox == nil || !metav1.IsControlledBy(&pod, s.sandbox) || pod.DeletionTimestamp != nil && s.now.Sub(pod.DeletionTimestamp.Time) >= kit.NodeGrace {
		return true, nil
	}
	s.requeueWithin(goneInterval)
	return false, nil
}

// pausing reports whether it is too early for another attempt: what the cluster
// has taken away needs time to come back.
func (s *scope) pausing() bool {
	st := s.task.Status
	n := len(st.Attempts)
	if n == 0 || !interrupts(st.Attempts[n-1].Reason) || st.Attempts[n-1].CompletionTime == nil {
		return false
	}
	left := st.Attempts[n-1].CompletionTime.Add(interruptionPause(st.Interruptions)).Sub(s.now)
	if left <= 0 {
		return false
	}
	s.requeueWithin(left)
	s.setInProgress(v1alpha1.ReasonRetrying, lostMessage(st.Attempts[n-1].Number, st.Attempts[n-1].Reason, afterPause(st.Interruptions)), passes)
	return true
}

// prepare checks what an attempt needs. What is missing is named, and waited for.
func (r *Reconciler) prepare(ctx context.Context, s *scope) (bool, error) {
	for _, check := range []func(context.Context, *scope) (bool, error){r.checkPolicy, r.checkModel, r.checkPrompt, r.checkVerifyFiles, r.checkOrigin, r.checkBudget} {
		if ok, err := check(ctx, s); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// checkModel routes the task. A registry that changes wakes the task by a watch.
func (r *Reconciler) checkModel(ctx context.Context, s *scope) (bool, error) {
	entry, err := r.Registry.Load(ctx, s.task.Namespace)
	if reason := modelregistry.Reason(err); reason != "" {
		s.noModel(reason, err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	scopes, err := modelregistry.Scopes(ctx, r, s.task.Namespace)
	if err != nil {
		return false, err
	}
	candidates, err := entry.Route(s.task, scopes, s.budgeted)
	if err != nil {
		s.noModel(v1alpha1.ReasonModelNotFound, fmt.Errorf("ConfigMap %s: %w", entry.Source, err))
		return false, nil
	}
	c := metav1.Condition{Type: v1alpha1.ConditionModelResolved, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonResolved,
		Message: fmt.Sprintf("Model %s of ConfigMap %s", candidates[0].Model.ID, entry.Source)}
	if entry.Warning != "" {
		c.Reason, c.Message = v1alpha1.ReasonLastValidRegistry, entry.Warning
	}
	s.condition(c)
	return true, nil
}

// noModel says why no model was found. The wait is bounded as any other.
func (s *scope) noModel(reason string, err error) {
	s.condition(metav1.Condition{Type: v1alpha1.ConditionModelResolved, Status: metav1.ConditionFalse, Reason: reason, Message: err.Error()})
	s.wait(reason, err.Error())
	s.requeueWithin(inputInterval) // a namespace's scopes change without a watch
}

// wait says what the task waits for that a user has to fix, and ends it when it has
// waited for as long as it may be active.
func (s *scope) wait(reason, message string) {
	since := s.now
	if c := meta.FindStatusCondition(s.task.Status.Conditions, v1alpha1.ConditionStalled); c != nil {
		since = c.LastTransitionTime.Time
	}
	left := since.Add(remaining(s.task)).Sub(s.now)
	if left <= 0 {
		s.finish(false, reason, fmt.Sprintf("%s; limits.activeSeconds (%d) has passed", message, int(active(s.task).Seconds())))
		s.event(corev1.EventTypeWarning, reason, "Finish", "%s", message)
		return
	}
	s.setInProgress(reason, message, stalls)
	s.requeueWithin(left)
}

// waitTurn says what the task waits for that comes by itself.
func (s *scope) waitTurn(reason, message string) {
	since := s.now
	if c := meta.FindStatusCondition(s.task.Status.Conditions, v1alpha1.ConditionReconciling); c != nil {
		since = c.LastTransitionTime.Time
	}
	if n := len(s.task.Status.Attempts); n > 0 { // Reconciling holds through an attempt, too
		if end := s.task.Status.Attempts[n-1].CompletionTime; end != nil && end.After(since) {
			since = end.Time
		}
	}
	left := since.Add(maxPending).Sub(s.now)
	if left <= 0 {
		s.end(decision{kind: fail, reason: reason, message: fmt.Sprintf("%s; the task has waited for %s", message, maxPending)})
		return
	}
	s.setInProgress(reason, message, passes)
	s.requeueWithin(min(left, busyInterval))
}

// checkPrompt looks for the prompt's ConfigMap. A Secret is not the operator's
// to read: kubelet says it when that is missing.
func (r *Reconciler) checkPrompt(ctx context.Context, s *scope) (bool, error) {
	ref := s.task.Spec.PromptFrom.ConfigMapKeyRef
	if ref.Name == "" {
		return true, nil
	}
	var cm corev1.ConfigMap
	err := r.APIReader.Get(ctx, types.NamespacedName{Namespace: s.task.Namespace, Name: ref.Name}, &cm)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading ConfigMap %s: %w", ref.Name, err)
	}
	_, text := cm.Data[ref.Key]
	_, binary := cm.BinaryData[ref.Key]
	message := ""
	switch {
	case apierrors.IsNotFound(err):
		message = fmt.Sprintf("spec.promptFrom: there is no ConfigMap %s in namespace %s", ref.Name, s.task.Namespace)
	case !text && !binary:
		message = fmt.Sprintf("spec.promptFrom: ConfigMap %s has no key %s", ref.Name, ref.Key)
	default:
		return true, nil
	}
	s.wait(v1alpha1.ReasonPromptNotFound, message)
	s.requeueWithin(inputInterval)
	return false, nil
}

// checkVerifyFiles looks for the files of verifications.
func (r *Reconciler) checkVerifyFiles(ctx context.Context, s *scope) (bool, error) {
	for i, v := range s.task.Spec.Verify {
		name := v.Files.ConfigMapName
		if name == "" {
			continue
		}
		var cm corev1.ConfigMap
		err := r.APIReader.Get(ctx, types.NamespacedName{Namespace: s.task.Namespace, Name: name}, &cm)
		if client.IgnoreNotFound(err) != nil {
			return false, fmt.Errorf("reading ConfigMap %s: %w", name, err)
		}
		message := ""
		if err != nil {
			message = fmt.Sprintf("spec.verify[%d].files: there is no ConfigMap %s in namespace %s", i, name, s.task.Namespace)
		} else if key := missingKey(&cm, v.Files.Keys); key != "" {
			message = fmt.Sprintf("spec.verify[%d].files: ConfigMap %s has no key %s", i, name, key)
		}
		if message != "" {
			s.wait(v1alpha1.ReasonVerifyFilesNotFound, message)
			s.requeueWithin(inputInterval)
			return false, nil
		}
	}
	return true, nil
}

// missingKey is the first key that a ConfigMap does not have, or empty.
func missingKey(cm *corev1.ConfigMap, keys []string) string {
	for _, key := range keys {
		_, text := cm.Data[key]
		if _, binary := cm.BinaryData[key]; !text && !binary {
			return key
		}
	}
	return ""
}

// open begins the next attempt: in the status first, so that whatever is
// created after has its record.
func (r *Reconciler) open(ctx context.Context, s *scope) error {
	next := s.task.Status.Attempt + 1
	if named(s.task) {
		if ok, err := r.claim(ctx, s, next); err != nil || !ok {
			return err
		}
	}
	if warm.Pooled(s.task) {
		found, err := r.place(ctx, s, next)
		if err != nil {
			return err
		}
		if !found {
			s.wait(v1alpha1.ReasonPoolNotFound, noPool(s.task))
			s.requeueWithin(inputInterval)
			return nil
		}
	}
	now := metav1.NewTime(s.now)
	st := &s.task.Status
	st.Attempt, st.SandboxName, st.PodName, st.PodUID = next, sandboxName(s.task), "", ""
	if !named(s.task) {
		// The pod that will be made, and no other, may report.
		st.PodName = podapi.PodName(st.SandboxName, next)
	}
	st.AttemptStartTime, st.StopRequestTime, st.RunningTime = &now, nil, nil
	st.Result = v1alpha1.TaskResult{}
	st.Budget = v1alpha1.TaskBudget{}
	if s.spends() { // from here on the runner spends nothing that was not granted
		st.Budget.GrantedUSD = "0"
	}
	if !ownRecord(st.Transcript.URI, s.task) { // the log of an earlier pod
		st.Transcript = v1alpha1.TranscriptStatus{}
	}
	if st.StartTime == nil {
		st.StartTime = &now
	}
	s.setInProgress(v1alpha1.ReasonStarting, startingMessage(s.task), passes)
	return nil
}
