package models

import (
	"errors"
	"strings"

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
	Version   int                         `yaml:"version"`
	Default   Selector                    `yaml:"default"`
	Providers map[string]providerDocument `yaml:"providers"`
	Models    []modelDocument             `yaml:"models"`
}

type providerDocument struct {
	Type    ProviderType  `yaml:"type"`
	BaseURL string        `yaml:"baseURL"`
	APIKey  *KeySource    `yaml:"apiKey"`
	Script  *ScriptSource `yaml:"script"`
}

type modelDocument struct {
	ID              string           `yaml:"id"`
	Provider        string           `yaml:"provider"`
	Upstream        string           `yaml:"upstream"`
	ContextWindow   int              `yaml:"contextWindow"`
	MaxOutputTokens int              `yaml:"maxOutputTokens"`
	ToolCalls       Level            `yaml:"toolCalls"`
	Roles           []string         `yaml:"roles"`
	Scopes          []string         `yaml:"scopes"`
	FallbackGroup   string           `yaml:"fallbackGroup"`
	Priority        int              `yaml:"priority"`
	Pricing         *pricingDocument `yaml:"pricing"`
	Quirks          Quirks           `yaml:"quirks"`
	Limits          Limits           `yaml:"limits"`
	Disabled        bool             `yaml:"disabled"`
}

// pricingDocument keeps prices as text: a YAML float would round.
type pricingDocument struct {
	InputPerMTok       string `yaml:"inputPerMTok"`
	CachedInputPerMTok string `yaml:"cachedInputPerMTok"`
	OutputPerMTok      string `yaml:"outputPerMTok"`
}

// Parse reads and validates a registry document. Its time and memory are bounded
// by the document's size, whatever is in it. Every error is an *InvalidError.
func Parse(data []byte) (*Registry, error) {
	root, err := yamldoc.Parse(data, yamldoc.Limits{Bytes: MaxDocumentBytes, Depth: yamldoc.MaxDepth, Nodes: maxNodes})
	var p *yamldoc.Problem
	switch {
	case errors.As(err, &p):
		return nil, invalid(*p)
	case err != nil:
		return nil, invalid(Problem{Message: err.Error()})
	case root == nil:
		return nil, invalid(Problem{Message: "the document is empty"})
	}
	var doc document
	if problems := yamldoc.Decode(root, &doc, DidYouMean); len(problems) > 0 {
		return nil, &InvalidError{Problems: problems}
	}
	v := &validator{root: root}
	reg := v.registry(doc)
	v.hiddenSecrets(data, reg)
	if problems := v.problems.List(); len(problems) > 0 {
		return nil, &InvalidError{Problems: problems}
	}
	return reg, nil
}

func invalid(p Problem) error { return &InvalidError{Problems: []Problem{p}} }
