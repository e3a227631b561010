package sandboxpool

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/fair"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/slim"
	"github.com/sampan-dev/sampan/internal/controller/warm"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// refillDelay is how long after a claim its place is filled: a pod that starts takes
// processors from the tasks of a burst, which begin at the same moment.
const refillDelay = 500 * time.Millisecond

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// SetupWithManager registers the controller and its watches. The index is that of
// IndexPool, which tasks need as well.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("sandboxpool").
		For(&v1alpha1.SandboxPool{}, builder.WithPredicates(kit.Updated(func(before, after *v1alpha1.SandboxPool) bool {
			return before.Generation != after.Generation
		}))).
		Watches(&v1alpha1.Sandbox{}, sandboxHandler()).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.poolsOfRegistry)).
		WatchesRawSource(r.Policy.Source(r.allPools)).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Workers, NewQueue: fair.NewQueue(r.Workers, slim.Large(r.Client, &v1alpha1.SandboxPool{}))}).
		Complete(r)
}

// IndexPools registers the index by which the Sandboxes of a pool are found.
func IndexPools(ctx context.Context, mgr ctrl.Manager) error {
	return mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.Sandbox{}, warm.IndexPool, warm.IndexOfPool)
}

// sandboxHandler asks for a look at the pool of a Sandbox when that may change what is to
// be done; after a claim a moment later.
func sandboxHandler() handler.Funcs {
	look := func(sb client.Object, q queue) {
		if req, ok := poolOf(sb); ok {
			q.Add(req)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { look(e.Object, q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { look(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			was, had := poolOf(e.ObjectOld)
			is, has := poolOf(e.ObjectNew)
			switch {
			case had && (!has || was != is):
				q.AddAfter(was, refillDelay)
			case has && matters(e.ObjectOld.(*v1alpha1.Sandbox), e.ObjectNew.(*v1alpha1.Sandbox)):
				q.Add(is)
			}
		},
	}
}

// poolOf is the pool in which a Sandbox waits.
func poolOf(obj client.Object) (reconcile.Request, bool) {
	sb, ok := obj.(*v1alpha1.Sandbox)
	if !ok {
		return reconcile.Request{}, false
	}
	owner := podapi.OwnerPool(sb)
	if owner == nil {
		return reconcile.Request{}, false
	}
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: sb.Namespace, Name: owner.Name}}, true
}

func matters(before, after *v1alpha1.Sandbox) bool {
	return warm.Ready(before) != warm.Ready(after) || warm.Taken(before) != warm.Taken(after) ||
		(warm.Failed(before) == nil) != (warm.Failed(after) == nil) ||
		stalledBy(before) != stalledBy(after) || before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
		!equality.Semantic.DeepEqual(before.Labels, after.Labels)
}

func stalledBy(sb *v1alpha1.Sandbox) string {
	if c := meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionStalled); c != nil {
		return c.Reason
	}
	return ""
}

// poolsOfRegistry are the pools whose pods have the models of a registry.
func (r *Reconciler) poolsOfRegistry(ctx context.Context, obj client.Object) []reconcile.Request {
	if obj.GetNamespace() == r.Surroundings.Registry.OperatorNamespace {
		return r.pools(ctx)
	}
	return r.pools(ctx, client.InNamespace(obj.GetNamespace()))
}

// allPools are those that another policy may let be filled, or have made otherwise.
func (r *Reconciler) allPools(ctx context.Context) []reconcile.Request { return r.pools(ctx) }

func (r *Reconciler) pools(ctx context.Context, opts ...client.ListOption) []reconcile.Request {
	var list v1alpha1.SandboxPoolList
	if err := r.List(ctx, &list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Could not list SandboxPools")
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return out
}
