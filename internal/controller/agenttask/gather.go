package agenttask

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/warm"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// errStale says that the cache is behind the API server.
var errStale = kit.Stale("agenttasks")

// gather reads what the task's current attempt has from the cache.
func (r *Reconciler) gather(ctx context.Context, s *scope) error {
	s.sandbox, s.pod = nil, nil
	if !named(s.task) && s.task.Status.Attempt == 0 {
		return nil // there is none yet
	}
	// Of a named one also before an attempt: a claim may be there that was not recorded.
	if err := s.readSandbox(ctx, r); err != nil || s.sandbox == nil {
		return err
	}
	return s.readPod(ctx, r)
}

// confirm reads past the cache what an open attempt must have and the cache
// does not show: informers lag, and a lost attempt cannot be taken back.
func (r *Reconciler) confirm(ctx context.Context, s *scope) error {
	if !named(s.task) && !s.spoke() {
		return nil // nothing can be lost yet
	}
	if s.sandbox == nil || !claimed(s.sandbox, s.task, s.task.Status.Attempt) {
		s.pod = nil
		if err := s.readSandbox(ctx, r.APIReader); err != nil {
			return err
		}
	}
	if s.sandbox == nil || s.pod != nil {
		return nil
	}
	return s.readPod(ctx, r.APIReader)
}

// spoke reports whether the runner of the current attempt has reported.
func (s *scope) spoke() bool {
	st := s.task.Status
	return kit.Spoke(s.task) || st.Attempt != 0 && st.RunningTime != nil
}

// readSandbox reads the task's Sandbox. One that the operator would not have made
// for this task is none.
func (s *scope) readSandbox(ctx context.Context, from client.Reader) error {
	s.sandbox = nil
	var sb v1alpha1.Sandbox
	name := sandboxName(s.task)
	err := from.Get(ctx, types.NamespacedName{Namespace: s.task.Namespace, Name: name}, &sb)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading Sandbox %s: %w", name, err)
	}
	if err == nil && (named(s.task) && ownerTask(&sb) == "" || ours(&sb, s.task)) {
		s.sandbox = &sb
	}
	return nil
}

// ours reports whether a Sandbox is the task's own.
func ours(sb *v1alpha1.Sandbox, task *v1alpha1.AgentTask) bool {
	return metav1.IsControlledBy(sb, task) && warm.MadeFor(sb, task)
}

// ownerTask names the task whose own Sandbox it is; empty for any other.
func ownerTask(sb *v1alpha1.Sandbox) string {
	if owner := podapi.OwnerTask(sb); owner != nil {
		return owner.Name
	}
	return ""
}

// readPod reads the pod of the task's attempt, as soon as the Sandbox controller
// vouches for it. One of that name and another UID is somebody else's, whatever it
// says of its end.
func (s *scope) readPod(ctx context.Context, from client.Reader) error {
	name, uid := s.task.Status.PodName, s.task.Status.PodUID
	if sb := s.sandbox.Status; uid == "" && (named(s.task) || sb.TaskRef.Attempt == s.task.Status.Attempt) && (name == "" || sb.PodName == name) {
		name, uid = sb.PodName, sb.PodUID
	}
	if name == "" || uid == "" {
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

// confirmTask fails with errStale unless the API server has the task just as it was
// read: what is created is created only for that. A status needs no such look, since its
// write fails where the task was not read as it is; and such a write is one itself.
func (r *Reconciler) confirmTask(ctx context.Context, s *scope) error {
	if s.written {
		return nil
	}
	var live v1alpha1.AgentTask
	if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(s.task), &live); err != nil {
		return fmt.Errorf("reading AgentTask %s: %w", s.task.Name, err)
	}
	if live.UID != s.task.UID || live.ResourceVersion != s.task.ResourceVersion {
		return errStale
	}
	return nil
}

// named reports whether the task runs in a Sandbox that exists and stays, and is not its own.
func named(task *v1alpha1.AgentTask) bool { return task.Spec.Sandbox.SandboxRef.Name != "" }

// sandboxName is where the task runs: in the Sandbox that it names, in the one that was
// chosen when it asked a pool, or in one of its own name.
func sandboxName(task *v1alpha1.AgentTask) string {
	switch {
	case named(task):
		return task.Spec.Sandbox.SandboxRef.Name
	case warm.Pooled(task) && task.Status.SandboxName != "":
		return task.Status.SandboxName
	}
	return task.Name
}

// claimed reports whether a Sandbox is held for an attempt of the task.
func claimed(sb *v1alpha1.Sandbox, task *v1alpha1.AgentTask, attempt int32) bool {
	return sb.Status.TaskRef == kit.Reference(task, attempt)
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

// runnerEndTime is when the runner container of a pod ended. Where kubelet does not
// know, as of a pod that it has evicted, it is when it last looked.
func runnerEndTime(pod *corev1.Pod) time.Time {
	end := runnerEnd(pod).FinishedAt.Time
	if !end.IsZero() {
		return end
	}
	for _, c := range pod.Status.Conditions {
		if c.LastTransitionTime.After(end) {
			end = c.LastTransitionTime.Time
		}
	}
	return end
}

// terminationMessage is the result in a runner's termination message. Only kubelet and
// the runner write there; what the sandbox container says is never looked at.
func terminationMessage(pod *corev1.Pod, task *v1alpha1.AgentTask) *podapi.TerminationMessage {
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
