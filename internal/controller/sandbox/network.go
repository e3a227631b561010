package sandbox

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/text"
)

// APIServer names the API server's Service and its EndpointSlice, which the
// API server itself keeps: it is never split into several.
var APIServer = types.NamespacedName{Namespace: "default", Name: "kubernetes"}

// egress gives the rules for the models, the repository and the record that a
// Restricted pod uses. A host that no NetworkPolicy can name stays closed, and is warned of.
func (s *scope) egress(candidates []models.Candidate, record *podspec.Record) []networkingv1.NetworkPolicyEgressRule {
	var rules []networkingv1.NetworkPolicyEgressRule
	open := func(url string) (unopened string) {
		endpoint := podspec.EndpointOf(url, s.sandbox.Namespace)
		rule := endpoint.Rule()
		if rule == nil {
			return endpoint.Host
		}
		if !slices.ContainsFunc(rules, func(have networkingv1.NetworkPolicyEgressRule) bool { return equality.Semantic.DeepEqual(have, *rule) }) {
			rules = append(rules, *rule)
		}
		return ""
	}
	var hosts []string
	for _, c := range candidates {
		if c.Provider.BaseURL == "" {
			continue
		}
		if host := open(c.Provider.BaseURL); host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	s.warnUnopened("ModelEndpointNotOpened", "models", hosts)
	if record != nil {
		if host := open(record.URL); host != "" {
			s.warnUnopened("RecordNotOpened", "the record", []string{host})
		}
	}
	if url := s.sandbox.Spec.Template.Workspace.Git.URL; url != "" {
		if host := open(url); host != "" {
			s.warnUnopened("GitHostNotOpened", "the repository", []string{host})
		}
	}
	return rules
}

// warnUnopened keeps a warning that is sent when the pod has been made.
func (s *scope) warnUnopened(reason, what string, hosts []string) {
	if len(hosts) == 0 {
		return
	}
	s.warnings = append(s.warnings, event{corev1.EventTypeWarning, reason, "Restrict", fmt.Sprintf(
		"Egress is Restricted, and a NetworkPolicy cannot name the host of %s: %s. List its addresses in spec.template.network.allow, or use a gateway in the cluster",
		what, text.Clip(strings.Join(hosts, ", "), maxMessage))})
}

// ensureIngressPolicy makes the NetworkPolicy that the Sandboxes of a namespace share,
// and puts it back when somebody has changed it.
func (r *Reconciler) ensureIngressPolicy(ctx context.Context, s *scope) error {
	want := podspec.IngressPolicy(s.sandbox.Namespace)
	obj, err := r.ensureShared(ctx, s, want, v1alpha1.ReasonNetworkPolicyRefused)
	if err != nil || obj == nil {
		return err
	}
	found := obj.(*networkingv1.NetworkPolicy)
	if equality.Semantic.DeepEqual(found.Spec, want.Spec) {
		return nil
	}
	found.Spec = want.Spec
	if err := s.refused(r.Update(ctx, found), v1alpha1.ReasonNetworkPolicyRefused); err != nil || s.stopped() {
		return err
	}
	logf.FromContext(ctx).Info("Updated NetworkPolicy", "networkPolicy", found.Name)
	return nil
}

// ensurePolicy makes the NetworkPolicy of a Restricted Sandbox, and puts it back
// when somebody has changed it.
func (r *Reconciler) ensurePolicy(ctx context.Context, s *scope, egress []networkingv1.NetworkPolicyEgressRule) error {
	rules, err := r.apiServerRules(ctx)
	if err != nil {
		return err
	}
	want := podspec.EgressPolicy(s.sandbox, slices.Concat([]networkingv1.NetworkPolicyEgressRule{podspec.DNS(r.Options.DNS...)}, rules, egress)...)
	obj, err := r.ensureOwned(ctx, s, want, v1alpha1.ReasonNetworkPolicyRefused)
	if err != nil || obj == nil {
		return err
	}
	found := obj.(*networkingv1.NetworkPolicy)
	if equality.Semantic.DeepEqual(found.Spec, want.Spec) && hasLabels(found, want.Labels) && len(found.OwnerReferences) == 0 {
		return nil
	}
	if err := r.confirm(ctx, s); err != nil {
		return err
	}
	found.Spec, found.Labels, found.Annotations = want.Spec, want.Labels, want.Annotations
	found.OwnerReferences = nil // earlier versions have set one
	if err := s.refused(r.Update(ctx, found), v1alpha1.ReasonNetworkPolicyRefused); err != nil || s.stopped() {
		return err
	}
	logf.FromContext(ctx).Info("Updated NetworkPolicy", "networkPolicy", found.Name)
	return nil
}

// sweepPolicy deletes the policy that an earlier Sandbox has left, once none of its pods
// is there any more, and reports whether it is waited for. keep is the Sandbox of that
// name that there is; empty for none.
func (r *Reconciler) sweepPolicy(ctx context.Context, sandbox types.NamespacedName, keep types.UID) (waiting bool, err error) {
	var policy networkingv1.NetworkPolicy
	key := types.NamespacedName{Namespace: sandbox.Namespace, Name: podspec.EgressPolicyName(sandbox.Name)}
	if err := r.Get(ctx, key, &policy); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	owner := podspec.Owner(&policy)
	if owner == nil || owner.UID == keep || len(policy.OwnerReferences) > 0 { // one with an owner is the garbage collector's
		return false, nil
	}
	var live v1alpha1.Sandbox
	if err := r.APIReader.Get(ctx, sandbox, &live); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading Sandbox %s: %w", sandbox.Name, err)
	}
	pods, err := r.livePods(ctx, sandbox)
	if err != nil || live.UID == owner.UID {
		return false, err
	}
	for i := range pods {
		if of := metav1.GetControllerOf(&pods[i]); of != nil && of.UID == owner.UID {
			return true, nil
		}
	}
	if err := r.Delete(ctx, &policy, client.Preconditions{UID: &policy.UID}); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("deleting NetworkPolicy %s: %w", policy.Name, err)
	}
	logf.FromContext(ctx).Info("Deleted NetworkPolicy of a Sandbox that is gone", "networkPolicy", policy.Name)
	return true, nil // until the cache shows it
}

func hasLabels(obj client.Object, want map[string]string) bool {
	for key, value := range want {
		if obj.GetLabels()[key] != value {
			return false
		}
	}
	return true
}

// apiServerRules open the API server, which the runner reports to.
func (r *Reconciler) apiServerRules(ctx context.Context) ([]networkingv1.NetworkPolicyEgressRule, error) {
	var service corev1.Service
	var slice discoveryv1.EndpointSlice
	for _, obj := range []client.Object{&service, &slice} {
		err := r.Get(ctx, APIServer, obj)
		if apierrors.IsNotFound(err) { // not the Sandbox's own end, so it is tried again
			return nil, fmt.Errorf("there is no %s %s", r.kind(obj), APIServer)
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s %s: %w", r.kind(obj), APIServer, err)
		}
	}
	return podspec.APIServer(&service, &slice), nil
}
