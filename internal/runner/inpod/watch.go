package inpod

import (
	"context"
	"errors"
	"sync"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// errReleased: the Sandbox was given back before its task named this pod.
var errReleased = errors.New("the claim was given back")

// watcher follows the runner's Sandbox and, while it runs one, its task.
type watcher struct {
	pod *Runner
	// changed is sent to when latest has changed.
	changed chan struct{}
	// seen is closed once there is one.
	seen   chan struct{}
	mu     sync.Mutex
	latest *v1alpha1.Sandbox
	// news is closed, and replaced, when latest has changed.
	news chan struct{}
}

func newWatcher(ctx context.Context, p *Runner) *watcher {
	w := &watcher{pod: p, changed: make(chan struct{}, 1), seen: make(chan struct{}), news: make(chan struct{})}
	ctx, stop := context.WithCancel(ctx)
	go follow(ctx, p.api, "sandboxes", p.sandbox, func(sb *v1alpha1.Sandbox) {
		if sb == nil {
			return
		}
		w.set(sb)
		if podapi.OwnerTask(sb) != nil {
			stop() // nobody else ever claims it
		}
	})
	return w
}

func (w *watcher) set(sb *v1alpha1.Sandbox) {
	w.mu.Lock()
	if w.latest == nil {
		close(w.seen)
	}
	w.latest = sb
	close(w.news)
	w.news = make(chan struct{})
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// sandbox is the Sandbox as it was last seen; nil before that.
func (w *watcher) sandbox() *v1alpha1.Sandbox {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest
}

// first waits until the Sandbox was seen.
func (w *watcher) first(ctx context.Context) (*v1alpha1.Sandbox, error) {
	select {
	case <-w.seen:
		return w.sandbox(), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// await waits until the Sandbox is as it should be, and gives it.
func (w *watcher) await(ctx context.Context, is func(*v1alpha1.Sandbox) bool) (*v1alpha1.Sandbox, error) {
	for {
		w.mu.Lock()
		sb, news := w.latest, w.news
		w.mu.Unlock()
		if sb != nil && is(sb) {
			return sb, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-news:
		}
	}
}

// claimed waits until the Sandbox is claimed for another attempt than the last, and gives
// it. The error is errSuspending where its pod is to go.
func (w *watcher) claimed(ctx context.Context, last v1alpha1.TaskReference) (*v1alpha1.Sandbox, error) {
	for {
		switch sb := w.sandbox(); {
		case sb == nil:
		case suspending(sb):
			return sb, errSuspending
		case w.pod.holder(sb).Name != "" && w.pod.holder(sb) != last:
			return sb, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-w.changed:
		}
	}
}

// task waits until a task's status names this pod, which is what lets the
// runner report, and gives the task as it is then. From then on a change that
// ends the run ends ctx through cancel. A claim that is given back before, since
// its task was stopped meanwhile, is errReleased. Whatever the task comes to be is noted.
func (w *watcher) task(ctx context.Context, ref v1alpha1.TaskReference, cancel context.CancelCauseFunc, note func(*v1alpha1.AgentTask)) (*v1alpha1.AgentTask, error) {
	started := make(chan *v1alpha1.AgentTask, 1)
	ours := false
	go follow(ctx, w.pod.api, "agenttasks", ref.Name, func(at *v1alpha1.AgentTask) {
		switch {
		case at == nil || string(at.UID) != ref.UID || at.Status.Attempt > ref.Attempt:
			cancel(errFenced)
		case at.Status.Attempt == ref.Attempt && at.Status.PodName == w.pod.name && (at.Status.PodUID == "" || at.Status.PodUID == w.pod.uid):
			note(at)
			if !ours {
				ours = true
				started <- at
			}
			cancelIfAsked(at, cancel)
		case ours:
			cancel(errFenced)
		}
	})
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case at := <-started:
			return at, nil
		case <-w.changed:
			if w.pod.holder(w.sandbox()) != ref {
				return nil, errReleased
			}
		}
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

// holder is the attempt that the pod works for: the one that it was made for or, in a
// named Sandbox, the one that has claimed the Sandbox. A pod that was made in a pool serves
// the first attempt of the task that has made the Sandbox its own.
func (p *Runner) holder(sb *v1alpha1.Sandbox) v1alpha1.TaskReference {
	if owner := podapi.OwnerTask(sb); owner != nil {
		return v1alpha1.TaskReference{Name: owner.Name, UID: string(owner.UID), Attempt: max(p.attempt, 1)}
	}
	return sb.Status.TaskRef
}
