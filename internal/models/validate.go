package models

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"
	"go.yaml.in/yaml/v3"

	"github.com/sampan-dev/sampan/internal/origin"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/yamldoc"
)

// label is what provider, group, role and scope names look like: a DNS label,
// so that they can be label values, Secret keys and environment variables.
var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// modelID is wider than a label: people want "qwen2.5-coder-32b" and "org/model:tag".
var modelID = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._:/@-]{0,126}[A-Za-z0-9])?$`)

// validator gathers problems, each with its place in the document.
type validator struct {
	root     *yaml.Node
	problems yamldoc.Problems
}

// fail records a problem at a path such as "models[0].id"; where the field is
// absent, the nearest parent that is there gives the line. A value in the message
// goes through quote.
func (v *validator) fail(path, format string, args ...any) {
	p := Problem{Path: path, Message: fmt.Sprintf(format, args...)}
	for at := path; at != "" && !v.problems.Full(); at = parent(at) {
		if node := yamldoc.Find(v.root, at); node != nil {
			p.Line, p.Column = node.Line, node.Column
			break
		}
	}
	v.problems.Add(p)
}

// didYouMean is DidYouMean, as long as somebody will read it.
func (v *validator) didYouMean(got string, names []string) string {
	if v.problems.Full() {
		return ""
	}
	return DidYouMean(got, names)
}

// quote keeps a message about a long value short.
func quote(s string) string { return strconv.Quote(text.Clip(s, 64)) }

// short checks texts that have no rule of their own but their length.
func (v *validator) short(path string, fields map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if n := len(fields[name]); n > maxTextBytes {
			v.fail(path+"."+name, "has %d bytes, the limit is %d", n, maxTextBytes)
		}
	}
}

// parent cuts the last step off a path.
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

func (v *validator) registry(doc document) *Registry {
	reg := &Registry{Version: doc.Version, Default: doc.Default, Providers: map[string]Provider{}}
	if doc.Version != 1 {
		v.fail("version", "is %d, want 1", doc.Version)
	}
	if p, m := len(doc.Providers), len(doc.Models); p > maxProviders || m > maxModels {
		v.atMost("providers", p, maxProviders)
		v.atMost("models", m, maxModels)
		return reg
	}
	names := slices.Sorted(maps.Keys(doc.Providers)) // problems come in a stable order
	for _, name := range names {
		reg.Providers[name] = v.provider(name, doc.Providers[name])
	}
	seen := map[string]int{}
	for i, m := range doc.Models {
		path := fmt.Sprintf("models[%d]", i)
		if first, dup := seen[m.ID]; dup && m.ID != "" {
			v.fail(path+".id", "%s is models[%d] already", quote(m.ID), first)
		} else {
			seen[m.ID] = i
		}
		reg.Models = append(reg.Models, v.model(path, m, reg, names))
	}
	if len(doc.Models) == 0 {
		v.fail("models", "has no entry")
	}
	v.defaultSelector(reg)
	reg.Routing = doc.Routing
	v.routing(doc.Routing)
	return reg
}

func (v *validator) provider(name string, doc providerDocument) Provider {
	path := "providers." + name
	p := Provider{Name: name, Type: doc.Type, BaseURL: strings.TrimRight(doc.BaseURL, "/"), Profile: doc.Profile, APIKey: doc.APIKey, InsecureHTTP: doc.InsecureHTTP, Script: doc.Script, Timeouts: doc.Timeouts}
	if !label.MatchString(name) {
		// Not every name can be part of a path, so the list itself is named.
		v.fail("providers", "the name %s must be lower-case letters, digits and '-', at most 63", quote(name))
		return p
	}
	v.timeouts(path+".timeouts", doc.Timeouts)
	switch doc.Type {
	case TypeOpenAI:
		v.openAI(path, doc)
	case TypeScripted:
		v.scripted(path, doc)
	case "":
		v.fail(path+".type", "is missing; want openai or scripted")
	default:
		v.fail(path+".type", "%s is not a provider type; want openai or scripted", quote(string(doc.Type)))
	}
	if k := doc.APIKey; k != nil {
		v.short(path+".apiKey", map[string]string{"secretName": k.SecretName, "key": k.Key, "env": k.Env})
	}
	if s := doc.Script; s != nil {
		v.short(path+".script", map[string]string{"configMapName": s.ConfigMapName, "key": s.Key, "file": s.File})
	}
	return p
}

func (v *validator) openAI(path string, doc providerDocument) {
	v.baseURL(path, doc)
	if doc.Script != nil {
		v.fail(path+".script", "is for type scripted only")
	}
	v.oneOf(path+".profile", doc.Profile, append([]string{""}, profileNames()...)...)
	if k := doc.APIKey; k != nil {
		secret := k.SecretName != "" || k.Key != ""
		switch {
		case secret && k.Env != "":
			v.fail(path+".apiKey", "has both a Secret and env; keep one")
		case secret && (k.SecretName == "" || k.Key == ""):
			v.fail(path+".apiKey", "needs secretName and key")
		case !secret && k.Env == "":
			v.fail(path+".apiKey", "is empty; give secretName and key, or leave it out")
		case k.Env != "" && !variable.MatchString(k.Env):
			v.fail(path+".apiKey.env", "is not the name of an environment variable; give the name alone, without $, and never the key itself")
		}
	}
}

// variable is the name of an environment variable.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// host is a name or an address, without the marks of a text that is to be filled in.
var host = regexp.MustCompile(`^[\pL\pN._:%-]+$`)

// operations are the ends of a URL that the client adds itself, or would not use.
var operations = []string{"/chat/completions", "/completions", "/responses", "/messages", "/embeddings"}

func (v *validator) baseURL(path string, doc providerDocument) {
	provider := path
	path += ".baseURL"
	u, err := url.Parse(doc.BaseURL)
	switch {
	case doc.BaseURL == "":
		v.fail(path, "is missing")
		return
	case len(doc.BaseURL) > maxTextBytes:
		v.short(provider, map[string]string{"baseURL": doc.BaseURL})
		return
	case u != nil && u.User != nil, err != nil && strings.Contains(doc.BaseURL, "@"):
		v.fail(path, "must not hold credentials; use apiKey")
		return
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		v.fail(path, "%s is not an http or https URL", quote(doc.BaseURL))
		return
	case !host.MatchString(u.Hostname()):
		v.fail(path, "%s is not the name of a host", quote(u.Hostname()))
		return
	case u.Port() != "" && !validPort(u.Port()):
		v.fail(path, "%s is not a port; want 1 to 65535", quote(u.Port()))
		return
	case u.RawQuery != "" || u.Fragment != "":
		v.fail(path, "must not have a query or a fragment")
		return
	}
	whole := strings.TrimRight(doc.BaseURL, "/")
	for _, end := range operations {
		if base, found := strings.CutSuffix(whole, end); found {
			v.fail(path, "ends in %s, which is added to it: write %s", end, quote(base))
			return
		}
	}
	if o, _ := origin.Of(u); doc.APIKey != nil && !doc.InsecureHTTP && !o.Confidential() {
		v.fail(path, "would send the apiKey by http to %s, where others on the way can read it: use https, a name that ends in .svc for a Service, or insecureHTTP: true where nobody can listen", o.Host)
	}
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func (v *validator) scripted(path string, doc providerDocument) {
	if doc.BaseURL != "" {
		v.fail(path+".baseURL", "is for type openai only")
	}
	if doc.APIKey != nil {
		v.fail(path+".apiKey", "is for type openai only")
	}
	if doc.Profile != "" {
		v.fail(path+".profile", "is for type openai only")
	}
	if doc.InsecureHTTP {
		v.fail(path+".insecureHTTP", "is for type openai only")
	}
	s := doc.Script
	if s == nil {
		v.fail(path+".script", "is missing; give configMapName and key, or file")
		return
	}
	configMap := s.ConfigMapName != "" || s.Key != ""
	switch {
	case configMap && s.File != "":
		v.fail(path+".script", "has both a ConfigMap and file; keep one")
	case configMap && (s.ConfigMapName == "" || s.Key == ""):
		v.fail(path+".script", "needs configMapName and key")
	case !configMap && s.File == "":
		v.fail(path+".script", "is empty; give configMapName and key, or file")
	}
}

func (v *validator) model(path string, doc modelDocument, reg *Registry, providers []string) Model {
	m := Model{
		ID: doc.ID, Provider: doc.Provider, Upstream: doc.Upstream, ContextWindow: doc.ContextWindow,
		MaxOutputTokens: doc.MaxOutputTokens, ToolCalls: doc.ToolCalls, Roles: doc.Roles, Scopes: doc.Scopes,
		FallbackGroup: doc.FallbackGroup, Priority: doc.Priority, Quirks: doc.Quirks, Limits: doc.Limits, Disabled: doc.Disabled,
	}
	switch {
	case m.ID == "":
		v.fail(path+".id", "is missing")
	case !modelID.MatchString(m.ID):
		v.fail(path+".id", "%s has characters that are not allowed, or more than 128", quote(m.ID))
	}
	provider, known := reg.Providers[m.Provider]
	switch {
	case m.Provider == "":
		v.fail(path+".provider", "is missing")
	case !known:
		v.fail(path+".provider", "%s is not among the providers%s", quote(m.Provider), v.didYouMean(m.Provider, providers))
	}
	v.short(path, map[string]string{"upstream": m.Upstream})
	if m.Upstream == "" {
		m.Upstream = m.ID
	}
	v.sizes(path, &m)
	if m.ToolCalls == "" {
		m.ToolCalls = DefaultToolCalls
	}
	v.oneOf(path+".toolCalls", string(m.ToolCalls), Levels()...)
	v.names(path+".roles", m.Roles)
	v.names(path+".scopes", m.Scopes)
	if m.FallbackGroup != "" && !label.MatchString(m.FallbackGroup) {
		v.fail(path+".fallbackGroup", "%s must be lower-case letters, digits and '-', at most 63", quote(m.FallbackGroup))
	}
	v.quirks(path+".quirks", m.Quirks)
	if m.Limits.RequestsPerMinute < 0 {
		v.fail(path+".limits.requestsPerMinute", "must not be negative")
	}
	v.timeouts(path+".timeouts", doc.Timeouts)
	m.Timeouts = doc.Timeouts.or(provider.Timeouts).or(DefaultTimeouts)
	m.Pricing = v.pricing(path+".pricing", doc.Pricing)
	if m.Pricing == nil && provider.Type == TypeScripted {
		m.Pricing = &Pricing{} // a script costs nothing
	}
	return m
}

// sizes fills in and checks the window. A quarter of it at most is kept for
// the reply unless the entry says otherwise, since that room is taken from the
// conversation.
func (v *validator) sizes(path string, m *Model) {
	if m.ContextWindow == 0 {
		m.ContextWindow = DefaultContextWindow
	}
	if m.ContextWindow < 1024 {
		v.fail(path+".contextWindow", "is %d tokens, want at least 1024", m.ContextWindow)
		return
	}
	if m.MaxOutputTokens == 0 {
		m.MaxOutputTokens = min(DefaultMaxOutputTokens, m.ContextWindow/4)
	}
	if m.MaxOutputTokens < 0 || m.MaxOutputTokens >= m.ContextWindow {
		v.fail(path+".maxOutputTokens", "is %d, want more than 0 and less than contextWindow (%d)", m.MaxOutputTokens, m.ContextWindow)
	}
}

func (v *validator) quirks(path string, q Quirks) {
	v.oneOf(path+".toolChoice", q.ToolChoice, "", "auto", "required", "always", "omit")
	v.oneOf(path+".nullContent", q.NullContent, "", "null", "empty", "omit", "text")
	v.oneOf(path+".maxTokensField", q.MaxTokensField, "", "max_tokens", "max_completion_tokens", "none")
	v.oneOf(path+".textToolCalls", q.TextToolCalls, "", "reject", "salvage", "ignore")
	v.oneOf(path+".replayReasoning", q.ReplayReasoning, "", "never", "reasoning_content", "reasoning", "reasoning_text", "required")
	v.oneOf(path+".userAfterTool", q.UserAfterTool, "", "allow", "fold")
	v.oneOf(path+".systemRole", q.SystemRole, "", "system", "developer", "user")
	v.oneOf(path+".toolCallIDs", q.ToolCallIDs, "", "keep", "alnum9")
	v.oneOf(path+".opaqueFields", q.OpaqueFields, "", "return", "drop")
	v.oneOf(path+".thoughtSignatures", q.ThoughtSignatures, "", "own", "fill")
	v.oneOf(path+".toolSchemas", q.ToolSchemas, "", "full", "plain")
	if t := q.Temperature; t != nil && !(*t >= 0 && *t <= 2) {
		v.fail(path+".temperature", "is %v, want 0 to 2", *t)
	}
	if n := jsonBytes(q.ExtraBody); n > maxExtraBytes {
		v.fail(path+".extraBody", "has %d bytes as JSON, the limit is %d", n, maxExtraBytes)
	}
}

// jsonBytes is how long a value is as JSON; nothing is sent that cannot be.
func jsonBytes(v map[string]any) int {
	if len(v) == 0 {
		return 0
	}
	data, err := json.Marshal(v)
	if err != nil {
		return math.MaxInt
	}
	return len(data)
}

func (v *validator) timeouts(path string, t Timeouts) {
	for _, f := range []struct {
		name    string
		seconds int
	}{{"firstByteSeconds", t.FirstByteSeconds}, {"idleSeconds", t.IdleSeconds}, {"totalSeconds", t.TotalSeconds}} {
		if f.seconds < 0 || f.seconds > maxTimeout {
			v.fail(path+"."+f.name, "is %d, want 1 to %d", f.seconds, maxTimeout)
		}
	}
}

func (v *validator) oneOf(path, got string, want ...string) {
	if slices.Contains(want, got) {
		return
	}
	if want[0] == "" {
		want = want[1:]
	}
	v.fail(path, "%s is not allowed; want one of %s%s", quote(got), strings.Join(want, ", "), v.didYouMean(got, want))
}

func (v *validator) names(path string, names []string) {
	v.atMost(path, len(names), maxNames)
	for i, n := range names[:min(len(names), maxNames)] {
		if !label.MatchString(n) {
			v.fail(fmt.Sprintf("%s[%d]", path, i), "%s must be lower-case letters, digits and '-', at most 63", quote(n))
		}
	}
}

func (v *validator) atMost(path string, n, limit int) {
	if n > limit {
		v.fail(path, "has %d entries, the limit is %d", n, limit)
	}
}

func (v *validator) pricing(path string, doc *pricingDocument) *Pricing {
	if doc == nil {
		return nil
	}
	p := &Pricing{
		InputPerMTok:  v.price(path+".inputPerMTok", doc.InputPerMTok),
		OutputPerMTok: v.price(path+".outputPerMTok", doc.OutputPerMTok),
	}
	p.CachedInputPerMTok = p.InputPerMTok
	if doc.CachedInputPerMTok != "" {
		p.CachedInputPerMTok = v.price(path+".cachedInputPerMTok", doc.CachedInputPerMTok)
		if p.CachedInputPerMTok.GreaterThan(p.InputPerMTok) {
			v.fail(path+".cachedInputPerMTok", "is more than inputPerMTok, with which a cost limit reckons; are they swapped?")
		}
	}
	return p
}

// priceText keeps out exponents: "1e999999999" is a short text and a number
// that fills the memory.
var priceText = regexp.MustCompile(`^[0-9]{1,7}(\.[0-9]{1,12})?$`)

func (v *validator) price(path, s string) decimal.Decimal {
	if s == "" {
		v.fail(path, "is missing")
		return decimal.Zero
	}
	if !priceText.MatchString(s) {
		v.fail(path, `%s is not a price in US dollars such as "0.66"`, quote(s))
		return decimal.Zero
	}
	d, err := decimal.NewFromString(s)
	if err != nil {
		v.fail(path, "%s is not a decimal number", quote(s))
	}
	return d
}

// defaultSelector checks that the default leads to something.
func (v *validator) defaultSelector(reg *Registry) {
	d := reg.Default
	if d.IsZero() {
		return
	}
	v.short("default", map[string]string{"name": d.Name, "group": d.Group, "role": d.Role})
	if err := d.check(); err != nil {
		v.fail("default", "%v", err)
		return
	}
	if len(reg.matching(d)) == 0 {
		v.fail("default", "no model matches %s%s", d, v.didYouMean(d.value(), reg.values(d)))
	}
}
