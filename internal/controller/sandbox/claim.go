package sandbox

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	events := r.eventsOf(ctx, claim, "type", corev1.EventTypeWarning)
	if n := len(events); n > 0 {
		return &problem{v1alpha1.ReasonVolumeUnbound, fmt.Sprintf("PersistentVolumeClaim %s gets no volume: %s", claim.Name, events[n-1].Message)}
	}
	return nil
}
