package models

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Snapshot writes a registry document that holds these candidates, their providers
// and nothing else: whoever can read a pod is told of no other endpoint. It routes
// the selector, and where that is none the registry's default, as the registry
// itself does.
func (r *Registry) Snapshot(sel Selector, candidates []Candidate) (string, error) {
	doc := document{Version: r.Version, Default: r.snapshotDefault(sel, candidates), Providers: map[string]providerDocument{}}
	for _, c := range candidates {
		p := c.Provider
		doc.Providers[p.Name] = p.document()
		doc.Models = append(doc.Models, c.Model.document(p))
	}
	var root yaml.Node
	err := root.Encode(doc)
	if err == nil {
		root.Style = yaml.FlowStyle // of all below, too: no byte goes into indentation
		var out []byte
		if out, err = yaml.Marshal(&root); err == nil {
			return string(out), nil
		}
	}
	return "", fmt.Errorf("writing the snapshot of a registry: %w", err)
}

// snapshotDefault is the default of a snapshot: what the one task asks for or, for
// whoever may come, the registry's own, unless that leads to nothing here.
func (r *Registry) snapshotDefault(sel Selector, candidates []Candidate) Selector {
	if sel.IsZero() {
		sel = r.Default
	}
	part := Registry{}
	for _, c := range candidates {
		part.Models = append(part.Models, c.Model)
	}
	if sel.IsZero() || len(part.matching(sel)) == 0 {
		return Selector{}
	}
	return sel
}

// document is a provider's entry.
func (p Provider) document() providerDocument {
	return providerDocument{
		Type: p.Type, BaseURL: p.BaseURL, Profile: p.Profile, APIKey: p.APIKey, InsecureHTTP: p.InsecureHTTP, Script: p.Script, Timeouts: p.Timeouts,
	}
}

// document is a model's entry without what Parse fills in, so that a snapshot takes
// no more than the document that it is of.
func (m Model) document(p Provider) modelDocument {
	doc := modelDocument{
		ID: m.ID, Provider: m.Provider, Upstream: m.Upstream, ContextWindow: m.ContextWindow,
		MaxOutputTokens: m.MaxOutputTokens, ToolCalls: m.ToolCalls, Roles: m.Roles, Scopes: m.Scopes,
		FallbackGroup: m.FallbackGroup, Priority: m.Priority, Quirks: m.Quirks, Limits: m.Limits, Disabled: m.Disabled,
	}
	if m.Upstream == m.ID {
		doc.Upstream = ""
	}
	if m.MaxOutputTokens == min(DefaultMaxOutputTokens, m.ContextWindow/4) {
		doc.MaxOutputTokens = 0
	}
	if m.ContextWindow == DefaultContextWindow {
		doc.ContextWindow = 0
	}
	if m.ToolCalls == DefaultToolCalls {
		doc.ToolCalls = ""
	}
	if m.Timeouts != (Timeouts{}).or(p.Timeouts).or(DefaultTimeouts) {
		doc.Timeouts = m.Timeouts
	}
	if p := m.Pricing; p != nil {
		doc.Pricing = &pricingDocument{InputPerMTok: p.InputPerMTok.String(), OutputPerMTok: p.OutputPerMTok.String()}
		if !p.CachedInputPerMTok.Equal(p.InputPerMTok) {
			doc.Pricing.CachedInputPerMTok = p.CachedInputPerMTok.String()
		}
	}
	return doc
}
