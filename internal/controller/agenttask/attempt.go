package agenttask

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/warm"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/text"
)

// reconcileAttempt looks after an open attempt: makes its Sandbox, fences its pod,
// and acts on what is decided.
func (r *Reconciler) reconcileAttempt(ctx context.Context, s *scope) error {
	if err := r.confirm(ctx, s); err != nil {
		return err
	}
	st := &s.task.Status
	if s.sandbox != nil && st.PodName == "" && claimed(s.sandbox, s.task, st.Attempt) {
		// From here on this pod, and no other, may report.
		st.PodName, st.PodUID = s.sandbox.Status.PodName, s.sandbox.Status.PodUID
	}
	if s.spoke() {
		if st.RunningTime == nil {
			st.RunningTime = new(metav1.NewTime(s.now))
		}
		switch {
		case st.PodUID != "":
		case s.pod != nil:
			st.PodUID = string(s.pod.UID)
		default:
			s.requeueWithin(goneInterval) // the Sandbox's controller has yet to vouch for it
		}
	}
	s.takeTerminationMessage()
	s.setRecorded()
	d := decide(s.attemptState())
	switch d.kind {
	case succeed, fail:
		s.end(d)
		return nil
	case lose, stop, handOver:
		s.archive(d)
		return nil
	case goOn:
	}
	s.noteStop()
	if changed, err := r.reserveBudget(ctx, s); err != nil || changed {
		return err
	}
	if err := r.makeSandbox(ctx, s, &d); err != nil {
		return err
	}
	if d.requeueAfter > 0 {
		s.requeueWithin(d.requeueAfter)
	}
	s.setInProgress(d.reason, d.message, d.wait)
	return nil
}

// attemptState is what decide needs of the scope.
func (s *scope) attemptState() attemptState {
	f := attemptState{
		task: s.task, now: s.now, spoke: s.spoke(),
		sandboxFound: s.sandbox != nil, sandboxClaimed: s.sandbox != nil && claimed(s.sandbox, s.task, s.task.Status.Attempt),
		sandboxTerminating:  s.sandbox != nil && !s.sandbox.DeletionTimestamp.IsZero(),
		podFound:            s.pod != nil,
		podTerminatingSince: terminatingSince(s.pod), runnerEnded: runnerEnd(s.pod) != nil,
	}
	if f.runnerEnded {
		f.runnerEndedAt = runnerEndTime(s.pod)
	}
	if f.sandboxClaimed {
		f.podKnown = s.sandbox.Status.PodName != "" && s.sandbox.Status.PodName == s.task.Status.PodName
		f.ready = readyOf(s.sandbox)
		f.sandboxStalled = meta.IsStatusConditionTrue(s.sandbox.Status.Conditions, v1alpha1.ConditionStalled)
	}
	if res := s.task.Status.Result; res.Attempt != 0 && res.Attempt == s.task.Status.Attempt {
		f.result = &res
	}
	return f
}

// takeTerminationMessage copies what a runner has left into the status where the
// runner could not write it itself.
func (s *scope) takeTerminationMessage() {
	if s.task.Status.Result.Attempt == s.task.Status.Attempt {
		return
	}
	words := terminationMessage(s.pod, s.task)
	if words == nil {
		return
	}
	s.task.Status.Result = shown(words.Result)
	if words.Progress.Turns != nil {
		s.task.Status.Progress = words.Progress
		s.task.Status.Progress.Activity = ""
	}
	if ownRecord(words.Transcript.URI, s.task) || ownLog(words.Transcript.URI, s.pod) {
		s.task.Status.Transcript = words.Transcript
	}
}

// shown is a result in characters that are safe to be shown. A container wrote
// it, and kubelet may have cut it.
func shown(res v1alpha1.TaskResult) v1alpha1.TaskResult {
	res.Message = text.Clip(text.Visible(res.Message), maxResultMessage)
	for i := range res.Verifications {
		res.Verifications[i].Message = text.ClipStart(text.Visible(res.Verifications[i].Message), maxVerificationMessage)
	}
	return res
}

// Bounds of the API on a result's texts.
const (
	maxResultMessage       = 2048
	maxVerificationMessage = 128
)

