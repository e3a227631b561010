package sandbox

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// ensureNamespace makes the identity of the namespace's runners and the NetworkPolicy
// of its Sandboxes, once, and puts back what somebody has taken away or changed. It
// gives the pull secrets of the identity.
func (r *Reconciler) ensureNamespace(ctx context.Context, s *scope) ([]corev1.LocalObjectReference, error) {
	obj, err := r.ensureShared(ctx, s, podspec.ServiceAccount(s.sandbox.Namespace), v1alpha1.ReasonPodRefused)
	if err != nil || obj == nil {
		return nil, err
	}
	if err := r.ensureRoleBinding(ctx, s); err != nil || s.stopped() {
		return nil, err
	}
	return obj.(*corev1.ServiceAccount).ImagePullSecrets, r.ensureIngressPolicy(ctx, s)
}

// ensureRoleBinding gives the runners their rights. Whom it binds is put back when
// somebody has changed it; to what cannot be changed.
func (r *Reconciler) ensureRoleBinding(ctx context.Context, s *scope) error {
	want := podspec.RoleBinding(s.sandbox.Namespace, r.Options.RunnerRole)
	obj, err := r.ensureShared(ctx, s, want, v1alpha1.ReasonPodRefused)
	if err != nil || obj == nil {
		return err
	}
	found := obj.(*rbacv1.RoleBinding)
	if equality.Semantic.DeepEqual(found.Subjects, want.Subjects) {
		return nil
	}
	found.Subjects = want.Subjects
	if err := s.refused(r.Update(ctx, found), v1alpha1.ReasonPodRefused); err != nil || s.stopped() {
		return err
	}
	logf.FromContext(ctx).Info("Updated RoleBinding", "roleBinding", found.Name)
	return nil
}

// ensureShared gives an object of the namespace as it is, or creates it. There is
// none where another is in the way or the API server refuses it; the facts say it.
func (r *Reconciler) ensureShared(ctx context.Context, s *scope, want client.Object, refused string) (client.Object, error) {
	found := want.DeepCopyObject().(client.Object)
	err := r.Get(ctx, client.ObjectKeyFromObject(want), found)
	if apierrors.IsNotFound(err) {
		found = want.DeepCopyObject().(client.Object)
		if err = r.Create(ctx, found); apierrors.IsAlreadyExists(err) {
			err = r.readMet(ctx, found)
		}
		err = s.refused(err, refused)
	}
	if err == nil && !s.stopped() && !usable(found) {
		err = r.inTheWay(ctx, s, found, "use another namespace")
	}
	if err != nil || s.stopped() {
		return nil, err
	}
	return found, nil
}

// usable reports whether an object that all Sandboxes of a namespace share may be
// used. A ServiceAccount may be anybody's, so that pull secrets can be put on it
// beforehand: it holds no more rights than those who bound them to it, and only the
// operator makes pods with it. What grants rights or lets traffic in must be ours;
// without our label it is not in a cache that selects by it.
func usable(obj client.Object) bool {
	_, isAccount := obj.(*corev1.ServiceAccount)
	return isAccount && obj.GetDeletionTimestamp() == nil || obj.GetLabels()[podspec.LabelManagedBy] == podspec.ManagedBy
}

// inTheWay records an object that is not the Sandbox's, and whether it goes by itself.
// Where it does not, somebody deletes it, or does what else there is to do.
func (r *Reconciler) inTheWay(ctx context.Context, s *scope, obj client.Object, orElse string) error {
	kind := r.kind(obj)
	waiting, err := kit.BlockingOwner(ctx, r.APIReader, kind, obj)
	switch {
	case err != nil:
		return err
	case waiting != "":
		s.facts.remains = waiting
	default:
		s.facts.conflict = fmt.Sprintf("%s %s exists and does not belong to this Sandbox; delete it, or %s", kind, obj.GetName(), orElse)
	}
	return nil
}

