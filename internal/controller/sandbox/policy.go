package sandbox

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
)

// checkPolicy holds the Sandbox against the administrator's policy, before its pod
// is made: a pod that is there already is left alone.
func (r *Reconciler) checkPolicy(ctx context.Context, sb *v1alpha1.Sandbox) (*problem, error) {
	refusal, err := r.Policy.Registry(ctx, r, sb.Namespace)
	if err == nil && refusal == nil {
		refusal, err = r.Policy.Template(ctx, &sb.Spec.Template, sb.Namespace, "spec.template")
	}
	return policyProblem(refusal, err)
}

func policyProblem(refusal *adminpolicy.Refusal, err error) (*problem, error) {
	if err != nil || refusal == nil {
		return nil, err
	}
	return &problem{reason: refusal.Reason, message: refusal.Message}, nil
}

// sandboxesRefused are the Sandboxes that another policy may let start.
func (r *Reconciler) sandboxesRefused(ctx context.Context) []reconcile.Request {
	return r.sandboxes(ctx, func(sb *v1alpha1.Sandbox) bool {
		c := meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionReady)
		return c != nil && adminpolicy.Refused(c.Reason)
	})
}
