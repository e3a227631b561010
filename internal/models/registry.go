// Package models is the model registry: which models there are, where they are
// served, what they can do, who may use them and what they cost. It parses and
// validates the registry document and routes a task to candidate models. It
// knows nothing of Kubernetes: references to Secrets and ConfigMaps are names.
package models

import (
	"cmp"
	"strings"

	"github.com/shopspring/decimal"
)

// Registry is a validated registry document with its defaults filled in. It is
// read-only after Parse and safe for concurrent use.
type Registry struct {
	// Version of the document's format; 1 is the only one.
	Version int
	// Default is used by tasks that name no model.
	Default Selector
	// Providers by name.
	Providers map[string]Provider
	// Models in the order of the document.
	Models []Model
	// Routing says what else counts when a model is chosen.
	Routing Routing
}

// Selector says what to route to. At most one field is set; none means the
// registry's default.
type Selector struct {
	Name  string `yaml:"name,omitempty" json:"name,omitempty"`
	Group string `yaml:"group,omitempty" json:"group,omitempty"`
	Role  string `yaml:"role,omitempty" json:"role,omitempty"`
}

// IsZero reports whether nothing is selected.
func (s Selector) IsZero() bool { return s == Selector{} }

// String says it in words: "role workspace-agent".
func (s Selector) String() string {
	switch {
	case s.Name != "":
		return "model " + s.Name
	case s.Group != "":
		return "group " + s.Group
	case s.Role != "":
		return "role " + s.Role
	}
	return "the default model"
}

// ProviderType names a wire format.
type ProviderType string

// The provider types.
const (
	// TypeOpenAI speaks the OpenAI chat completions protocol over HTTP.
	TypeOpenAI ProviderType = "openai"
	// TypeScripted answers from a script; for tests, demos and benchmarks.
	TypeScripted ProviderType = "scripted"
)

// Provider is where models are served.
type Provider struct {
	// Name is its key in the document.
	Name string
	Type ProviderType
	// BaseURL is set for TypeOpenAI, up to and with the version ("…/v1").
	BaseURL string
	// Profile names one of Profiles; empty is the one that BaseURL's host has.
	Profile string
	// APIKey is nil where no Authorization header is to be sent.
	APIKey *KeySource
	// InsecureHTTP lets the key be sent by http to a host that is not near.
	InsecureHTTP bool
	// Script is set for TypeScripted.
	Script *ScriptSource
	// Timeouts are for all of its models; those that a model has go before.
	Timeouts Timeouts
}

// Timeouts bound one call of a model.
type Timeouts struct {
	// FirstByteSeconds is how long nothing may come before the model's first word: a
	// server reads the prompt in that time.
	FirstByteSeconds int `yaml:"firstByteSeconds,omitempty"`
	// IdleSeconds is how long nothing may come from then on.
	IdleSeconds int `yaml:"idleSeconds,omitempty"`
	// TotalSeconds bounds the call in all.
	TotalSeconds int `yaml:"totalSeconds,omitempty"`
}

// or fills in what is not set.
func (t Timeouts) or(other Timeouts) Timeouts {
	return Timeouts{
		FirstByteSeconds: cmp.Or(t.FirstByteSeconds, other.FirstByteSeconds),
		IdleSeconds:      cmp.Or(t.IdleSeconds, other.IdleSeconds),
		TotalSeconds:     cmp.Or(t.TotalSeconds, other.TotalSeconds),
	}
}

// KeySource says where an API key is: a Secret's key, or, for local runs, an
// environment variable.
type KeySource struct {
	SecretName string `yaml:"secretName,omitempty"`
	Key        string `yaml:"key,omitempty"`
	Env        string `yaml:"env,omitempty"`
}

// ScriptSource says where a script is: a ConfigMap's key, or, for local runs,
// a file. A relative file is meant relative to the registry's own folder.
type ScriptSource struct {
	ConfigMapName string `yaml:"configMapName,omitempty"`
	Key           string `yaml:"key,omitempty"`
	File          string `yaml:"file,omitempty"`
}

// Level is how well a model calls tools. It is a level and not a boolean since
// a model that manages one call may lose its way in ten.
type Level string

// The levels, best first.
const (
	Excellent Level = "Excellent"
	Good      Level = "Good"
	Limited   Level = "Limited"
	None      Level = "None"
)

// Levels gives the levels, best first.
func Levels() []string {
	return []string{string(Excellent), string(Good), string(Limited), string(None)}
}

// rank orders levels; 0 is not a level.
func (l Level) rank() int {
	switch l {
	case Excellent:
		return 4
	case Good:
		return 3
	case Limited:
		return 2
	case None:
		return 1
	}
	return 0
}

// AtLeast reports whether l is as good as other, or better.
func (l Level) AtLeast(other Level) bool { return l.rank() >= other.rank() }

// Defaults for what a model's entry leaves out.
const (
	DefaultContextWindow   = 32768
	DefaultMaxOutputTokens = 8192
	// DefaultToolCalls is also what a task needs unless it says otherwise.
	DefaultToolCalls = Good
)

