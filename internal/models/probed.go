package models

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
)

// Routing says what counts when a model is chosen besides its entry.
type Routing struct {
	// Unfit is what becomes of a model that the latest probe of its entry has measured
	// below the level that is needed: Allow, or Exclude.
	Unfit string `yaml:"unfit,omitempty"`
}

// What becomes of unfit models. Allow is the default.
const (
	UnfitAllow   = "Allow"
	UnfitExclude = "Exclude"
)

func (v *validator) routing(r Routing) {
	v.oneOf("routing.unfit", r.Unfit, "", UnfitAllow, UnfitExclude)
}

// Measured is what a probe has found out about an entry.
type Measured struct {
	// Level that was measured.
	Level Level
	// Probe names the probe, for people.
	Probe string
	// Time is when it was measured.
	Time time.Time
}

// Latest takes what was measured of an entry if nothing later is known of it. A probe that
// measured nothing, as the server was busy or the key wrong, says nothing of the model.
func Latest(known map[string]Measured, digest string, found Measured) {
	if found.Level == "" {
		return
	}
	if last, ok := known[digest]; !ok || last.Time.Before(found.Time) || last.Time.Equal(found.Time) && last.Probe < found.Probe {
		known[digest] = found
	}
}

// Unfit says that a probe has measured a model below the need, where the registry asks for
// that to count; nil where none has.
func (r *Registry) Unfit(m Model, need Need) *Dropped {
	if r.Routing.Unfit != UnfitExclude || len(need.Probed) == 0 {
		return nil
	}
	level := need.ToolCalls
	if level == "" {
		level = DefaultToolCalls
	}
	found, ok := need.Probed[Candidate{Model: m, Provider: r.Providers[m.Provider]}.Digest()]
	if !ok || found.Level.AtLeast(level) {
		return nil
	}
	return &Dropped{m.ID, DropUnfit, fmt.Sprintf("calls tools at level %s, as probe %s has measured at %s, %s is needed",
		found.Level, found.Probe, found.Time.UTC().Format(time.RFC3339), level)}
}

// Digest tells entries apart by all that decides how a model answers: its server, what is
// sent there, and by which key. Who may use the model, its price and its place among
// others are not in it, nor is the level that the entry declares. 32 hexadecimal digits.
func (c Candidate) Digest() string {
	m := c.Model
	m.Roles, m.Scopes, m.FallbackGroup, m.Priority, m.Pricing, m.Limits, m.Disabled, m.ToolCalls = nil, nil, "", 0, nil, Limits{}, false, DefaultToolCalls
	data, err := yaml.Marshal(struct {
		Provider providerDocument `yaml:"provider"`
		Model    modelDocument    `yaml:"model"`
	}{c.Provider.document(), m.document(c.Provider)})
	if err != nil {
		panic(fmt.Sprintf("encoding an entry: %v", err)) // it was decoded before
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}
