// Package runner is what a run of an AgentTask needs in a pod and on a laptop alike;
// inpod and local drive it there, with the same loop.
package runner

import (
	"fmt"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/openai"
	"github.com/sampan-dev/sampan/internal/llm/scripted"
	"github.com/sampan-dev/sampan/internal/models"
)

// Connector makes providers for candidates. Keys stay in it.
type Connector struct {
	// TaskName goes into a header, for gateways that account by task.
	TaskName string
	// Env reads an environment variable; os.Getenv outside of tests.
	Env func(string) string
	// ScriptFile says where a scripted provider's script is.
	ScriptFile func(models.Provider) string
}

// Connect makes the provider of a candidate.
func (c Connector) Connect(candidate models.Candidate) (llm.Provider, error) {
	p := candidate.Provider
	if p.Type == models.TypeScripted {
		script, err := scripted.Load(c.ScriptFile(p))
		if err != nil {
			return nil, err
		}
		return scripted.NewProvider(script, c.TaskName), nil
	}
	key, err := c.key(p)
	if err != nil {
		return nil, err
	}
	return openai.New(openai.Config{
		BaseURL: p.BaseURL, APIKey: key, Quirks: openai.Quirks(candidate.Quirks()), TaskName: c.TaskName,
		CAFile:           c.Env("SAMPAN_CA_FILE"),
		FirstByteTimeout: time.Duration(candidate.Model.Timeouts.FirstByteSeconds) * time.Second,
		IdleTimeout:      time.Duration(candidate.Model.Timeouts.IdleSeconds) * time.Second,
		TotalTimeout:     time.Duration(candidate.Model.Timeouts.TotalSeconds) * time.Second,
	})
}

// key finds a provider's API key; empty for a provider without one.
func (c Connector) key(p models.Provider) (string, error) {
	if p.APIKey == nil {
		return "", nil
	}
	name := keyVariable(p)
	if key := c.Env(name); strings.TrimSpace(key) != "" {
		return key, nil
	}
	if p.APIKey.SecretName != "" {
		return "", fmt.Errorf("the API key of provider %s is missing: Secret %s, key %s, was empty or is not mounted; on a laptop set %s",
			p.Name, p.APIKey.SecretName, p.APIKey.Key, name)
	}
	return "", fmt.Errorf("the API key of provider %s is missing: set %s", p.Name, name)
}

// keyVariable is the environment variable that holds a provider's API key.
func keyVariable(p models.Provider) string {
	if p.APIKey.Env != "" {
		return p.APIKey.Env
	}
	return models.KeyEnv(p.Name)
}

// secrets are the values that must never be written down, and the variables
// that hold them.
func secrets(reg *models.Registry, env func(string) string) (values, variables []string) {
	for _, p := range reg.Providers {
		if p.APIKey == nil {
			continue
		}
		name := keyVariable(p)
		variables = append(variables, name)
		if v := env(name); v != "" {
			values = append(values, v)
		}
	}
	return values, variables
}
