package sandbox

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// ensureClaim makes the claim of a persistent workspace. It stays until the
// Sandbox goes.
func (r *Reconciler) ensureClaim(ctx context.Context, s *scope) error {
	_, err := r.ensureOwned(ctx, s, podspec.WorkspaceClaim(s.sandbox), v1alpha1.ReasonVolumeClaimRefused)
	return err
}

// claimProblem says why the claim of a pod that no node takes has no volume;
// nil where it has one, or nobody has said. The scheduler knows only that there
// is none: what is wrong, such as a StorageClass that does not exist, is told by
// the claim's own events.
func (r *Reconciler) claimProblem(ctx context.Context, sb *v1alpha1.Sandbox) *problem {
	claim := podspec.WorkspaceClaim(sb)
	if err := r.Get(ctx, client.ObjectKeyFromObject(claim), claim); err != nil || claim.Status.Phase == corev1.ClaimBound {
		return nil
	}
	var list corev1.EventList
	err := r.APIReader.List(ctx, &list, client.InNamespace(claim.Namespace), client.Limit(100), client.MatchingFields{
		"involvedObject.uid": string(claim.UID), "type": corev1.EventTypeWarning,
	})
	if err != nil {
		logf.FromContext(ctx).Error(err, "Could not read the events of a claim without a volume", "claim", claim.Name)
		return nil
	}
	if n := len(list.Items); n > 0 {
		return &problem{v1alpha1.ReasonVolumeUnbound, fmt.Sprintf("PersistentVolumeClaim %s gets no volume: %s", claim.Name, list.Items[n-1].Message)}
	}
	return nil
}
