package budget

import (
	"context"
	"fmt"
	"time"

	"github.com/shopspring/decimal"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
)

// Reconciler settles what tasks held that have ended, and begins new periods.
type Reconciler struct {
	*Store
	// Workers is how many Budgets are reconciled at once.
	Workers int
}

// +kubebuilder:rbac:groups=sampan.dev,resources=budgets,verbs=get;list;watch
// +kubebuilder:rbac:groups=sampan.dev,resources=budgets/status,verbs=get;patch

// Reconcile brings one Budget up to date.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	defer r.lock(req.Namespace)()
	var b v1alpha1.Budget
	if err := r.APIReader.Get(ctx, req.NamespacedName, &b); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	a, err := r.account(&b)
	if err != nil {
		return ctrl.Result{}, err
	}
	for uid, h := range a.holds {
		if err := r.settle(ctx, a, uid, h); err != nil {
			return ctrl.Result{}, err
		}
	}
	if err := r.takeIn(ctx, a); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.save(ctx, a); err != nil {
		return kit.ResultFor(err)
	}
	return ctrl.Result{RequeueAfter: max(a.reset.Sub(r.Clock.Now()), time.Second)}, nil
}

// settle ends what a task holds that does not spend any more. Of many that do, the cache
// tells; one that does not is looked at past it, and after the Budget was read, so that
// a reservation for its next attempt conflicts with this.
func (r *Reconciler) settle(ctx context.Context, a account, uid string, h hold) error {
	if _, ended, err := r.end(ctx, r.Client, a.budget.Namespace, uid, h); err != nil || !ended {
		return err
	}
	total, ended, err := r.end(ctx, r.APIReader, a.budget.Namespace, uid, h)
	if err != nil || !ended {
		return err
	}
	a.settle(uid, total)
	return nil
}

// end reports whether a task has come to an end, or to a pause, and what it has cost
// then; nil where only its record knows.
func (r *Reconciler) end(ctx context.Context, from client.Reader, namespace, uid string, h hold) (total *decimal.Decimal, ended bool, err error) {
	var task v1alpha1.AgentTask
	err = from.Get(ctx, types.NamespacedName{Namespace: namespace, Name: h.name}, &task)
	switch {
	case apierrors.IsNotFound(err) || err == nil && string(task.UID) != uid:
		return nil, true, nil
	case err != nil:
		return nil, false, fmt.Errorf("reading AgentTask %s: %w", h.name, err)
	case !kit.Finished(&task) && kit.AttemptOpen(&task) && task.Status.AttemptKind != v1alpha1.AttemptVerification:
		return nil, false, nil
	case task.Status.AttemptKind == v1alpha1.AttemptVerification, // its agent has told what it cost, and rests
		task.Status.Result.Attempt == task.Status.Attempt:
		cost, err := Cost(&task)
		return &cost, err == nil, err
	}
	// The runner did not come to say how it ended. Its next attempt knows from the record
	// what it has cost; where there will be none, all that was granted counts.
	return nil, kit.Finished(&task) || task.Spec.State != v1alpha1.TaskActive, nil
}

// takeIn has a Budget know of what was granted before it was made, by another one, to
// attempts that run. As in settle the cache tells of whom to ask.
func (r *Reconciler) takeIn(ctx context.Context, a account) error {
	var list v1alpha1.AgentTaskList
	if err := r.List(ctx, &list, client.InNamespace(a.budget.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing AgentTasks: %w", err)
	}
	for i := range list.Items {
		t := &list.Items[i]
		if _, held := a.holds[string(t.UID)]; held || len(a.holds) >= v1alpha1.MaxReservations || !spends(t) {
			continue
		}
		var live v1alpha1.AgentTask
		err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(t), &live)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("reading AgentTask %s: %w", t.Name, err)
		}
		if err != nil || !spends(&live) {
			continue
		}
		who, err := spenderOf(&live, true)
		if err != nil {
			return err
		}
		upTo, err := amount("status.budget.grantedUSD", live.Status.Budget.GrantedUSD)
		if err != nil {
			return err
		}
		a.grant(who, upTo)
	}
	return nil
}

// spends reports whether a task may be spending what it was granted.
func spends(task *v1alpha1.AgentTask) bool {
	granted := task.Status.Budget.GrantedUSD
	return granted != "" && granted != "0" && !kit.Finished(task) && kit.AttemptOpen(task)
}

// SetupWithManager registers the controller and its watches.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("budget").
		For(&v1alpha1.Budget{}).
		Watches(&v1alpha1.AgentTask{}, handler.EnqueueRequestsFromMapFunc(r.budgetsOfTask), builder.WithPredicates(kit.Updated(func(before, after *v1alpha1.AgentTask) bool {
			return kit.AttemptOpen(before) != kit.AttemptOpen(after) || kit.Finished(before) != kit.Finished(after) || before.Spec.State != after.Spec.State
		}))).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Workers}).
		Complete(r)
}

// budgetsOfTask are the Budgets in which a task holds something.
func (r *Reconciler) budgetsOfTask(ctx context.Context, obj client.Object) []reconcile.Request {
	var list v1alpha1.BudgetList
	if err := r.List(ctx, &list, client.InNamespace(obj.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		logf.FromContext(ctx).Error(err, "Could not list Budgets")
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return out
}
