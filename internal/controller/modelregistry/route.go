package modelregistry

import (
	"errors"
	"slices"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// Selector is what a task asks for.
func Selector(task *v1alpha1.AgentTask) models.Selector {
	m := task.Spec.Model
	return models.Selector{Name: m.Name, Group: m.Group, Role: m.Role}
}

// Route gives the candidate models of a task, whose cost is bounded where it is budgeted.
func (e *Entry) Route(task *v1alpha1.AgentTask, scopes []string, budgeted bool) ([]models.Candidate, error) {
	return e.Registry.Route(Selector(task), models.Need{Scopes: scopes, Priced: budgeted || task.Spec.Limits.CostUSD != "", Probed: e.Probed})
}

// Inputs are what a runner must be given to reach the candidates' providers.
func Inputs(candidates []models.Candidate) (keys []podspec.ModelKey, scripts []podspec.Script) {
	seen := map[string]bool{}
	for _, c := range candidates {
		p := c.Provider
		if seen[p.Name] {
			continue
		}
		seen[p.Name] = true
		if p.APIKey != nil && p.APIKey.SecretName != "" {
			keys = append(keys, podspec.ModelKey{Env: models.KeyEnv(p.Name), SecretName: p.APIKey.SecretName, Key: p.APIKey.Key})
		}
		if p.Script != nil && p.Script.ConfigMapName != "" {
			scripts = append(scripts, podspec.Script{Provider: p.Name, ConfigMapName: p.Script.ConfigMapName, Key: p.Script.Key})
		}
	}
	return keys, scripts
}

// All gives every model that a namespace may use, for a Sandbox that is not
// made for one task, without those that probes have found unfit for any.
func (e *Entry) All(scopes []string) []models.Candidate {
	return slices.DeleteFunc(e.Declared(scopes), func(c models.Candidate) bool {
		return e.Registry.Unfit(c.Model, models.Need{Probed: e.Probed}) != nil
	})
}

// Declared gives every model that a namespace may use, whatever it calls tools like.
func (e *Entry) Declared(scopes []string) []models.Candidate {
	return e.Registry.Usable(models.Need{Scopes: scopes, ToolCalls: models.None})
}

// Reason is that of a condition for an error of Load which a user can mend; empty for any other.
func Reason(err error) string {
	var invalid *models.InvalidError
	switch {
	case errors.As(err, &invalid):
		return v1alpha1.ReasonRegistryInvalid
	case errors.Is(err, ErrNotFound):
		return v1alpha1.ReasonRegistryNotFound
	}
	return ""
}
