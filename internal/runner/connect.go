// Package runner runs an AgentTask with the harness: in a pod, where it follows
// its Sandbox and reports to the task's status, and on a laptop, without a
// cluster, with the same loop.
package runner

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/openai"
	"github.com/sampan-dev/sampan/internal/llm/scripted"
	"github.com/sampan-dev/sampan/internal/models"
)

// connector makes providers for candidates. Keys stay in it.
type connector struct {
	// taskName goes into a header, for gateways that account by task.
	taskName string
	// env reads an environment variable; os.Getenv outside of tests.
	env func(string) string
	// scriptFile says where a scripted provider's script is.
	scriptFile func(models.Provider) string
}

// connect makes the provider of a candidate.
func (c connector) connect(candidate models.Candidate) (llm.Provider, error) {
	p := candidate.Provider
	if p.Type == models.TypeScripted {
		script, err := scripted.Load(c.scriptFile(p))
		if err != nil {
			return nil, err
		}
		return scripted.NewProvider(script, c.taskName), nil
	}
	key, err := c.key(p)
	if err != nil {
		return nil, err
	}
	return openai.New(openai.Config{
		BaseURL: p.BaseURL, APIKey: key, Quirks: openai.Quirks(candidate.Quirks()), TaskName: c.taskName,
		CAFile:           c.env("SAMPAN_CA_FILE"),
		FirstByteTimeout: time.Duration(candidate.Model.Timeouts.FirstByteSeconds) * time.Second,
		IdleTimeout:      time.Duration(candidate.Model.Timeouts.IdleSeconds) * time.Second,
		TotalTimeout:     time.Duration(candidate.Model.Timeouts.TotalSeconds) * time.Second,
	})
}

// key finds a provider's API key; empty for a provider without one.
func (c connector) key(p models.Provider) (string, error) {
	if p.APIKey == nil {
		return "", nil
	}
	name := keyVariable(p)
	if key := c.env(name); key != "" {
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

// localScript finds a script on a laptop: relative to the registry's folder.
func localScript(registryFile string) func(models.Provider) string {
	return func(p models.Provider) string {
		file := p.Script.File
		if file == "" {
			// A registry that was written for a cluster: the ConfigMap's key is
			// looked for beside it.
			file = p.Script.Key
		}
		if filepath.IsAbs(file) {
			return file
		}
		return filepath.Join(filepath.Dir(registryFile), file)
	}
}

// errNoPrompt says that a task manifest has no prompt that can be read here.
var errNoPrompt = errors.New("spec.promptFrom needs a cluster; give the text with --prompt-file")
