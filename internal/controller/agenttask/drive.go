package agenttask

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/text"
)

// drive looks after an open attempt: makes its Sandbox, fences its pod, and
// acts on the verdict.
func (r *Reconciler) drive(ctx context.Context, s *scope) error {
	if err := r.confirm(ctx, s); err != nil {
		return err
	}
	if s.sandbox != nil && s.task.Status.PodName == "" && claimed(s.sandbox, s.task, s.task.Status.Attempt) {
		// From here on this pod, and no other, may report.
		s.task.Status.PodName, s.task.Status.PodUID = s.sandbox.Status.PodName, s.sandbox.Status.PodUID
	}
	s.takeLastWords()
	v := judge(s.situation())
	if v.again > 0 {
		s.requeueWithin(v.again)
	}
	if v.kind != goOn {
		if err := r.fresh(ctx, s); err != nil {
			return err
		}
	}
	switch v.kind {
	case succeed, fail:
		s.end(v)
		return nil
	case lose, stop:
		s.archive(v)
		return nil
	}
	s.noteStop()
	inTheWay, err := r.makeSandbox(ctx, s)
	if err != nil {
		return err
	}
	if inTheWay != nil {
		if err := r.obstructed(ctx, s, inTheWay, &v); err != nil {
			return err
		}
	}
	s.standing(v.reason, v.message, v.blocked)
	return nil
}

// obstructed says in the verdict of an attempt that another's Sandbox is in its
// way, and whether that goes by itself.
func (r *Reconciler) obstructed(ctx context.Context, s *scope, sb *v1alpha1.Sandbox, v *verdict) error {
	s.requeueWithin(inputInterval) // no watch need tell when it goes
	waiting, err := kit.BlockingOwner(ctx, r.APIReader, "Sandbox", sb)
	switch {
	case err != nil:
		return err
	case waiting != "":
		v.message = waiting
	default:
		v.reason, v.blocked = v1alpha1.ReasonNameConflict, true
		v.message = fmt.Sprintf("Sandbox %s exists and does not belong to this task; delete it, or create a task of another name", sb.Name)
	}
	return nil
}

// situation is what judge needs of the scope.
func (s *scope) situation() situation {
	f := situation{
		task: s.task, ready: readyOf(s.sandbox), now: s.now,
		sandboxFound: s.sandbox != nil, sandboxClaimed: s.sandbox != nil && claimed(s.sandbox, s.task, s.task.Status.Attempt),
		sandboxLeaving: s.sandbox != nil && !s.sandbox.DeletionTimestamp.IsZero(),
		podFound:       s.pod != nil, podKnown: s.task.Status.PodName != "",
		podLeavingSince: leavingSince(s.pod), runnerEnded: runnerEnd(s.pod) != nil,
	}
	if res := s.task.Status.Result; res.Attempt != 0 && res.Attempt == s.task.Status.Attempt {
		f.result = &res
	}
	return f
}

