package agenttask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// errStale says that the cache is behind the API server.
var errStale = apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("agenttasks").GroupResource(), "", errors.New("cache is behind"))

// gather reads what the task's current attempt has from the cache.
func (r *Reconciler) gather(ctx context.Context, s *scope) error {
	s.sandbox, s.pod = nil, nil
	name := s.task.Status.SandboxName
	if named(s.task) {
		// Also before an attempt: a claim may be there that was not recorded.
		name = s.task.Spec.Sandbox.SandboxRef.Name
	}
	if name == "" {
		return nil
	}
	if err := s.readSandbox(ctx, r, name); err != nil || s.sandbox == nil {
		return err
	}
	return s.readPod(ctx, r)
}

// confirm reads past the cache what an open attempt must have and the cache
// does not show: informers lag, and a lost attempt cannot be taken back.
func (r *Reconciler) confirm(ctx context.Context, s *scope) error {
	st := s.task.Status
	if s.sandbox == nil && st.PodName == "" && !named(s.task) {
		return nil // not made yet
	}
	if s.sandbox == nil || !claimed(s.sandbox, s.task, st.Attempt) {
		s.pod = nil
		if err := s.readSandbox(ctx, r.APIReader, st.SandboxName); err != nil {
			return err
		}
	}
	if s.sandbox == nil || s.pod != nil {
		return nil
	}
	return s.readPod(ctx, r.APIReader)
}

// readSandbox reads the Sandbox of that name; another task's own one is none.
func (s *scope) readSandbox(ctx context.Context, from client.Reader, name string) error {
	s.sandbox = nil
	var sb v1alpha1.Sandbox
	err := from.Get(ctx, types.NamespacedName{Namespace: s.task.Namespace, Name: name}, &sb)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading Sandbox %s: %w", name, err)
	}
	if err == nil && (named(s.task) || ours(&sb, s.task)) {
		s.sandbox = &sb
	}
	return nil
}

// ours reports whether a Sandbox is what the operator would have made for the task:
// anybody who may create Sandboxes can write an owner into one, and have the task's
// proof run in an image of theirs.
func ours(sb *v1alpha1.Sandbox, task *v1alpha1.AgentTask) bool {
	return metav1.IsControlledBy(sb, task) && equality.Semantic.DeepEqual(sb.Spec.Template, task.Spec.Sandbox.Template)
}

// readPod reads the task's pod, or, before it is known, its Sandbox's. One of that
// name and another UID is somebody else's, whatever it says of its end.
func (s *scope) readPod(ctx context.Context, from client.Reader) error {
	name, uid := s.task.Status.PodName, s.task.Status.PodUID
	if name == "" {
		name, uid = s.sandbox.Status.PodName, s.sandbox.Status.PodUID
	}
	if name == "" {
		return nil
	}
	var pod corev1.Pod
	err := from.Get(ctx, types.NamespacedName{Namespace: s.task.Namespace, Name: name}, &pod)
	if err == nil && string(pod.UID) == uid {
		s.pod = &pod
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading Pod %s: %w", name, err)
	}
	return nil
}

// fresh fails with errStale unless the API server has the task just as it was
// read: what cannot be undone is decided only on that.
func (r *Reconciler) fresh(ctx context.Context, s *scope) error {
	var live v1alpha1.AgentTask
	if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(s.task), &live); err != nil {
		return fmt.Errorf("reading AgentTask %s: %w", s.task.Name, err)
	}
	if live.UID != s.task.UID || live.ResourceVersion != s.task.ResourceVersion {
		return errStale
	}
	return nil
}

// finished reports whether the task has ended.
func finished(task *v1alpha1.AgentTask) bool {
	c := meta.FindStatusCondition(task.Status.Conditions, v1alpha1.ConditionSucceeded)
	return c != nil && c.Status != metav1.ConditionUnknown
}

// attemptOpen reports whether an attempt was begun and not archived.
func attemptOpen(task *v1alpha1.AgentTask) bool {
	st := task.Status
	if st.Attempt == 0 {
		return false
	}
	n := len(st.Attempts)
	return n == 0 || st.Attempts[n-1].Number != st.Attempt
}

// named reports whether the task runs in a Sandbox that is not its own.
func named(task *v1alpha1.AgentTask) bool { return task.Spec.Sandbox.SandboxRef.Name != "" }

// sandboxName is where an attempt runs.
func sandboxName(task *v1alpha1.AgentTask, attempt int32) string {
	if named(task) {
		return task.Spec.Sandbox.SandboxRef.Name
	}
	return fmt.Sprintf("%s-%d", task.Name, attempt)
}

// claimed reports whether a Sandbox is held for an attempt of the task.
func claimed(sb *v1alpha1.Sandbox, task *v1alpha1.AgentTask, attempt int32) bool {
	return sb.Spec.TaskRef == reference(task, attempt)
}

func reference(task *v1alpha1.AgentTask, attempt int32) v1alpha1.TaskReference {
	return v1alpha1.TaskReference{Name: task.Name, UID: string(task.UID), Attempt: attempt}
}

// runnerEnd is how the runner container ended; nil while it has not.
func runnerEnd(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	if pod == nil {
		return nil
	}
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == podapi.RunnerContainer {
			return c.State.Terminated
		}
	}
	return nil
}

// containerEnded reports whether a container of a pod has ended.
func containerEnded(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.State.Terminated != nil })
}

// lastWords is the result in a runner's termination message. Only kubelet and
// the runner write there; what the sandbox container says is never looked at.
func lastWords(pod *corev1.Pod, task *v1alpha1.AgentTask) *podapi.TerminationMessage {
	end := runnerEnd(pod)
	if end == nil || end.Message == "" {
		return nil
	}
	var words podapi.TerminationMessage
	if err := json.Unmarshal([]byte(end.Message), &words); err != nil {
		return nil
	}
	if words.TaskUID != string(task.UID) || words.Result.Attempt != task.Status.Attempt {
		return nil
	}
	return &words
}