// readMet reads past the cache what a create met. Where that has gone since, the
// create is tried again: no watch may tell of it any more.
func (r *Reconciler) readMet(ctx context.Context, obj client.Object) error {
	err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(obj), obj)
	if apierrors.IsNotFound(err) {
		return errStale
	}
	if err != nil {
		return fmt.Errorf("reading %s %s: %w", r.kind(obj), obj.GetName(), err)
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
// exists it is met: it is taken only if it says to belong to this very Sandbox.
func (r *Reconciler) ensure(ctx context.Context, s *scope, obj client.Object) (met bool, err error) {
	if _, isPolicy := obj.(*networkingv1.NetworkPolicy); !isPolicy { // it goes after the pod, see sweepPolicy
		if err := controllerutil.SetControllerReference(s.sandbox, obj, r.Scheme()); err != nil {
			return false, err
		}
	}
	err = r.Create(ctx, obj)
	if err == nil {
		return false, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return false, fmt.Errorf("creating %s %s: %w", r.kind(obj), obj.GetName(), err)
	}
	if err := r.readMet(ctx, obj); err != nil {
		return false, err
	}
	if !belongs(obj, s.sandbox) {
		return true, r.inTheWay(ctx, s, obj, "use another name")
	}
	return true, nil
}

// belongs reports whether an object was made for a Sandbox.
func belongs(obj client.Object, sb *v1alpha1.Sandbox) bool {
	owner := podspec.Owner(obj)
	return owner != nil && owner.UID == sb.UID
}

// ensureOwned gives an object of the Sandbox as it is, or creates it. There is
// none where another is in the way or the API server refuses it; the facts say it.
func (r *Reconciler) ensureOwned(ctx context.Context, s *scope, want client.Object, refused string) (client.Object, error) {
	found := want.DeepCopyObject().(client.Object)
	err := r.Get(ctx, client.ObjectKeyFromObject(want), found)
	if apierrors.IsNotFound(err) {
		if err := r.confirm(ctx, s); err != nil {
			return nil, err
		}
		found = want.DeepCopyObject().(client.Object)
		_, err = r.ensure(ctx, s, found)
		err = s.refused(err, refused)
	} else if err == nil && !belongs(found, s.sandbox) {
		err = r.inTheWay(ctx, s, found, "use another name")
	}
	if err != nil || s.stopped() {
		return nil, err
	}
	return found, nil
}

// stopped reports whether something keeps the pod from being made.
func (s *scope) stopped() bool { return s.facts.obstructed() || s.facts.problem != nil }

// refused turns what the API server does not accept, for whatever reason, into a
// problem that the status tells, and that is tried again after a pause.
func (s *scope) refused(err error, reason string) error {
	refusal := kit.RefusalOf(err)
	if refusal == nil {
		return err
	}
	if refusal.Quota {
		reason = v1alpha1.ReasonQuotaExceeded
	}
	s.facts.problem = &problem{reason: reason, message: refusal.Message, passing: !refusal.Lasting}
	s.requeue = refusal.Pause(s.notReadySince(), s.facts.now)
	return nil
}

// notReadySince is since when the Sandbox has not been Ready.
func (s *scope) notReadySince() time.Time {
	ready := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionFalse {
		return s.facts.now
	}
	return ready.LastTransitionTime.Time
}

// ensurePod creates the pod, or takes the one that is there already because the
// operator ended before it had recorded that it made it.
func (r *Reconciler) ensurePod(ctx context.Context, s *scope, in *podspec.Input) error {
	want := podspec.Pod(*in)
	pod := want.DeepCopy()
	met, err := r.ensure(ctx, s, pod)
	if err = s.refused(err, v1alpha1.ReasonPodRefused); err != nil || s.stopped() {
		return err
	}
	mine := !met || r.made.has(pod.UID) // an earlier try may have made it, and failed to say so
	if !mine {
		if field := unlike(want, pod); field != "" {
			return r.discard(ctx, s, pod, field)
		}
	}
	if !met {
		logf.FromContext(ctx).Info("Created Pod", "pod", pod.Name)
	}
	if mine {
		s.events = append(s.events, s.warnings...)
	}
	r.made.add(pod.UID) // the write of the status may fail
	if s.holder.task != nil {
		s.pod = pod
	} else {
		if mine {
			s.event(corev1.EventTypeNormal, "PodCreated", "Create", "Created Pod %s", pod.Name)
		}
		s.record(pod)
	}
	r.observePod(ctx, s)
	return nil
}

// unlike names what of a pod that was met is not as the operator would have made
// it: anybody who may create pods can write an owner into one.
func unlike(want, met *corev1.Pod) string {
	if len(met.OwnerReferences) != 1 {
		return "metadata.ownerReferences"
	}
	return podspec.Unlike(want, met)
}

// discard deletes a pod that says to be the Sandbox's and is not what the operator
// makes for it. Its runner, if it has one, never was let near a task.
func (r *Reconciler) discard(ctx context.Context, s *scope, pod *corev1.Pod, field string) error {
	s.facts.remains = fmt.Sprintf("Waiting for Pod %s to be removed: it says to belong to this Sandbox, and its %s is not what the operator gives its pod", pod.Name, field)
	s.event(corev1.EventTypeWarning, "PodNotOurs", "Delete", "Deleted Pod %s, which somebody else made or changed: its %s is not what the operator gives the pod of this Sandbox", pod.Name, field)
	return r.deletePod(ctx, pod)
}
