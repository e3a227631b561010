package agenttask

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// drive looks after an open attempt: makes its Sandbox, fences its pod, and
// acts on the verdict.
func (r *Reconciler) drive(ctx context.Context, s *scope) error {
	if s.sandbox != nil && s.task.Status.PodName == "" && claimed(s.sandbox, s.task, s.task.Status.Attempt) {
		// From here on this pod, and no other, may report.
		s.task.Status.PodName = s.sandbox.Status.PodName
	}
	s.takeLastWords()
	v := judge(s.situation(r.Clock.Now()))
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
		return r.end(ctx, s, v)
	case lose, stop:
		r.archive(s, v)
		return nil
	}
	r.noteStop(s)
	s.standing(v.reason, v.message, v.blocked)
	return r.makeSandbox(ctx, s)
}

// situation is what judge needs of the scope.
func (s *scope) situation(now time.Time) situation {
	f := situation{
		task: s.task, ready: readyOf(s.sandbox), now: now,
		sandboxFound: s.sandbox != nil, podFound: s.pod != nil, podKnown: s.task.Status.PodName != "",
		runnerEnded: runnerEnd(s.pod) != nil,
	}
	if s.pod != nil && s.pod.DeletionTimestamp != nil {
		f.podLeavingSince = s.pod.DeletionTimestamp.Time
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
	s.task.Status.Result = words.Result
	if words.Progress.Turns != nil {
		s.task.Status.Progress = words.Progress
	}
	if words.Transcript.URI != "" {
		s.task.Status.Transcript = words.Transcript
	}
}

// noteStop keeps when a stop was first seen, for the bound on it.
func (r *Reconciler) noteStop(s *scope) {
	if s.task.Spec.State == v1alpha1.TaskActive {
		s.task.Status.StopRequestTime = nil
	} else if s.task.Status.StopRequestTime == nil {
		s.task.Status.StopRequestTime = new(metav1.NewTime(r.Clock.Now()))
	}
}

// makeSandbox creates the attempt's own Sandbox if there is none. A pod that
// was seen once means that there was one: it is never made a second time.
func (r *Reconciler) makeSandbox(ctx context.Context, s *scope) error {
	if s.sandbox != nil || named(s.task) || s.task.Status.PodName != "" || s.changed() {
		return nil
	}
	if err := r.fresh(ctx, s); err != nil {
		return err
	}
	sb := ownSandbox(s.task)
	if err := controllerutil.SetControllerReference(s.task, sb, r.Scheme()); err != nil {
		return err
	}
	err := r.Create(ctx, sb)
	if apierrors.IsAlreadyExists(err) {
		err = r.adoptSandbox(ctx, s, sb)
	} else if err == nil {
		logf.FromContext(ctx).Info("Created Sandbox", "sandbox", sb.Name)
	}
	if err != nil {
		return fmt.Errorf("creating Sandbox %s: %w", sb.Name, err)
	}
	return nil
}

// adoptSandbox checks that the Sandbox in the way is this task's own.
func (r *Reconciler) adoptSandbox(ctx context.Context, s *scope, sb *v1alpha1.Sandbox) error {
	if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(sb), sb); err != nil {
		return err
	}
	if metav1.IsControlledBy(sb, s.task) {
		return nil
	}
	s.standing(v1alpha1.ReasonNameConflict,
		fmt.Sprintf("Sandbox %s exists and does not belong to this task; delete it, or create a task of another name", sb.Name), true)
	s.requeueWithin(inputInterval)
	return nil
}

// changed reports whether the status has something to write: acting waits for it.
func (s *scope) changed() bool {
	return s.before.Status.Attempt != s.task.Status.Attempt || s.before.Status.PodName != s.task.Status.PodName
}

// ownSandbox is the Sandbox of a task's attempt.
func ownSandbox(task *v1alpha1.AgentTask) *v1alpha1.Sandbox {
	return &v1alpha1.Sandbox{
		ObjectMeta: metav1.ObjectMeta{
			Name: sandboxName(task, task.Status.Attempt), Namespace: task.Namespace,
			Labels: map[string]string{podspec.LabelManagedBy: podspec.ManagedBy, podspec.LabelTask: task.Name},
		},
		Spec: v1alpha1.SandboxSpec{
			Template: task.Spec.Sandbox.Template,
			State:    v1alpha1.SandboxRunning,
			TaskRef:  reference(task, task.Status.Attempt),
		},
	}
}

// end ends the task. A Sandbox whose runner did not end it is stopped later, by cleanUp.
func (r *Reconciler) end(_ context.Context, s *scope, v verdict) error {
	kind := corev1.EventTypeNormal
	if v.kind == fail {
		kind = corev1.EventTypeWarning
	}
	s.finish(r.Clock.Now(), v.kind == succeed, v.reason, v.message)
	s.event(kind, v.reason, "Finish", "%s", v.message)
	return nil
}

// archive closes the attempt. The task goes on with begin, or ends when it has
// lost as many attempts as it may.
func (r *Reconciler) archive(s *scope, v verdict) {
	st := &s.task.Status
	a := v1alpha1.AttemptStatus{
		Number: st.Attempt, PodName: st.PodName, StartTime: st.AttemptStartTime,
		CompletionTime: new(metav1.NewTime(r.Clock.Now())), Reason: v.reason, Message: clip(v.message, 256),
		Turns: turnsOfAttempt(st),
	}
	if s.sandbox != nil {
		a.NodeName = s.sandbox.Status.NodeName
	}
	st.Attempts = append(st.Attempts, a)
	if n := len(st.Attempts); n > maxArchived {
		st.Attempts = st.Attempts[n-maxArchived:]
	}
	st.AttemptStartTime = nil
	if v.kind == stop || s.task.Spec.State != v1alpha1.TaskActive {
		s.standing(v1alpha1.ReasonSuspending, "The attempt was stopped on request", false)
		return
	}
	s.event(corev1.EventTypeWarning, v.reason, "Retry", "Attempt %d was lost: %s", a.Number, v.message)
	if n := losses(s.task); n >= maxAttempts(s.task) {
		s.finish(r.Clock.Now(), false, v.reason, fmt.Sprintf("%s; this was attempt %d of %d", v.message, n, maxAttempts(s.task)))
		return
	}
	s.standing(v1alpha1.ReasonRetrying, fmt.Sprintf("Attempt %d was lost (%s); the next one is about to start", a.Number, v.reason), false)
}

// maxArchived is how many attempts the status keeps.
const maxArchived = 16

// turnsOfAttempt is what the last attempt added to the summed progress.
func turnsOfAttempt(st *v1alpha1.AgentTaskStatus) *int32 {
	if st.Progress.Turns == nil {
		return nil
	}
	n := *st.Progress.Turns
	for _, a := range st.Attempts {
		if a.Turns != nil {
			n -= *a.Turns
		}
	}
	return new(max(n, 0))
}
