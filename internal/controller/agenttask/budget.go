package agenttask

import (
	"context"
	"time"

	"github.com/shopspring/decimal"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/budget"
	"github.com/sampan-dev/sampan/internal/controller/kit"
)

// budgetInterval is how often a task that waits for a Budget looks at it at least. A
// watch tells of what is given back.
const budgetInterval = time.Minute

// checkBudget says whether the Budgets of the namespace have room for an attempt. They
// come to have some by themselves, at the latest with the next period, so the wait has no
// other bound, and costs no active time.
func (r *Reconciler) checkBudget(ctx context.Context, s *scope) (bool, error) {
	if !s.spends() {
		return true, nil
	}
	refusal, err := r.Budgets.Admit(ctx, s.task, s.recorded())
	if err != nil || refusal == nil {
		return err == nil, err
	}
	s.budgetSpent(refusal)
	return false, nil
}

// spends reports whether an attempt needs something granted: one that only verifies asks
// no model.
func (s *scope) spends() bool { return s.budgeted && !verifies(s.task) }

func (s *scope) budgetSpent(refusal *budget.Refusal) {
	s.setInProgress(v1alpha1.ReasonBudgetSpent, refusal.Message, passes)
	s.requeueWithin(min(refusal.Until.Sub(s.now), budgetInterval))
}

// recorded reports whether the next attempt knows from the record what those before it
// have cost.
func (s *scope) recorded() bool { return ownRecord(s.task.Status.Transcript.URI, s.task) }

// reserveBudget grants an attempt what it asks for, and as it begins something to begin with.
// It reports whether the status is to be written before anything else is done: what was
// granted, or that the attempt is over for now.
func (r *Reconciler) reserveBudget(ctx context.Context, s *scope) (changed bool, err error) {
	st := &s.task.Status
	if st.Budget.GrantedUSD == "" || s.task.Spec.State != v1alpha1.TaskActive {
		return false, nil
	}
	granted, err := decimal.NewFromString(st.Budget.GrantedUSD)
	if err != nil {
		return false, err
	}
	asked, err := budget.Requested(s.task)
	if err != nil {
		return false, err
	}
	asks := st.Progress.Attempt == st.Attempt && asked.GreaterThan(granted) && st.Budget.RefusedUSD != st.Progress.RequestedUSD
	if !granted.IsZero() && !asks {
		return false, nil
	}
	upTo, refusal, err := r.Budgets.Reserve(ctx, s.task, s.recorded(), func(ctx context.Context) error { return r.confirmTask(ctx, s) })
	switch {
	case err != nil:
		return false, err
	case refusal == nil && upTo.IsZero():
		st.Budget = v1alpha1.TaskBudget{} // there are no Budgets any more
	case refusal == nil:
		st.Budget = v1alpha1.TaskBudget{GrantedUSD: upTo.String()}
	case asks: // the runner comes to an end by itself
		st.Budget.RefusedUSD = st.Progress.RequestedUSD
	default:
		s.archive(decision{kind: stop, reason: v1alpha1.ReasonBudgetSpent, message: refusal.Message})
	}
	return true, nil
}

// tasksOfBudget are the tasks that wait for one of the Budgets of a namespace.
func (r *Reconciler) tasksOfBudget(ctx context.Context, obj client.Object) []reconcile.Request {
	var out []reconcile.Request
	err := r.eachTask(ctx, func(t *v1alpha1.AgentTask) {
		c := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionSucceeded)
		if c != nil && c.Reason == v1alpha1.ReasonBudgetSpent && !kit.Finished(t) {
			out = append(out, requestOf(t))
		}
	}, client.InNamespace(obj.GetNamespace()))
	if err != nil {
		logf.FromContext(ctx).Error(err, "Could not list AgentTasks")
	}
	return out
}
