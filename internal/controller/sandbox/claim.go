package sandbox

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// ensureClaim makes the claim of a persistent workspace. It stays until the
// Sandbox goes.
func (r *Reconciler) ensureClaim(ctx context.Context, s *scope) error {
	_, err := r.ensureOwned(ctx, s, podspec.WorkspaceClaim(s.sandbox), v1alpha1.ReasonVolumeClaimRefused)
	return err
}

// checkVolumes keeps a pod off the workspaces of Sandboxes. What the runner keeps
// there is not for tools to see, let alone for those of another Sandbox.
func (r *Reconciler) checkVolumes(ctx context.Context, sb *v1alpha1.Sandbox) (*problem, error) {
	for i, v := range sb.Spec.Template.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		name := v.PersistentVolumeClaim.ClaimName
		owner, err := r.workspaceOwner(ctx, sb.Namespace, name)
		if err != nil {
			return nil, err
		}
		if owner != "" || name == sb.Name {
			return &problem{reason: v1alpha1.ReasonPolicyViolation, message: fmt.Sprintf(
				"spec.template.volumes[%d]: PersistentVolumeClaim %s is the workspace of a Sandbox, which no other pod may mount", i, name)}, nil
		}
	}
	return nil, nil
}

// workspaceOwner names the Sandbox whose workspace a claim is; empty if it is none.
func (r *Reconciler) workspaceOwner(ctx context.Context, namespace, name string) (string, error) {
	key := client.ObjectKey{Namespace: namespace, Name: name}
	var claim corev1.PersistentVolumeClaim
	if err := r.APIReader.Get(ctx, key, &claim); client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("reading PersistentVolumeClaim %s: %w", name, err)
	}
	if owner := metav1.GetControllerOf(&claim); owner != nil && strings.HasPrefix(owner.APIVersion, v1alpha1.GroupVersion.Group+"/") {
		return owner.Name, nil
	}
	if claim.UID != "" {
		return "", nil
	}
	// One that is to be made may be on its way.
	var sb v1alpha1.Sandbox
	if err := r.APIReader.Get(ctx, key, &sb); client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("reading Sandbox %s: %w", name, err)
	}
	if podapi.Persistent(&sb) {
		return sb.Name, nil
	}
	return "", nil
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
	if cause := unboundCause(r.eventsOf(ctx, claim, nil)); cause != "" {
		return &problem{reason: v1alpha1.ReasonVolumeUnbound, message: fmt.Sprintf("PersistentVolumeClaim %s gets no volume: %s", claim.Name, cause)}
	}
	return nil
}

// unboundCause is what the events of a claim, the newest last, say is wrong; empty
// if nothing. That there is no volume and no default StorageClass is told by a
// Normal event. A claim that waits for its first consumer is well: what kept it
// before has been mended.
func unboundCause(events []corev1.Event) string {
	cause := ""
	for _, e := range events {
		switch {
		case e.Type == corev1.EventTypeWarning, e.Reason == "FailedBinding":
			cause = e.Message
		case e.Reason == "WaitForFirstConsumer":
			cause = ""
		}
	}
	return cause
}
