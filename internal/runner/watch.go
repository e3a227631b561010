package runner

import (
	"context"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// watcher follows the runner's Sandbox and, while it runs one, its task.
type watcher struct {
	pod       *Pod
	sandboxes chan *v1alpha1.Sandbox
}

func newWatcher(ctx context.Context, p *Pod) *watcher {
	w := &watcher{pod: p, sandboxes: make(chan *v1alpha1.Sandbox, 1)}
	ctx, stop := context.WithCancel(ctx)
	go follow(ctx, p.api, "sandboxes", p.sandbox, func(sb *v1alpha1.Sandbox) {
		if sb == nil {
			return
		}
		replace(w.sandboxes, sb)
		if podspec.OneShot(sb) && sb.Spec.TaskRef.Name != "" {
			stop() // nobody else ever claims it
		}
	})
	return w
}

// replace puts the newest value into a channel of one.
func replace[T any](ch chan T, v T) {
	select {
	case <-ch:
	default:
	}
	ch <- v
}

// claimed waits until the Sandbox is claimed for another attempt than the last.
func (w *watcher) claimed(ctx context.Context, last v1alpha1.TaskReference) (*v1alpha1.Sandbox, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case sb := <-w.sandboxes:
			if ref := sb.Spec.TaskRef; ref.Name != "" && ref != last {
				return sb, nil
			}
		}
	}
}

// task waits until a task's status names this pod, which is what lets the
// runner report, and gives the task as it is then. From then on a change that
// ends the run ends ctx through cancel.
func (w *watcher) task(ctx context.Context, ref v1alpha1.TaskReference, cancel context.CancelCauseFunc) (*v1alpha1.AgentTask, error) {
	started := make(chan *v1alpha1.AgentTask, 1)
	ours := false
	go follow(ctx, w.pod.api, "agenttasks", ref.Name, func(at *v1alpha1.AgentTask) {
		switch {
		case at == nil || string(at.UID) != ref.UID || at.Status.Attempt > ref.Attempt:
			cancel(errFenced)
		case at.Status.Attempt == ref.Attempt && at.Status.PodName == w.pod.name && at.Status.PodUID == w.pod.uid:
			if !ours {
				ours = true
				started <- at
			}
			cancelIfAsked(at, cancel)
		case ours:
			cancel(errFenced)
		}
	})
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case at := <-started:
		return at, nil
	}
}

// cancelIfAsked ends the run when the user asks for it.
func cancelIfAsked(at *v1alpha1.AgentTask, cancel context.CancelCauseFunc) {
	switch {
	case !at.DeletionTimestamp.IsZero():
		cancel(errCancelled)
	case at.Spec.State == v1alpha1.TaskCancelled:
		cancel(errCancelled)
	case at.Spec.State == v1alpha1.TaskSuspended:
		cancel(errSuspended)
	}
}
