package models

import (
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sampan-dev/sampan/internal/yamldoc"
)

// Bounds of a registry: those of its text hold before a parser sees it.
const (
	// MaxDocumentBytes is the size of the document.
	MaxDocumentBytes = 256 << 10
	maxNodes         = 16384
	maxProviders     = 64
	maxModels        = 256
	// maxNames bounds each list of roles and of scopes.
	maxNames = 32
	// maxTextBytes bounds every text for which there is no narrower rule.
	maxTextBytes = 2048
	// maxExtraBytes bounds a model's extraBody, as JSON.
	maxExtraBytes = 16 << 10
)

// Problem is one thing that is wrong with a registry document.
type Problem = yamldoc.Problem

// InvalidError lists what is wrong with a registry document: all of it, up to
// yamldoc.MaxProblems.
type InvalidError struct{ Problems []Problem }

// Error implements error.
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// document is the YAML as it is written; Registry is what it means.
type document struct {
	Version   int                         `yaml:"version,omitempty"`
	Default   Selector                    `yaml:"default,omitempty"`
	Providers map[string]providerDocument `yaml:"providers,omitempty"`
	Models    []modelDocument             `yaml:"models,omitempty"`
	Routing   Routing                     `yaml:"routing,omitempty"`
}

type providerDocument struct {
	Type    ProviderType `yaml:"type,omitempty"`
	BaseURL string       `yaml:"baseURL,omitempty"`
	Profile string       `yaml:"profile,omitempty"`
	APIKey  *KeySource   `yaml:"apiKey,omitempty"`
	// InsecureHTTP is said by who knows that nobody listens on the way.
	InsecureHTTP bool `yaml:"insecureHTTP,omitempty"`

	Script *ScriptSource `yaml:"script,omitempty"`

	Timeouts Timeouts `yaml:"timeouts,omitempty"`
}

type modelDocument struct {
	ID              string           `yaml:"id,omitempty"`
	Provider        string           `yaml:"provider,omitempty"`
	Upstream        string           `yaml:"upstream,omitempty"`
	ContextWindow   int              `yaml:"contextWindow,omitempty"`
	MaxOutputTokens int              `yaml:"maxOutputTokens,omitempty"`
	ToolCalls       Level            `yaml:"toolCalls,omitempty"`
	Roles           []string         `yaml:"roles,omitempty"`
	Scopes          []string         `yaml:"scopes,omitempty"`
	FallbackGroup   string           `yaml:"fallbackGroup,omitempty"`
	Priority        int              `yaml:"priority,omitempty"`
	Pricing         *pricingDocument `yaml:"pricing,omitempty"`
	Quirks          Quirks           `yaml:"quirks,omitempty"`
	Limits          Limits           `yaml:"limits,omitempty"`
	Timeouts        Timeouts         `yaml:"timeouts,omitempty"`
	Disabled        bool             `yaml:"disabled,omitempty"`
}

// pricingDocument keeps prices as text: a YAML float would round.
type pricingDocument struct {
	InputPerMTok       string `yaml:"inputPerMTok,omitempty"`
	CachedInputPerMTok string `yaml:"cachedInputPerMTok,omitempty"`
	OutputPerMTok      string `yaml:"outputPerMTok,omitempty"`
}

// Parse reads and validates a registry document. Its time and memory are bounded
// by the document's size, whatever is in it. Every error is an *InvalidError.
func Parse(data []byte) (*Registry, error) {
	reg, _, err := parse(data)
	return reg, err
}

// parse also gives the validator, for what else is asked of a valid registry.
func parse(data []byte) (*Registry, *validator, error) {
	root, err := yamldoc.Parse(data, yamldoc.Limits{Bytes: MaxDocumentBytes, Depth: yamldoc.MaxDepth, Nodes: maxNodes})
	var p *yamldoc.Problem
	switch {
	case errors.As(err, &p):
		return nil, nil, invalid(*p)
	case err != nil:
		return nil, nil, invalid(Problem{Message: err.Error()})
	case root == nil:
		return nil, nil, invalid(Problem{Message: "the document is empty"})
	}
	if isObject(root) {
		return nil, nil, invalid(Problem{Line: root.Line, Column: root.Column, Message: "this is a Kubernetes object; give the registry itself, which a ConfigMap has in its data under models.yaml"})
	}
	var doc document
	if problems := yamldoc.Decode(root, &doc, DidYouMean); len(problems) > 0 {
		return nil, nil, &InvalidError{Problems: problems}
	}
	v := &validator{root: root}
	reg := v.registry(doc)
	v.hiddenSecrets(data, reg)
	if problems := v.problems.List(); len(problems) > 0 {
		return nil, nil, &InvalidError{Problems: problems}
	}
	return reg, v, nil
}

// isObject says that a document is one of Kubernetes, such as the ConfigMap that
// has a registry in it.
func isObject(root *yaml.Node) bool {
	has := func(key string) bool {
		for i := 0; root.Kind == yaml.MappingNode && i < len(root.Content); i += 2 {
			if root.Content[i].Value == key {
				return true
			}
		}
		return false
	}
	return has("apiVersion") && has("kind")
}

func invalid(p Problem) error { return &InvalidError{Problems: []Problem{p}} }