// takeLastWords copies a runner's last words into the status where the runner
// could not write it itself.
func (s *scope) takeLastWords() {
	if s.task.Status.Result.Attempt == s.task.Status.Attempt {
		return
	}
	words := lastWords(s.pod, s.task)
	if words == nil {
		return
	}
	s.task.Status.Result = shown(words.Result)
	if words.Progress.Turns != nil {
		s.task.Status.Progress = words.Progress
		s.task.Status.Progress.Activity = ""
	}
	if ownLog(words.Transcript.URI, s.pod) {
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

// makeSandbox creates the attempt's own Sandbox if there is none. A pod that
// was seen once means that there was one: it is never made a second time. What it
// gives is another's Sandbox that is in the way.
func (r *Reconciler) makeSandbox(ctx context.Context, s *scope) (inTheWay *v1alpha1.Sandbox, err error) {
	if s.sandbox != nil || named(s.task) || s.task.Status.PodName != "" {
		return nil, nil
	}
	if err := r.fresh(ctx, s); err != nil {
		return nil, err
	}
	sb := ownSandbox(s.task)
	if err := controllerutil.SetControllerReference(s.task, sb, r.Scheme()); err != nil {
		return nil, err
	}
	err = r.Create(ctx, sb)
	switch {
	case err == nil:
		logf.FromContext(ctx).Info("Created Sandbox", "sandbox", sb.Name)
		return nil, nil
	case !apierrors.IsAlreadyExists(err):
		return nil, fmt.Errorf("creating Sandbox %s: %w", sb.Name, err)
	}
	err = r.APIReader.Get(ctx, client.ObjectKeyFromObject(sb), sb)
	switch {
	case apierrors.IsNotFound(err):
		return nil, errStale // it has gone since, and no watch may tell of it any more
	case err != nil:
		return nil, fmt.Errorf("reading Sandbox %s: %w", sb.Name, err)
	case ours(sb, s.task):
		return nil, nil
	}
	return sb, nil
}

// ownSandbox is the Sandbox of a task's attempt.
func ownSandbox(task *v1alpha1.AgentTask) *v1alpha1.Sandbox {
	return &v1alpha1.Sandbox{
		ObjectMeta: metav1.ObjectMeta{
			Name: sandboxName(task, task.Status.Attempt), Namespace: task.Namespace,
			Labels: map[string]string{podspec.LabelManagedBy: podspec.ManagedBy, podspec.LabelTask: task.Name},
			// The sandbox controller would add it first thing; this saves a write.
			Finalizers: []string{podspec.SandboxFinalizer},
		},
		Spec: v1alpha1.SandboxSpec{
			Template: task.Spec.Sandbox.Template,
			State:    v1alpha1.SandboxRunning,
			TaskRef:  reference(task, task.Status.Attempt),
		},
	}
}

// end ends the task. A Sandbox whose runner did not end it is stopped later, by cleanUp.
func (s *scope) end(v verdict) {
	kind := corev1.EventTypeNormal
	if v.kind == fail && v.reason != v1alpha1.ReasonCancelled { // that is what the user wanted
		kind = corev1.EventTypeWarning
	}
	s.finish(v.kind == succeed, v.reason, v.message)
	s.event(kind, v.reason, "Finish", "%s", v.message)
}

const cancelledMessage = "Cancelled on request"

// cancelled ends the task because the user wanted it to.
func (s *scope) cancelled() {
	s.finish(false, v1alpha1.ReasonCancelled, cancelledMessage)
	s.event(corev1.EventTypeNormal, v1alpha1.ReasonCancelled, "Finish", "%s", cancelledMessage)
}

// archive closes the attempt. The task goes on with begin, or ends when it has
// lost as many attempts as it may.
func (s *scope) archive(v verdict) {
	st := &s.task.Status
	a := v1alpha1.AttemptStatus{
		Number: st.Attempt, PodName: st.PodName, StartTime: st.AttemptStartTime,
		CompletionTime: new(metav1.NewTime(s.now)), Reason: v.reason, Message: text.Clip(text.OneLine(v.message), maxAttemptMessage),
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
	st.AttemptStartTime = nil
	switch {
	case s.task.Spec.State == v1alpha1.TaskCancelled:
		// The ended pod stays, as after any other end, so that its log can be read.
		s.cancelled()
		return
	case v.kind == stop || s.task.Spec.State == v1alpha1.TaskSuspended:
		s.standing(v1alpha1.ReasonSuspending, "The attempt was stopped on request", false)
		return
	}
	s.event(corev1.EventTypeWarning, v.reason, "Retry", "Attempt %d was lost: %s", a.Number, v.message)
	if n := losses(s.task); n >= maxAttempts(s.task) {
		s.finish(false, v.reason, fmt.Sprintf("%s; this was attempt %d of %d", v.message, n, maxAttempts(s.task)))
		return
	}
	s.standing(v1alpha1.ReasonRetrying, fmt.Sprintf("Attempt %d was lost (%s); the next one is about to start", a.Number, v.reason), false)
}

// Bounds of the API on archived attempts. As many are kept as retry.maxAttempts
// may be, so that all losses are counted.
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
