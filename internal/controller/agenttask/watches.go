package agenttask

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	ctrlevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/fair"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/slim"
)

// indexSandboxRef finds the tasks that run in a named Sandbox.
const indexSandboxRef = "spec.sandbox.sandboxRef.name"

// IndexSandboxRef gives the value of the index of that name; exported so that
// tests with another client can register it too.
func IndexSandboxRef(obj client.Object) []string {
	if name := obj.(*v1alpha1.AgentTask).Spec.Sandbox.SandboxRef.Name; name != "" {
		return []string{name}
	}
	return nil
}

// SetupWithManager registers the controller, its index and its watches.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.AgentTask{}, indexSandboxRef, IndexSandboxRef); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("agenttask").
		For(&v1alpha1.AgentTask{}, builder.WithPredicates(taskChanged())).
		Watches(&v1alpha1.Sandbox{}, handler.EnqueueRequestsFromMapFunc(r.tasksOfSandbox), builder.WithPredicates(sandboxChanged())).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.tasksOfPod), builder.WithPredicates(podChanged())).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.tasksOfRegistry)).
		Watches(&v1alpha1.Budget{}, handler.EnqueueRequestsFromMapFunc(r.tasksOfBudget)).
		WatchesRawSource(r.Policy.Source(r.tasksRefused)).
		WatchesRawSource(source.Func(r.watchOverdue)).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Workers, NewQueue: fair.NewQueue(r.Workers, slim.Large(r.Client, &v1alpha1.AgentTask{}))}). //nolint:contextcheck // a queue looks into the cache, which takes no time
		Complete(r)
}

// taskChanged passes what the user or the runner has changed. What the controller
// itself has written it has acted on already.
func taskChanged() predicate.Predicate {
	return kit.Updated(func(before, after *v1alpha1.AgentTask) bool {
		return before.Generation != after.Generation || len(before.Finalizers) != len(after.Finalizers) ||
			before.Status.Progress.Attempt != after.Status.Progress.Attempt || before.Status.Result.Attempt != after.Status.Result.Attempt ||
			before.Status.Progress.RequestedUSD != after.Status.Progress.RequestedUSD
	})
}

// sandboxChanged passes what tells a task more than that its pod runs: it waits for
// its runner's report then. A named Sandbox is free, or has a pod, all at once.
func sandboxChanged() predicate.Predicate {
	p := kit.Updated(func(before, after *v1alpha1.Sandbox) bool {
		if ownerTask(after) == "" {
			return before.ResourceVersion != after.ResourceVersion
		}
		was, is := readyOf(before), readyOf(after)
		switch {
		case is == nil:
			return false
		case is.Status == metav1.ConditionTrue:
			return was != nil && was.Status != is.Status && was.Reason != v1alpha1.ReasonPodPending
		}
		return was == nil || before.Status.TaskRef != after.Status.TaskRef || was.Status != is.Status || was.Reason != is.Reason || was.Message != is.Message
	})
	p.CreateFunc = func(e ctrlevent.CreateEvent) bool { return ownerTask(e.Object.(*v1alpha1.Sandbox)) == "" }
	return p
}

// podChanged passes the end of a pod or of its runner, and its deletion.
func podChanged() predicate.Predicate {
	p := kit.Updated(func(before, after *corev1.Pod) bool {
		return (runnerEnd(before) == nil) != (runnerEnd(after) == nil) || podEnded(before) != podEnded(after)
	})
	p.CreateFunc = func(ctrlevent.CreateEvent) bool { return false }
	return p
}

// tasksOfSandbox are the task that has made a Sandbox for itself or, of a named one,
// the task that holds it and those that wait for it.
func (r *Reconciler) tasksOfSandbox(ctx context.Context, obj client.Object) []reconcile.Request {
	if task := ownerTask(obj.(*v1alpha1.Sandbox)); task != "" {
		return r.unfinished(ctx, obj.GetNamespace(), task)
	}
	return r.tasksOfNamed(ctx, obj.(*v1alpha1.Sandbox))
}

