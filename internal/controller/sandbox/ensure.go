package sandbox

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// ensureIdentity makes the identity of the namespace's runners, once.
func (r *Reconciler) ensureIdentity(ctx context.Context, s *scope) error {
	ns := s.sandbox.Namespace
	for _, obj := range []client.Object{podspec.ServiceAccount(ns), podspec.RoleBinding(ns)} {
		if err := r.ensureShared(ctx, s, obj); err != nil || s.facts.conflict != "" {
			return err
		}
	}
	return nil
}

// ensureShared creates an object of the namespace. One of that name without our
// label is somebody else's, and is not in a cache that selects by the label.
func (r *Reconciler) ensureShared(ctx context.Context, s *scope, want client.Object) error {
	found := want.DeepCopyObject().(client.Object)
	err := r.Get(ctx, client.ObjectKeyFromObject(want), found)
	if apierrors.IsNotFound(err) {
		if err = r.Create(ctx, want); !apierrors.IsAlreadyExists(err) {
			return err
		}
		err = r.APIReader.Get(ctx, client.ObjectKeyFromObject(want), found)
	}
	if err != nil {
		return err
	}
	if found.GetLabels()[podspec.LabelManagedBy] != podspec.ManagedBy {
		s.facts.conflict = r.kind(want) + " " + want.GetName()
	}
	return nil
}

// kind names an object's kind for people.
func (r *Reconciler) kind(obj client.Object) string {
	gvk, err := r.GroupVersionKindFor(obj)
	if err != nil {
		return fmt.Sprintf("%T", obj)
	}
	return gvk.Kind
}

// ensure creates an object that belongs to the Sandbox. Where one of that name
// exists it is taken only if it belongs to this very Sandbox.
func (r *Reconciler) ensure(ctx context.Context, s *scope, obj client.Object) error {
	if err := controllerutil.SetControllerReference(s.sandbox, obj, r.Scheme()); err != nil {
		return err
	}
	kind := r.kind(obj)
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
func (r *Reconciler) ensurePod(ctx context.Context, s *scope, in *podspec.Input) error {
	pod := podspec.Pod(*in)
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
