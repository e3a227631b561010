package adminpolicy

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/policy"
	"github.com/sampan-dev/sampan/internal/text"
)

// Refusal says why something must not start.
type Refusal struct{ Reason, Message string }

// Template holds a template of a namespace against the policy; path is where it is
// in its object. No refusal: it may start.
func (s *Store) Template(ctx context.Context, t *v1alpha1.SandboxTemplate, namespace, path string) (*Refusal, error) {
	return s.check(ctx, func(p *policy.Policy) []policy.Violation { return p.Check(t, namespace, path) })
}

// Defaulted gives a Sandbox what its template leaves out and the administrator gives.
func (s *Store) Defaulted(ctx context.Context, sb *v1alpha1.Sandbox) (*v1alpha1.Sandbox, error) {
	p, err := s.Load(ctx)
	if err != nil {
		return nil, err
	}
	out := sb.DeepCopy()
	out.Spec.Template = *p.Defaulted(&sb.Spec.Template)
	return out, nil
}

// Registry refuses a namespace the registry of its own that it has, if the policy
// lets it have none: to go on with the operator's would be to drop it silently.
func (s *Store) Registry(ctx context.Context, reader client.Reader, namespace string) (*Refusal, error) {
	if s == nil || namespace == s.Namespace {
		return nil, nil
	}
	var cm corev1.ConfigMap
	err := reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: modelregistry.ConfigMapName}, &cm)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, modelregistry.ConfigMapName, err)
	}
	return s.check(ctx, func(p *policy.Policy) []policy.Violation {
		if p.NamespaceRegistries {
			return nil
		}
		return []policy.Violation{{Path: "ConfigMap " + modelregistry.ConfigMapName, Value: "a model registry of the namespace's own",
			Key: "namespaceRegistries", Rule: "is false: delete it to use the operator's"}}
	})
}

// Open reports whether the policy lets the egress of a pod be open.
func (s *Store) Open(ctx context.Context) (open bool, refusal *Refusal, err error) {
	refusal, err = s.check(ctx, func(p *policy.Policy) []policy.Violation {
		open = p.Network.Open
		return nil
	})
	return open, refusal, err
}

// Endpoints holds the addresses of a namespace's own models, which are opened for
// its Restricted Sandboxes, against the policy.
func (s *Store) Endpoints(ctx context.Context, source types.NamespacedName, candidates []models.Candidate) (*Refusal, error) {
	if s == nil || source.Namespace == s.Namespace {
		return nil, nil
	}
	return s.check(ctx, func(p *policy.Policy) []policy.Violation {
		var out []policy.Violation
		seen := map[string]bool{}
		for _, c := range candidates {
			if !seen[c.Provider.Name] {
				seen[c.Provider.Name] = true
				path := fmt.Sprintf("ConfigMap %s: providers.%s.baseURL", source.Name, c.Provider.Name)
				out = append(out, p.CheckEndpoint(c.Provider.BaseURL, source.Namespace, path)...)
			}
		}
		return out
	})
}

// check asks the policy that holds. Where it is broken, and always was, nothing may start.
func (s *Store) check(ctx context.Context, do func(*policy.Policy) []policy.Violation) (*Refusal, error) {
	p, err := s.Load(ctx)
	var wrong *models.InvalidError
	if errors.As(err, &wrong) {
		return &Refusal{v1alpha1.ReasonPolicyInvalid, fmt.Sprintf(
			"The administrator's policy is broken, and nothing starts until it is fixed: ConfigMap %s: %s", s.key(), text.OneLine(err.Error()))}, nil
	}
	if err != nil {
		return nil, err
	}
	violations := do(p)
	if len(violations) == 0 {
		return nil, nil
	}
	return &Refusal{v1alpha1.ReasonPolicyViolation, "The administrator's policy does not allow " + policy.Message(violations)}, nil
}

// Refused reports whether a condition's reason is one of a refusal, which another
// policy may end.
func Refused(reason string) bool {
	return reason == v1alpha1.ReasonPolicyViolation || reason == v1alpha1.ReasonPolicyInvalid
}