// DefaultTimeouts let a small machine read a long prompt for minutes.
var DefaultTimeouts = Timeouts{FirstByteSeconds: 600, IdleSeconds: 180, TotalSeconds: 1800}

// maxTimeout bounds each of the timeouts, in seconds.
const maxTimeout = 24 * 60 * 60

// Model is one entry of the registry.
type Model struct {
	// ID is what people and tasks call it.
	ID string
	// Provider is a key of Registry.Providers.
	Provider string
	// Upstream is the id that the provider knows; ID when not given.
	Upstream string
	// ContextWindow is in tokens, input and output together.
	ContextWindow int
	// MaxOutputTokens bounds one reply.
	MaxOutputTokens int
	ToolCalls       Level
	Roles           []string
	// Scopes say who may use it; empty is everybody.
	Scopes        []string
	FallbackGroup string
	// Priority orders a group or role: lower goes first, ties in the order of the document.
	Priority int
	// Pricing is nil when it is not known; a free model says so with zeros.
	Pricing *Pricing
	Quirks  Quirks
	Limits  Limits
	// Timeouts of a call, with the provider's and the defaults filled in.
	Timeouts Timeouts
	// Disabled is a tombstone: the entry is there, and off.
	Disabled bool
}

// Pricing is in US dollars per million tokens.
type Pricing struct {
	InputPerMTok decimal.Decimal
	// CachedInputPerMTok is InputPerMTok when not given.
	CachedInputPerMTok decimal.Decimal
	OutputPerMTok      decimal.Decimal
}

// Quirks are what a server needs that others refuse. An empty value leaves the
// provider's default. The fields are those of openai.Quirks, one by one, so
// that one converts to the other; this package does not import a wire format.
type Quirks struct {
	// ToolChoice: auto, required (where the model is to begin), always, or omit.
	ToolChoice string `yaml:"toolChoice,omitempty"`
	// NullContent is what to send for an assistant without text: null, empty (""), omit
	// or text (a few words).
	NullContent string `yaml:"nullContent,omitempty"`
	// MaxTokensField: max_tokens, max_completion_tokens, or none.
	MaxTokensField string `yaml:"maxTokensField,omitempty"`
	// TextToolCalls written into the text: reject, salvage or ignore.
	TextToolCalls string `yaml:"textToolCalls,omitempty"`
	// ParallelToolCalls is sent when it is set.
	ParallelToolCalls *bool `yaml:"parallelToolCalls,omitempty"`
	// ReplayReasoning sends the model's thinking back: never, reasoning_content,
	// reasoning, reasoning_text or required (reasoning_content, also empty).
	ReplayReasoning string `yaml:"replayReasoning,omitempty"`
	// UserAfterTool: allow, or fold a user's message into the tool's result before it.
	UserAfterTool string `yaml:"userAfterTool,omitempty"`
	// SystemRole of the system prompt: system, developer or user.
	SystemRole string `yaml:"systemRole,omitempty"`
	// ToolCallIDs: keep, or alnum9 (nine letters and digits).
	ToolCallIDs string `yaml:"toolCallIDs,omitempty"`
	// OneCallPerMessage sends earlier replies with one call in each message.
	OneCallPerMessage bool `yaml:"oneCallPerMessage,omitempty"`
	// OpaqueFields of messages and calls: return them to who gave them, or drop.
	OpaqueFields string `yaml:"opaqueFields,omitempty"`
	// ThoughtSignatures: own, or fill in Google's placeholder where there is none.
	ThoughtSignatures string `yaml:"thoughtSignatures,omitempty"`
	// ToolSchemas: full, or plain (only keywords that every server takes).
	ToolSchemas string `yaml:"toolSchemas,omitempty"`
	// ToolMessageName sends the tool's name with its result.
	ToolMessageName bool `yaml:"toolMessageName,omitempty"`
	// GoodEnds are finish reasons that end a reply well beside those that are known;
	// "" is none at all.
	GoodEnds []string `yaml:"goodEnds,omitempty"`
	// NoStream asks for whole responses.
	NoStream bool `yaml:"noStream,omitempty"`
	// NoStreamUsage leaves out stream_options.
	NoStreamUsage bool `yaml:"noStreamUsage,omitempty"`
	// Temperature is sent when it is set.
	Temperature *float64 `yaml:"temperature,omitempty"`
	// ExtraBody is added to the top level of each request.
	ExtraBody map[string]any `yaml:"extraBody,omitempty"`
}

// Limits of the provider that we keep to by ourselves.
type Limits struct {
	// RequestsPerMinute of one run; 0 is no limit.
	RequestsPerMinute int `yaml:"requestsPerMinute,omitempty"`
}

// Model gives an entry by its id.
func (r *Registry) Model(id string) (Model, bool) {
	for _, m := range r.Models {
		if m.ID == id {
			return m, true
		}
	}
	return Model{}, false
}

// KeyEnv is the environment variable in which the runner container finds a
// provider's API key: SAMPAN_KEY_ and the name in upper snake case. Provider
// names are DNS labels, so two of them never share one.
func KeyEnv(provider string) string {
	return "SAMPAN_KEY_" + strings.ToUpper(strings.ReplaceAll(provider, "-", "_"))
}
