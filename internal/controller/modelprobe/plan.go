package modelprobe

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/text"
)

// plan is what a probe does.
type plan struct {
	input podspec.ProbeInput
	// registry names the ConfigMap, and digest is that of its document.
	registry, digest string
	// planned is how many models are probed.
	planned int32
	// policed: the pod has a NetworkPolicy of its own, which opens egress and what a runner
	// needs in any case.
	policed bool
	egress  []networkingv1.NetworkPolicyEgressRule
}

const budgetedMessage = "The namespace has a Budget, and what a probe spends is in none: probe the models from a namespace without one"

// problem is what a user has to mend before another probe is made.
type problem struct{ reason, message string }

func refused(refusal *adminpolicy.Refusal) *problem {
	if refusal == nil {
		return nil
	}
	return &problem{refusal.Reason, refusal.Message}
}

// plan finds the models, and what a pod needs to reach them.
func (r *Reconciler) plan(ctx context.Context, probe *v1alpha1.ModelProbe) (*plan, *problem, error) {
	budgeted, err := r.Budgets.Any(ctx, probe.Namespace)
	if err != nil {
		return nil, nil, err
	}
	if budgeted {
		return nil, &problem{v1alpha1.ReasonBudgeted, budgetedMessage}, nil
	}
	refusal, err := r.Policy.Registry(ctx, r, probe.Namespace)
	if err != nil || refusal != nil {
		return nil, refused(refusal), err
	}
	entry, err := r.Registry.Load(ctx, probe.Namespace)
	if reason := modelregistry.Reason(err); reason != "" {
		return nil, &problem{reason, err.Error()}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	scopes, err := modelregistry.Scopes(ctx, r, probe.Namespace)
	if err != nil {
		return nil, nil, err
	}
	candidates, problem := choose(probe.Spec.Models, entry, scopes)
	if problem != nil {
		return nil, problem, nil
	}
	sum := sha256.Sum256([]byte(entry.Document))
	p := &plan{registry: entry.Source.String(), digest: hex.EncodeToString(sum[:]), planned: int32(len(candidates))} //nolint:gosec // at most MaxProbedModels
	if problem, err := r.input(ctx, probe, entry, candidates, p); err != nil || problem != nil {
		return nil, problem, err
	}
	problem, err = r.egress(ctx, probe, entry, candidates, p)
	return p, problem, err
}

// choose gives the models that the namespace may use and the probe asks for.
func choose(ids []string, entry *modelregistry.Entry, scopes []string) ([]models.Candidate, *problem) {
	usable := entry.Declared(scopes)
	if len(ids) == 0 {
		switch n := len(usable); {
		case n == 0:
			return nil, &problem{v1alpha1.ReasonNothingToProbe, fmt.Sprintf("ConfigMap %s has no model that this namespace may use", entry.Source)}
		case n > v1alpha1.MaxProbedModels:
			return nil, &problem{v1alpha1.ReasonNothingToProbe, fmt.Sprintf("ConfigMap %s has %d models, and a ModelProbe takes %d: name some in spec.models", entry.Source, n, v1alpha1.MaxProbedModels)}
		}
		return usable, nil
	}
	var out []models.Candidate
	var missing, known []string
	for _, c := range usable {
		known = append(known, c.Model.ID)
		if slices.Contains(ids, c.Model.ID) {
			out = append(out, c)
		}
	}
	for _, id := range ids {
		if !slices.Contains(known, id) {
			missing = append(missing, id+models.DidYouMean(id, known))
		}
	}
	if len(missing) > 0 {
		return nil, &problem{v1alpha1.ReasonModelNotFound, fmt.Sprintf("spec.models: ConfigMap %s has no such model that is not disabled and that this namespace may use: %s",
			entry.Source, text.Clip(strings.Join(missing, ", "), maxMessage/2))}
	}
	return out, nil
}

// input gathers what the pod is made from.
func (r *Reconciler) input(ctx context.Context, probe *v1alpha1.ModelProbe, entry *modelregistry.Entry, candidates []models.Candidate, p *plan) (*problem, error) {
	defaulted, err := r.Policy.Defaulted(ctx, &v1alpha1.Sandbox{ObjectMeta: metav1.ObjectMeta{Namespace: probe.Namespace}})
	if err != nil {
		return nil, err
	}
	options := r.Sandboxes.Options
	seconds := cmp.Or(int64(probe.Spec.Limits.ActiveSeconds), v1alpha1.DefaultProbeSeconds)
	p.input = podspec.ProbeInput{
		Probe: probe, Template: defaulted.Spec.Template, RunnerImage: options.RunnerImage, PlatformUser: options.PlatformUser,
		Seconds: seconds, ActiveSeconds: int64(startLimit.Seconds()) + probing(len(candidates), seconds),
		CostUSD: cmp.Or(probe.Spec.Limits.CostUSD, v1alpha1.DefaultProbeCostUSD),
	}
	p.input.ModelKeys, p.input.Scripts = modelregistry.Inputs(candidates)
	if p.input.UserNamespaces, err = options.UserNamespaces.For(ctx, defaulted.Spec.Template.RuntimeClassName, false); err != nil {
		return nil, err
	}
	if p.input.Registry, err = entry.Registry.Snapshot(models.Selector{}, candidates); err != nil {
		return nil, err
	}
	if n := len(p.input.Registry); n > podspec.MaxRegistryBytes {
		return &problem{v1alpha1.ReasonRegistryInvalid, fmt.Sprintf("The models of ConfigMap %s have %d bytes; a pod can carry %d: name some in spec.models",
			entry.Source, n, podspec.MaxRegistryBytes)}, nil
	}
	return nil, nil
}

// probing is how many seconds n models may take, and a minute to begin and to report.
func probing(n int, seconds int64) int64 {
	rounds := (n + podapi.ProbeParallel - 1) / podapi.ProbeParallel
	return int64(rounds)*seconds + 60
}

// egress closes what the pod need not reach, where the administrator lets no pod's egress
// be open. Of what a NetworkPolicy cannot name the probe says that it is not reached. In the
// operator's namespace, where a policy closes everything, it opens what is needed.
func (r *Reconciler) egress(ctx context.Context, probe *v1alpha1.ModelProbe, entry *modelregistry.Entry, candidates []models.Candidate, p *plan) (*problem, error) {
	open, refusal, err := r.Policy.Open(ctx)
	p.policed = !open || probe.Namespace == r.Registry.OperatorNamespace
	if err != nil || refusal != nil || !p.policed {
		return refused(refusal), err
	}
	if open {
		p.egress = []networkingv1.NetworkPolicyEgressRule{{}} // everything
		return nil, nil
	}
	refusal, err = r.Policy.Endpoints(ctx, entry.Source, candidates)
	if err != nil || refusal != nil {
		return refused(refusal), err
	}
	for _, c := range candidates {
		if rule := podspec.EndpointOf(c.Provider.BaseURL, probe.Namespace).Rule(); rule != nil {
			p.egress = append(p.egress, *rule)
		}
	}
	return nil, nil
}
