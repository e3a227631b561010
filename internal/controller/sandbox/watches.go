package sandbox

import (
	"cmp"
	"context"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	ctrlevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/fair"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/slim"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// SetupWithManager registers the controller. Each watch passes only what may change
// what is to be done: a reconcile that finds nothing to do costs as much as any other.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	owned := builder.WithPredicates(takenOrChanged())
	return ctrl.NewControllerManagedBy(mgr).
		Named("sandbox").
		For(&v1alpha1.Sandbox{}, builder.WithPredicates(sandboxChanged())).
		Owns(&corev1.Pod{}, builder.WithPredicates(podChanged())).
		Owns(&corev1.PersistentVolumeClaim{}, owned).
		Watches(&networkingv1.NetworkPolicy{}, handler.EnqueueRequestsFromMapFunc(sandboxOfPolicy), builder.WithPredicates(policyChanged())).
		Watches(&v1alpha1.AgentTask{}, handler.EnqueueRequestsFromMapFunc(ownSandbox), builder.WithPredicates(attemptChanged())).
		Watches(&v1alpha1.AgentTask{}, handler.EnqueueRequestsFromMapFunc(namedSandbox), builder.WithPredicates(taskVanished())).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.sandboxOverQuota), builder.WithPredicates(podFreed())).
		Watches(&networkingv1.NetworkPolicy{}, handler.EnqueueRequestsFromMapFunc(r.sandboxesOfShared), owned).
		Watches(&corev1.ServiceAccount{}, handler.EnqueueRequestsFromMapFunc(r.sandboxesOfShared), owned).
		Watches(&rbacv1.RoleBinding{}, handler.EnqueueRequestsFromMapFunc(r.sandboxesOfShared), owned).
		Watches(&discoveryv1.EndpointSlice{}, handler.EnqueueRequestsFromMapFunc(r.restricted)).
		WatchesRawSource(r.Policy.Source(r.sandboxesRefused)).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Options.Workers, NewQueue: fair.NewQueue(r.Options.Workers, slim.Large(r.Client, &v1alpha1.Sandbox{}))}).
		Complete(r)
}

// sandboxChanged passes changes of the spec and, for a named Sandbox, all others: it is
// claimed in its status, and some of its steps go on when the last one is written. What
// is written of a task's own Sandbox asks for nothing more.
func sandboxChanged() predicate.Predicate {
	return kit.Updated(func(before, after *v1alpha1.Sandbox) bool {
		return before.Generation != after.Generation || podapi.OwnerTask(after) == nil && before.ResourceVersion != after.ResourceVersion ||
			len(before.Finalizers) != len(after.Finalizers) || !equality.Semantic.DeepEqual(before.OwnerReferences, after.OwnerReferences)
	})
}

// podChanged passes what changes the state of a pod. That it was made, or waits to
// be started, is known.
func podChanged() predicate.Predicate {
	p := kit.Updated(func(before, after *corev1.Pod) bool {
		was, is := stateOf(before), stateOf(after)
		was.diedAt = is.diedAt
		return was != is
	})
	p.CreateFunc = func(e ctrlevent.CreateEvent) bool { return stateOf(e.Object.(*corev1.Pod)).telling() }
	return p
}

// podFreed passes pods that give back what they had of a quota.
func podFreed() predicate.Predicate {
	p := kit.Updated(func(before, after *corev1.Pod) bool { return !podOver(before) && podOver(after) })
	p.CreateFunc = func(ctrlevent.CreateEvent) bool { return false }
	return p
}

func podOver(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// takenOrChanged passes what somebody has deleted or changed. That such an object
// was made is known to whoever has made it.
func takenOrChanged() predicate.Predicate {
	p := kit.Updated(func(before, after client.Object) bool {
		return before.GetResourceVersion() != after.GetResourceVersion()
	})
	p.CreateFunc = func(ctrlevent.CreateEvent) bool { return false }
	return p
}

// policyChanged passes every event but updates that change nothing: a policy that is
// found when the manager starts may be that of a Sandbox that is gone.
func policyChanged() predicate.Predicate {
	return kit.Updated(func(before, after *networkingv1.NetworkPolicy) bool {
		return before.ResourceVersion != after.ResourceVersion
	})
}

// sandboxOfPolicy is the Sandbox that a policy was made for.
func sandboxOfPolicy(_ context.Context, obj client.Object) []reconcile.Request {
	owner := podspec.Owner(obj)
	if owner == nil || owner.Kind != "Sandbox" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: obj.GetNamespace(), Name: owner.Name}}}
}