// tasksOfNamed are the tasks that a change of a named Sandbox concerns: the one that
// holds it, even if it has ended, since it may not have seen that it holds it; those that wait
// for something else than their turn; and of those in the queue, which may be many, the
// first, where nobody holds it.
func (r *Reconciler) tasksOfNamed(ctx context.Context, sb *v1alpha1.Sandbox) []reconcile.Request {
	var out []reconcile.Request
	var first *v1alpha1.AgentTask
	holder := sb.Status.TaskRef
	err := r.eachTask(ctx, func(t *v1alpha1.AgentTask) {
		switch {
		case holder.Name != "" && holder.UID == string(t.UID), !kit.Finished(t) && !inQueue(t):
			out = append(out, requestOf(t))
		case holder.Name == "" && waits(t) && (first == nil || before(t, first)):
			first = t
		}
	}, client.InNamespace(sb.Namespace), client.MatchingFields{indexSandboxRef: sb.Name})
	if err != nil {
		logf.FromContext(ctx).Error(err, "Could not list AgentTasks")
	}
	if first != nil {
		out = append(out, requestOf(first))
	}
	return out
}

// inQueue reports whether a task says that it waits for its turn.
func inQueue(t *v1alpha1.AgentTask) bool {
	c := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionSucceeded)
	return c != nil && c.Reason == v1alpha1.ReasonSandboxBusy
}

func requestOf(t *v1alpha1.AgentTask) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKeyFromObject(t)}
}

// tasksOfPod is the task whose attempt the pod runs.
func (r *Reconciler) tasksOfPod(ctx context.Context, obj client.Object) []reconcile.Request {
	owner := metav1.GetControllerOf(obj)
	if owner == nil || owner.Kind != "Sandbox" {
		return nil
	}
	var sb v1alpha1.Sandbox
	key := types.NamespacedName{Namespace: obj.GetNamespace(), Name: owner.Name}
	if err := r.Get(ctx, key, &sb); err != nil {
		return nil
	}
	name := ownerTask(&sb)
	if name == "" {
		name = sb.Status.TaskRef.Name
	}
	return r.unfinished(ctx, obj.GetNamespace(), name)
}

// unfinished is the task of that name, unless it has ended.
func (r *Reconciler) unfinished(ctx context.Context, namespace, name string) []reconcile.Request {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	var task v1alpha1.AgentTask
	if err := r.Get(ctx, key, &task, client.UnsafeDisableDeepCopy); name == "" || err != nil || kit.Finished(&task) {
		return nil
	}
	return []reconcile.Request{{NamespacedName: key}}
}

// tasksOfRegistry are the tasks that have not started: a new registry may be
// what they wait for.
func (r *Reconciler) tasksOfRegistry(ctx context.Context, obj client.Object) []reconcile.Request {
	r.Registry.Forget(ctx, obj.GetNamespace())
	if obj.GetNamespace() == r.Registry.OperatorNamespace {
		return r.requests(ctx)
	}
	return r.requests(ctx, client.InNamespace(obj.GetNamespace()))
}

func (r *Reconciler) requests(ctx context.Context, opts ...client.ListOption) []reconcile.Request {
	var out []reconcile.Request
	err := r.eachTask(ctx, func(t *v1alpha1.AgentTask) {
		if !kit.Finished(t) {
			out = append(out, requestOf(t))
		}
	}, opts...)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Could not list AgentTasks")
	}
	return out
}

// eachTask looks at tasks of the cache, which are not to be changed.
func (r *Reconciler) eachTask(ctx context.Context, look func(*v1alpha1.AgentTask), opts ...client.ListOption) error {
	var list v1alpha1.AgentTaskList
	if err := r.List(ctx, &list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		return fmt.Errorf("listing AgentTasks: %w", err)
	}
	for i := range list.Items {
		look(&list.Items[i])
	}
	return nil
}
