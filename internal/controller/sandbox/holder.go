package sandbox

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/slim"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// holder is whom a Sandbox's pod works for. A named Sandbox is held by the task
// that has claimed it, in status.taskRef. A task's own Sandbox is held by the
// task's open attempt: the task decides whether there is another one, and each
// gets a pod of its own.
type holder struct {
	// ref is zero while nobody holds the Sandbox.
	ref v1alpha1.TaskReference
	// task is the task whose own Sandbox it is; nil for a named one.
	task *v1alpha1.AgentTask
	// over says that no pod will be made any more, because the task has ended or
	// is gone. The pod that there is stays, for its log.
	over bool
}

// readHolder finds out who holds the Sandbox.
func (r *Reconciler) readHolder(ctx context.Context, s *scope) error {
	owner := podapi.OwnerTask(s.sandbox)
	if owner == nil {
		s.holder = holder{ref: s.sandbox.Status.TaskRef}
		return nil
	}
	task, err := r.task(ctx, s.sandbox.Namespace, owner)
	if apierrors.IsNotFound(err) {
		s.holder = holder{over: true} // the garbage collector is about to delete the Sandbox
		return nil
	}
	if err != nil {
		return err
	}
	s.holder = holderOf(task)
	if s.holder.ref.Attempt != 0 && s.holder.ref.Attempt < s.sandbox.Status.TaskRef.Attempt {
		// The cache may have the task as it was an attempt ago. If not, what the Sandbox
		// says is wrong, and is put right.
		if err := r.confirmHolder(ctx, s); err != nil {
			return err
		}
	}
	if s.holder.ref.Attempt != 0 && s.sandbox.Status.PodName == "" {
		s.sandbox.Status.TaskRef = s.holder.ref // whatever is said from here on is said of this attempt
	}
	return nil
}

// releaseVanished gives a named Sandbox back whose task is gone. Its runner sees that,
// too, and ends the run by itself.
func (r *Reconciler) releaseVanished(ctx context.Context, s *scope) (bool, error) {
	ref := s.sandbox.Status.TaskRef
	if ref.Name == "" || podapi.OwnerTask(s.sandbox) != nil {
		return false, nil
	}
	var task v1alpha1.AgentTask
	key := types.NamespacedName{Namespace: s.sandbox.Namespace, Name: ref.Name}
	err := slim.GetUnlessIdle(ctx, r.Client, key, &task, func() bool { return true })
	if apierrors.IsNotFound(err) || err == nil && string(task.UID) != ref.UID {
		task = v1alpha1.AgentTask{}
		err = r.APIReader.Get(ctx, key, &task) // its informer may be behind the Sandbox's
	}
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading AgentTask %s: %w", ref.Name, err)
	}
	if err == nil && string(task.UID) == ref.UID {
		return false, nil
	}
	s.sandbox.Status.TaskRef = v1alpha1.TaskReference{}
	s.sandbox.Status.LastActivityTime = new(metav1.NewTime(s.facts.now).Rfc3339Copy())
	if err := r.Status().Patch(ctx, s.sandbox, client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})); err != nil {
		return false, fmt.Errorf("releasing Sandbox %s: %w", s.sandbox.Name, err)
	}
	logf.FromContext(ctx).Info("Released Sandbox of a task that is gone", "task", ref.Name)
	return true, nil
}

func holderOf(task *v1alpha1.AgentTask) holder {
	h := holder{task: task, over: kit.Finished(task) || !task.DeletionTimestamp.IsZero()}
	if !h.over && kit.AttemptOpen(task) {
		h.ref = kit.Reference(task, task.Status.Attempt)
	}
	return h
}

// task reads the task that a Sandbox was made for. A task of the same name and
// another UID counts as gone.
func (r *Reconciler) task(ctx context.Context, namespace string, owner *metav1.OwnerReference) (*v1alpha1.AgentTask, error) {
	var task v1alpha1.AgentTask
	key := types.NamespacedName{Namespace: namespace, Name: owner.Name}
	err := r.Get(ctx, key, &task)
	if apierrors.IsNotFound(err) || err == nil && task.UID != owner.UID {
		err = r.APIReader.Get(ctx, key, &task) // its informer may be behind the Sandbox's
	}
	if err != nil {
		return nil, fmt.Errorf("reading AgentTask %s: %w", owner.Name, err)
	}
	if task.UID != owner.UID {
		return nil, apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("agenttasks").GroupResource(), owner.Name)
	}
	return &task, nil
}

// confirmHolder reads past the cache whether the Sandbox still is held as it
// seemed: a pod is neither made nor deleted for an attempt that is over.
func (r *Reconciler) confirmHolder(ctx context.Context, s *scope) error {
	if s.holder.task == nil || s.holderConfirmed {
		return nil // the claim is in the Sandbox itself, which confirm reads
	}
	var live v1alpha1.AgentTask
	err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(s.holder.task), &live)
	if err != nil {
		return fmt.Errorf("reading AgentTask %s: %w", s.holder.task.Name, err)
	}
	now := holderOf(&live)
	if live.UID != s.holder.task.UID || now.ref != s.holder.ref || now.over != s.holder.over {
		return errStale
	}
	s.holderConfirmed = true
	return nil
}