// ownLog reports whether a path of the API is the log of a pod's runner, as the
// admission policy sampan-runner-status has it.
func ownLog(uri string, pod *corev1.Pod) bool {
	query, own := strings.CutPrefix(uri, fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/log", pod.Namespace, pod.Name))
	return own && runnerLog.MatchString(query)
}

var runnerLog = regexp.MustCompile(`^(\?container=` + podapi.RunnerContainer + `(&limitBytes=[0-9]{1,19})?)?$`)

// noteStop keeps when a stop was first seen, for the bound on it.
func (s *scope) noteStop() {
	if s.task.Spec.State == v1alpha1.TaskActive {
		s.task.Status.StopRequestTime = nil
	} else if s.task.Status.StopRequestTime == nil {
		s.task.Status.StopRequestTime = new(metav1.NewTime(s.now))
	}
}

// makeSandbox creates the task's own Sandbox if there is none. Where it cannot, the
// decision says why.
func (r *Reconciler) makeSandbox(ctx context.Context, s *scope, d *decision) error {
	if s.sandbox != nil || named(s.task) || s.spoke() {
		return nil
	}
	if err := r.confirmTask(ctx, s); err != nil {
		return err
	}
	if warm.Pooled(s.task) {
		return r.makePooled(ctx, s, d)
	}
	return r.createSandbox(ctx, s, d, &s.task.Spec.Sandbox.Template)
}

// createSandbox creates a Sandbox of the task's name.
func (r *Reconciler) createSandbox(ctx context.Context, s *scope, d *decision, template *v1alpha1.SandboxTemplate) error {
	sb := ownSandbox(s.task, template)
	if err := controllerutil.SetControllerReference(s.task, sb, r.Scheme()); err != nil {
		return err
	}
	err := r.Create(ctx, sb)
	switch {
	case err == nil:
		logf.FromContext(ctx).Info("Created Sandbox", "sandbox", sb.Name)
		return nil
	case !apierrors.IsAlreadyExists(err):
		return s.sandboxRefused(err, d)
	}
	err = r.APIReader.Get(ctx, client.ObjectKeyFromObject(sb), sb)
	switch {
	case apierrors.IsNotFound(err):
		return errStale // it has gone since, and no watch may tell of it any more
	case err != nil:
		return fmt.Errorf("reading Sandbox %s: %w", sb.Name, err)
	case ours(sb, s.task) && sb.DeletionTimestamp.IsZero():
		return nil
	}
	return r.nameTaken(ctx, s, sb, d)
}

// sandboxRefused says in a decision what the API server said of the Sandbox.
func (s *scope) sandboxRefused(err error, d *decision) error {
	refusal := kit.RefusalOf(err)
	if refusal == nil {
		return fmt.Errorf("creating Sandbox %s: %w", s.task.Name, err)
	}
	d.reason, d.message, d.wait = v1alpha1.ReasonSandboxRefused, refusal.Message, passes
	switch {
	case refusal.Quota:
		d.reason = v1alpha1.ReasonQuotaExceeded
	case refusal.Lasting:
		d.wait = stalls
	}
	s.requeueWithin(refusal.Pause(s.task.Status.AttemptStartTime.Time, s.now))
	return nil
}

// nameTaken says in a decision that another Sandbox has the task's name, and whether
// that goes by itself.
func (r *Reconciler) nameTaken(ctx context.Context, s *scope, sb *v1alpha1.Sandbox, d *decision) error {
	s.requeueWithin(inputInterval) // no watch need tell when it goes
	waiting, err := kit.BlockingOwner(ctx, r.APIReader, "Sandbox", sb)
	switch {
	case err != nil:
		return err
	case waiting != "":
		d.message = waiting
	default:
		d.reason, d.wait = v1alpha1.ReasonNameConflict, stalls
		d.message = fmt.Sprintf("Sandbox %s exists and does not belong to this task; delete it, or create a task of another name", sb.Name)
	}
	return nil
}

// ownSandbox is the Sandbox that is made for a task.
func ownSandbox(task *v1alpha1.AgentTask, template *v1alpha1.SandboxTemplate) *v1alpha1.Sandbox {
	return &v1alpha1.Sandbox{
		ObjectMeta: metav1.ObjectMeta{
			Name: task.Name, Namespace: task.Namespace,
			Labels: map[string]string{podspec.LabelManagedBy: podspec.ManagedBy, podspec.LabelTask: task.Name},
		},
		Spec: v1alpha1.SandboxSpec{Template: *template, State: v1alpha1.SandboxRunning},
	}
}

// end ends the task. A Sandbox whose runner did not end it is stopped later, by cleanUp.
func (s *scope) end(d decision) {
	kind := corev1.EventTypeNormal
	if d.kind == fail && d.reason != v1alpha1.ReasonCancelled { // that is what the user wanted
		kind = corev1.EventTypeWarning
	}
	s.finish(d.kind == succeed, d.reason, d.message)
	s.event(kind, d.reason, "Finish", "%s", d.message)
}

const cancelledMessage = "Cancelled on request"

// cancelled ends the task because the user wanted it to.
func (s *scope) cancelled() {
	s.finish(false, v1alpha1.ReasonCancelled, cancelledMessage)
	s.event(corev1.EventTypeNormal, v1alpha1.ReasonCancelled, "Finish", "%s", cancelledMessage)
}

// archive closes the attempt. The task goes on with begin, or ends when it has
// lost as many attempts as it may.
func (s *scope) archive(d decision) {
	st := &s.task.Status
	a := v1alpha1.AttemptStatus{
		Number: st.Attempt, PodName: st.PodName, StartTime: st.AttemptStartTime,
		CompletionTime: new(metav1.NewTime(s.now)), Reason: d.reason, Message: text.Clip(text.OneLine(d.message), maxAttemptMessage),
		Turns: turnsOfAttempt(st),
	}
	if s.sandbox != nil {
		if node := s.sandbox.Status.NodeName; len(node) <= maxNodeName {
			a.NodeName = node
		}
	}
	st.Attempts = append(st.Attempts, a)
	if n := len(st.Attempts); n > maxArchived {
		st.Attempts = st.Attempts[n-maxArchived:]
	}
	switch {
	case st.RunningTime != nil:
		st.ActiveSeconds += int64(s.now.Sub(st.RunningTime.Time).Seconds())
	case d.reason == v1alpha1.ReasonRunnerSilent:
		st.ActiveSeconds += int64(contactLimit.Seconds()) // it ran, though nothing was heard of it
	}
	st.AttemptStartTime, st.RunningTime = nil, nil
	if d.kind == handOver {
		st.AttemptKind = kindAfter(d.reason)
	}
	switch {
	case s.task.Spec.State == v1alpha1.TaskCancelled:
		// The ended pod stays, as after any other end, so that its log can be read.
		s.cancelled()
		return
	case d.reason == v1alpha1.ReasonBudgetSpent && s.task.Spec.State == v1alpha1.TaskActive:
		s.setInProgress(d.reason, d.message, passes)
		return
	case d.kind == stop || s.task.Spec.State == v1alpha1.TaskSuspended:
		s.setInProgress(v1alpha1.ReasonSuspending, "The attempt was stopped on request", passes)
		return
	case d.kind == handOver:
		s.event(corev1.EventTypeNormal, d.reason, "HandOver", "%s", d.message)
		s.setInProgress(v1alpha1.ReasonStarting, handOverMessage(a.Number, d.reason), passes)
		return
	}
	s.event(corev1.EventTypeWarning, d.reason, "Retry", "Attempt %d was lost: %s", a.Number, d.message)
	s.retry(a.Number, d)
}

// retry counts a lost attempt and says whether there is another. That a user has
// suspended its Sandbox counts as nothing, as if the task itself had been.
func (s *scope) retry(attempt int32, d decision) {
	st := &s.task.Status
	when := "the next one is about to start"
	switch {
	case d.reason == v1alpha1.ReasonSuspended:
	case interrupts(d.reason):
		st.Interruptions++
		when = afterPause(st.Interruptions)
		if st.Interruptions >= maxInterruptions {
			s.finish(false, d.reason, fmt.Sprintf("%s; this was interruption %d", strings.TrimSuffix(d.message, "."), st.Interruptions))
			return
		}
	default:
		if st.FailedAttempts++; st.FailedAttempts >= maxAttempts(s.task) {
			s.finish(false, d.reason, fmt.Sprintf("%s; this was attempt %d of %d", strings.TrimSuffix(d.message, "."), st.FailedAttempts, maxAttempts(s.task)))
			return
		}
	}
	s.setInProgress(v1alpha1.ReasonRetrying, lostMessage(attempt, d.reason, when), passes)
}

// lostMessage says what comes after a lost attempt.
func lostMessage(attempt int32, reason, when string) string {
	return fmt.Sprintf("Attempt %d was lost (%s); %s", attempt, reason, when)
}

func afterPause(interruptions int32) string {
	return fmt.Sprintf("the next one starts after a pause of %s", interruptionPause(interruptions))
}

// Bounds of the API on archived attempts.
const (
	maxArchived       = 10
	maxAttemptMessage = 128
	maxNodeName       = 80
)

// turnsOfAttempt is what the last attempt added to the summed progress.
func turnsOfAttempt(st *v1alpha1.AgentTaskStatus) *int32 {
	if st.Progress.Turns == nil || (len(st.Attempts) > 0 && st.Attempts[0].Number > 1) {
		return nil // unknown: what earlier attempts made is not kept
	}
	n := *st.Progress.Turns
	for _, a := range st.Attempts {
		if a.Turns != nil {
			n -= *a.Turns
		}
	}
	return new(max(n, 0))
}
