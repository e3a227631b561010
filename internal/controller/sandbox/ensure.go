package sandbox

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
		podspec.Config(s.sandbox, in.ConfigName, in.document),
	}
	for _, obj := range objects {
		if err := r.ensure(ctx, s, obj); err != nil || s.facts.conflict != "" {
			return err
		}
		if role, ok := obj.(*rbacv1.Role); ok {
			if err := r.updateRole(ctx, s, role); err != nil {
				return err
			}
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
	role := podspec.Role(s.sandbox)
	if err := r.ensure(ctx, s, role); err != nil || s.facts.conflict != "" {
		return err
	}
	return r.updateRole(ctx, s, role)
}

// updateRole gives the Sandbox's own Role the rights of today: it may be of a
// time when another task, or none, had claimed the Sandbox.
func (r *Reconciler) updateRole(ctx context.Context, s *scope, role *rbacv1.Role) error {
	want := podspec.Role(s.sandbox).Rules
	if equality.Semantic.DeepEqual(role.Rules, want) {
		return nil
	}
	role.Rules = want
	if err := r.Update(ctx, role); err != nil {
		return fmt.Errorf("updating Role %s: %w", role.Name, err)
	}
	return nil
}