// taskVanished passes tasks that are gone.
func taskVanished() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(ctrlevent.CreateEvent) bool { return false },
		UpdateFunc: func(ctrlevent.UpdateEvent) bool { return false },
	}
}

// namedSandbox is the Sandbox that a task names, and may have held.
func namedSandbox(_ context.Context, obj client.Object) []reconcile.Request {
	name := obj.(*v1alpha1.AgentTask).Spec.Sandbox.SandboxRef.Name
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: obj.GetNamespace(), Name: name}}}
}

// attemptChanged passes what changes whether and for which attempt a task wants a
// pod, but for its first attempt, for which its Sandbox is made.
func attemptChanged() predicate.Predicate {
	p := kit.Updated(func(before, after *v1alpha1.AgentTask) bool {
		was, is := holderOf(before), holderOf(after)
		return was.ref != is.ref && is.ref.Attempt != 1 && !is.over
	})
	p.CreateFunc = func(ctrlevent.CreateEvent) bool { return false }
	p.DeleteFunc = func(ctrlevent.DeleteEvent) bool { return false }
	return p
}

// ownSandbox is the Sandbox that is a task's own: it has the task's name, unless the task
// has claimed it in a pool.
func ownSandbox(_ context.Context, obj client.Object) []reconcile.Request {
	task := obj.(*v1alpha1.AgentTask)
	if task.Spec.Sandbox.SandboxRef.Name != "" {
		return nil
	}
	name := cmp.Or(task.Status.SandboxName, task.Name)
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: task.Namespace, Name: name}}}
}

// sandboxOverQuota is the oldest Sandbox of the namespace that waits for room in a
// quota: one pod that goes makes room for one.
func (r *Reconciler) sandboxOverQuota(ctx context.Context, pod client.Object) []reconcile.Request {
	var oldest *v1alpha1.Sandbox
	r.eachSandbox(ctx, func(sb *v1alpha1.Sandbox) {
		c := meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionReady)
		if c != nil && c.Reason == v1alpha1.ReasonQuotaExceeded && (oldest == nil || sb.CreationTimestamp.Before(&oldest.CreationTimestamp)) {
			oldest = sb
		}
	}, client.InNamespace(pod.GetNamespace()))
	if oldest == nil {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(oldest)}}
}

// sandboxesOfShared are the Sandboxes of a namespace, for an object that they share.
func (r *Reconciler) sandboxesOfShared(ctx context.Context, obj client.Object) []reconcile.Request {
	if name := obj.GetName(); name != podspec.IngressPolicyName && name != podspec.RunnerName {
		return nil
	}
	return r.sandboxes(ctx, func(sb *v1alpha1.Sandbox) bool { return sb.Status.PodName != "" }, client.InNamespace(obj.GetNamespace()))
}

// restricted are the Sandboxes whose policies name the API server's addresses.
func (r *Reconciler) restricted(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.sandboxes(ctx, podspec.Restricted)
}

func (r *Reconciler) sandboxes(ctx context.Context, which func(*v1alpha1.Sandbox) bool, opts ...client.ListOption) []reconcile.Request {
	var out []reconcile.Request
	r.eachSandbox(ctx, func(sb *v1alpha1.Sandbox) {
		if which(sb) {
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: sb.Namespace, Name: sb.Name}})
		}
	}, opts...)
	return out
}

func (r *Reconciler) eachSandbox(ctx context.Context, do func(*v1alpha1.Sandbox), opts ...client.ListOption) {
	var list v1alpha1.SandboxList
	if err := r.List(ctx, &list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Could not list Sandboxes")
		return
	}
	for i := range list.Items {
		do(&list.Items[i])
	}
}
