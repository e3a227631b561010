package modelprobe

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// obstacleInterval is how often what is in the way is looked at.
const obstacleInterval = 5 * time.Second

// begin makes the pod, or takes the one that is there because the operator ended before it
// had recorded that it made it. That there was never a second one is what keeps a probe
// from being paid for twice: so the name is written first, and nothing is made for a probe
// that is not just as it was read.
func (r *Reconciler) begin(ctx context.Context, s *scope) error {
	st := &s.probe.Status
	if st.PodName != "" {
		if found, err := r.adopt(ctx, s); err != nil || found {
			return err
		}
	}
	if s.now.Sub(st.StartTime.Time) > startLimit {
		s.giveUp("The pod could not be made for " + startLimit.String())
		return nil
	}
	p, problem, err := r.plan(ctx, s.probe)
	if err != nil {
		return err
	}
	if problem != nil {
		s.end(metav1.ConditionFalse, problem.reason, problem.message)
		return nil
	}
	secrets, obstacle, err := r.Sandboxes.EnsureNamespace(ctx, s.probe.Namespace)
	if err != nil {
		return err
	}
	if obstacle != nil {
		s.wait(obstacle.Reason, obstacle.Message, obstacleInterval)
		return nil
	}
	p.input.AccountPullSecrets = secrets
	st.PodName = podapi.ProbePod(s.probe.Name)
	st.Registry, st.RegistryDigest, st.Planned = p.registry, p.digest, p.planned
	if len(st.Conditions) == 0 { // else what kept the pod from being made is not taken back before it is
		s.condition(metav1.ConditionUnknown, v1alpha1.ReasonProbing, fmt.Sprintf("Pod %s is starting", st.PodName))
	}
	if err := r.confirm(ctx, s); err != nil {
		return err
	}
	return r.create(ctx, s, p)
}

// confirm writes the status, and makes sure that the API server has the probe just as it is
// here where there is nothing to write.
func (r *Reconciler) confirm(ctx context.Context, s *scope) error {
	before := s.before
	if err := r.writeStatus(ctx, s); err != nil || s.before != before {
		return err
	}
	var live v1alpha1.ModelProbe
	if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(s.probe), &live); err != nil {
		return fmt.Errorf("reading ModelProbe %s: %w", s.probe.Name, err)
	}
	if live.UID != s.probe.UID || live.ResourceVersion != s.probe.ResourceVersion {
		return errStale
	}
	return nil
}

// create makes the pod, and before it the policy that says what it may reach.
func (r *Reconciler) create(ctx context.Context, s *scope, p *plan) error {
	if p.policed {
		if done, err := r.police(ctx, s, p); err != nil || !done {
			return err
		}
	}
	pod := podspec.ProbePod(p.input)
	if err := controllerutil.SetControllerReference(s.probe, pod, r.Scheme()); err != nil {
		return err
	}
	err := r.Create(ctx, pod)
	if apierrors.IsAlreadyExists(err) {
		return r.inTheWay(ctx, s, "Pod", pod)
	}
	if refused := s.refused(err, v1alpha1.ReasonPodRefused); refused || err != nil {
		return ignore(err, refused)
	}
	logf.FromContext(ctx).Info("Created Pod", "pod", pod.Name)
	s.record(pod)
	return nil
}

// police makes the NetworkPolicy of the pod. It reports whether it is there.
func (r *Reconciler) police(ctx context.Context, s *scope, p *plan) (bool, error) {
	api, err := r.Sandboxes.APIServerRules(ctx)
	if err != nil {
		return false, err
	}
	rules := append([]networkingv1.NetworkPolicyEgressRule{podspec.DNS(r.Sandboxes.Options.DNS...)}, api...)
	policy := podspec.ProbePolicy(s.probe, append(rules, p.egress...)...)
	if err := controllerutil.SetControllerReference(s.probe, policy, r.Scheme()); err != nil {
		return false, err
	}
	err = r.Create(ctx, policy)
	if !apierrors.IsAlreadyExists(err) {
		refused := s.refused(err, v1alpha1.ReasonNetworkPolicyRefused)
		return err == nil, ignore(err, refused)
	}
	var found networkingv1.NetworkPolicy
	if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(policy), &found); err != nil {
		return false, fmt.Errorf("reading NetworkPolicy %s: %w", policy.Name, err)
	}
	if !metav1.IsControlledBy(&found, s.probe) {
		return false, r.inTheWay(ctx, s, "NetworkPolicy", &found)
	}
	return true, nil
}

// inTheWay says of an object that has the name of one of the probe's whether it goes by
// itself, as what is left of an earlier probe does.
func (r *Reconciler) inTheWay(ctx context.Context, s *scope, kind string, obj client.Object) error {
	if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
		return fmt.Errorf("reading %s %s: %w", kind, obj.GetName(), err)
	}
	waiting, err := kit.BlockingOwner(ctx, r.APIReader, kind, obj)
	switch {
	case err != nil:
		return err
	case waiting != "":
		s.wait(v1alpha1.ReasonPodPending, waiting, obstacleInterval)
	default:
		s.wait(v1alpha1.ReasonNameConflict, fmt.Sprintf("%s %s exists and does not belong to this ModelProbe; delete it, or use another name", kind, obj.GetName()), obstacleInterval)
	}
	return nil
}

// refused says what the API server does not accept; it is tried again after a pause.
func (s *scope) refused(err error, reason string) bool {
	refusal := kit.RefusalOf(err)
	if refusal == nil {
		return false
	}
	if refusal.Quota {
		reason = v1alpha1.ReasonQuotaExceeded
	}
	s.wait(reason, refusal.Message, refusal.Pause(s.probe.Status.StartTime.Time, s.now))
	return true
}

func ignore(err error, handled bool) error {
	if handled {
		return nil
	}
	return err
}

// adopt takes the pod that was made for the probe, if it is there. Only the operator makes
// a pod that belongs to a ModelProbe (policy sampan-pods).
func (r *Reconciler) adopt(ctx context.Context, s *scope) (bool, error) {
	var pod corev1.Pod
	key := types.NamespacedName{Namespace: s.probe.Namespace, Name: s.probe.Status.PodName}
	if err := r.APIReader.Get(ctx, key, &pod); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if !metav1.IsControlledBy(&pod, s.probe) {
		return false, nil
	}
	s.record(&pod)
	return true, nil
}

// record makes a pod the probe's.
func (s *scope) record(pod *corev1.Pod) {
	s.probe.Status.PodUID = string(pod.UID)
	s.condition(metav1.ConditionUnknown, v1alpha1.ReasonProbing, fmt.Sprintf("Pod %s is starting", pod.Name))
	s.requeue = startLimit
}
