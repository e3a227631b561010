package agenttask

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/warm"
)

// checkPolicy holds the task against the administrator's policy. A policy that
// changes wakes the task by a watch. A named Sandbox is looked at for itself.
func (r *Reconciler) checkPolicy(ctx context.Context, s *scope) (bool, error) {
	refusal, err := r.Policy.Registry(ctx, r, s.task.Namespace)
	if err == nil && refusal == nil && !named(s.task) {
		refusal, err = r.checkTemplate(ctx, s.task)
	}
	if err != nil || refusal == nil {
		return err == nil, err
	}
	s.wait(refusal.Reason, refusal.Message)
	s.requeueWithin(inputInterval) // the watch may have told before this was written
	return false, nil
}

// checkTemplate holds what the task's Sandbox would be made from against the policy. A pool
// that is not there is told of later.
func (r *Reconciler) checkTemplate(ctx context.Context, task *v1alpha1.AgentTask) (*adminpolicy.Refusal, error) {
	if !warm.Pooled(task) {
		return r.Policy.Template(ctx, &task.Spec.Sandbox.Template, task.Namespace, "spec.sandbox.template")
	}
	pool, err := r.pool(ctx, task)
	if err != nil || pool == nil {
		return nil, err
	}
	return r.Policy.Template(ctx, warm.Cold(pool, task), task.Namespace, "SandboxPool "+pool.Name+", with spec.sandbox.poolRef: template")
}

// tasksRefused are the tasks that another policy may let start.
func (r *Reconciler) tasksRefused(ctx context.Context) []reconcile.Request {
	var list v1alpha1.AgentTaskList
	if err := r.List(ctx, &list); err != nil {
		logf.FromContext(ctx).Error(err, "Could not list AgentTasks")
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		c := meta.FindStatusCondition(list.Items[i].Status.Conditions, v1alpha1.ConditionSucceeded)
		if c != nil && adminpolicy.Refused(c.Reason) && !kit.Finished(&list.Items[i]) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}
