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
	if equality.Semantic.DeepEqual(found.Spec, want.Spec) && hasLabels(found, want.Labels) {
		return nil
	}
	if err := r.confirm(ctx, s); err != nil {
		return err
	}
	found.Spec, found.Labels = want.Spec, want.Labels
	if err := s.refused(r.Update(ctx, found), v1alpha1.ReasonNetworkPolicyRefused); err != nil || s.stopped() {
		return err
	}
	logf.FromContext(ctx).Info("Updated NetworkPolicy", "networkPolicy", found.Name)
	return nil
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
