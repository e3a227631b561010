package agenttask

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/fair"
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
		For(&v1alpha1.AgentTask{}).
		Owns(&v1alpha1.Sandbox{}).
		Watches(&v1alpha1.Sandbox{}, handler.EnqueueRequestsFromMapFunc(r.tasksOfSandbox)).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.tasksOfPod)).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.tasksOfRegistry)).
		WatchesRawSource(r.Policy.Source(r.tasksRefused)).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Workers, NewQueue: fair.NewQueue(r.Workers, slim.Large(r.Client, &v1alpha1.AgentTask{}))}).
		Complete(r)
}

// tasksOfSandbox are the task that holds a named Sandbox and those that wait for it.
func (r *Reconciler) tasksOfSandbox(ctx context.Context, obj client.Object) []reconcile.Request {
	return r.requests(ctx, client.InNamespace(obj.GetNamespace()), client.MatchingFields{indexSandboxRef: obj.GetName()})
}

// tasksOfPod is the task that the pod's Sandbox was claimed for.
func (r *Reconciler) tasksOfPod(ctx context.Context, obj client.Object) []reconcile.Request {
	for _, owner := range obj.GetOwnerReferences() {
		if owner.Kind != "Sandbox" {
			continue
		}
		var sb v1alpha1.Sandbox
		key := types.NamespacedName{Namespace: obj.GetNamespace(), Name: owner.Name}
		if err := r.Get(ctx, key, &sb); err != nil || sb.Spec.TaskRef.Name == "" {
			return nil
		}
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: key.Namespace, Name: sb.Spec.TaskRef.Name}}}
	}
	return nil
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
	var list v1alpha1.AgentTaskList
	if err := r.List(ctx, &list, opts...); err != nil {
		logf.FromContext(ctx).Error(err, "Could not list AgentTasks")
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if !finished(&list.Items[i]) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}
