package sandbox

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// ensureIdentity makes the runner's identity, its rights and its registry.
func (r *Reconciler) ensureIdentity(ctx context.Context, s *scope, in *input) error {
	objects := []client.Object{
		podspec.ServiceAccount(s.sandbox),
		podspec.Role(s.sandbox),
		podspec.RoleBinding(s.sandbox),
		podspec.Config(s.sandbox, in.PodName, in.document),
	}
	for _, obj := range objects {
		if err := r.ensure(ctx, s, obj); err != nil || s.facts.conflict != "" {
			return err
		}
	}
	return nil
}

// ensure creates an object that belongs to the Sandbox. Where one of that name
// exists it is taken only if it belongs to this very Sandbox.
func (r *Reconciler) ensure(ctx context.Context, s *scope, obj client.Object) error {
	if err := controllerutil.SetControllerReference(s.sandbox, obj, r.Scheme()); err != nil {
		return err
	}
	kind := obj.GetObjectKind().GroupVersionKind().Kind
	if gvk, err := r.GroupVersionKindFor(obj); err == nil {
		kind = gvk.Kind
	}
	err := r.Create(ctx, obj)
	if err == nil {
		return nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating %s %s: %w", kind, obj.GetName(), err)
	}
	if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
		return fmt.Errorf("reading %s %s: %w", kind, obj.GetName(), err)
	}
	if !metav1.IsControlledBy(obj, s.sandbox) {
		s.facts.conflict = kind + " " + obj.GetName()
	}
	return nil
}

// ensurePod creates the pod, or takes the one that is there already.
func (r *Reconciler) ensurePod(ctx context.Context, s *scope, in *input) error {
	pod := podspec.Pod(in.Input)
	err := r.ensure(ctx, s, pod)
	switch {
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		s.facts.problem = &problem{v1alpha1.ReasonPodRefused, refusal(err)}
		s.requeue = refusedInterval
		return nil
	case err != nil || s.facts.conflict != "":
		return err
	}
	logf.FromContext(ctx).Info("Created Pod", "pod", pod.Name)
	s.event(corev1.EventTypeNormal, "PodCreated", "Create", "Created Pod %s", pod.Name)
	s.adopt(pod)
	r.observePod(ctx, s)
	return nil
}

// followTask gives the runner rights on the task that has claimed the Sandbox.
func (r *Reconciler) followTask(ctx context.Context, s *scope) error {
	if oneShot(s.sandbox) || s.sandbox.Generation == s.sandbox.Status.ObservedGeneration {
		return nil
	}
	want := podspec.Role(s.sandbox)
	var role rbacv1.Role
	key := types.NamespacedName{Namespace: want.Namespace, Name: want.Name}
	if err := r.APIReader.Get(ctx, key, &role); err != nil {
		return fmt.Errorf("reading Role %s: %w", want.Name, err)
	}
	if !metav1.IsControlledBy(&role, s.sandbox) || equality.Semantic.DeepEqual(role.Rules, want.Rules) {
		return nil
	}
	role.Rules = want.Rules
	if err := r.Update(ctx, &role); err != nil {
		return fmt.Errorf("updating Role %s: %w", want.Name, err)
	}
	return nil
}
