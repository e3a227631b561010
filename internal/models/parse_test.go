package models

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
)

const example = `version: 1
default: {role: workspace-agent}
providers:
  gateway: {type: openai, baseURL: http://litellm.gateway.svc:4000/v1/, apiKey: {secretName: model-keys, key: gateway}, timeouts: {firstByteSeconds: 60, idleSeconds: 30}}
  local:   {type: openai, baseURL: http://localhost:8080/v1, apiKey: {env: MY_KEY}}
  demo:    {type: scripted, script: {configMapName: demo-script, key: script.yaml}}
models:
- id: qwen2.5-coder-32b
  provider: gateway
  upstream: "workers-ai/@cf/qwen/qwen2.5-coder-32b-instruct"
  contextWindow: 32768
  maxOutputTokens: 4096
  toolCalls: Excellent
  roles: [workspace-agent]
  scopes: [workspace]
  fallbackGroup: coding-small
  priority: 10
  pricing: {inputPerMTok: "0.66", cachedInputPerMTok: "0.10", outputPerMTok: 1.00}
  quirks: {toolChoice: required, nullContent: empty, maxTokensField: max_tokens, textToolCalls: reject, parallelToolCalls: false}
  limits: {requestsPerMinute: 60}
  timeouts: {idleSeconds: 20}
- id: demo
  provider: demo
`

func mustParse(t testing.TB, text string) *Registry {
	t.Helper()
	reg, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

var byValue = cmp.Comparer(func(a, b decimal.Decimal) bool { return a.Equal(b) })

func TestParse(t *testing.T) {
	usd := decimal.RequireFromString
	want := &Registry{
		Version: 1,
		Default: Selector{Role: "workspace-agent"},
		Providers: map[string]Provider{
			"gateway": {Name: "gateway", Type: TypeOpenAI, BaseURL: "http://litellm.gateway.svc:4000/v1", APIKey: &KeySource{SecretName: "model-keys", Key: "gateway"},
				Timeouts: Timeouts{FirstByteSeconds: 60, IdleSeconds: 30}},
			"local": {Name: "local", Type: TypeOpenAI, BaseURL: "http://localhost:8080/v1", APIKey: &KeySource{Env: "MY_KEY"}},
			"demo":  {Name: "demo", Type: TypeScripted, Script: &ScriptSource{ConfigMapName: "demo-script", Key: "script.yaml"}},
		},
		Models: []Model{
			{
				ID: "qwen2.5-coder-32b", Provider: "gateway", Upstream: "workers-ai/@cf/qwen/qwen2.5-coder-32b-instruct",
				ContextWindow: 32768, MaxOutputTokens: 4096, ToolCalls: Excellent, Roles: []string{"workspace-agent"},
				Scopes: []string{"workspace"}, FallbackGroup: "coding-small", Priority: 10,
				Pricing: &Pricing{InputPerMTok: usd("0.66"), CachedInputPerMTok: usd("0.1"), OutputPerMTok: usd("1")},
				Quirks: Quirks{ToolChoice: "required", NullContent: "empty", MaxTokensField: "max_tokens",
					TextToolCalls: "reject", ParallelToolCalls: new(false)},
				Limits: Limits{RequestsPerMinute: 60}, Timeouts: Timeouts{FirstByteSeconds: 60, IdleSeconds: 20, TotalSeconds: 1800},
			},
			{ID: "demo", Provider: "demo", Upstream: "demo", ContextWindow: 32768, MaxOutputTokens: 8192, ToolCalls: Good, Pricing: &Pricing{}, Timeouts: DefaultTimeouts},
		},
	}
	if diff := cmp.Diff(want, mustParse(t, example), byValue); diff != "" {
		t.Error(diff)
	}
}

// TestKeyByHTTP: where a key may be sent unencrypted.
func TestKeyByHTTP(t *testing.T) {
	for _, provider := range []string{
		"baseURL: https://gateway.example.com/v1, apiKey: {env: MY_KEY}",
		"baseURL: http://gateway.example.com/v1, apiKey: {env: MY_KEY}, insecureHTTP: true",
		"baseURL: http://gateway.example.com/v1",
		"baseURL: http://127.0.0.1:8080/v1, apiKey: {env: MY_KEY}",
		"baseURL: 'http://[::1]:8080/v1', apiKey: {env: MY_KEY}",
		"baseURL: http://gateway:4000/v1, apiKey: {env: MY_KEY}",
		"baseURL: http://gateway.team.svc:4000/v1, apiKey: {env: MY_KEY}",
		"baseURL: http://gateway.team.svc.cluster.local/v1, apiKey: {env: MY_KEY}",
	} {
		reg := mustParse(t, strings.Replace(example, "baseURL: http://localhost:8080/v1, apiKey: {env: MY_KEY}", provider, 1))
		if got, want := reg.Providers["local"].InsecureHTTP, strings.Contains(provider, "insecureHTTP"); got != want {
			t.Errorf("%s: InsecureHTTP is %v", provider, got)
		}
	}
}

// TestParseProblems breaks the example in one place at a time.
func TestParseProblems(t *testing.T) {
	tests := map[string]struct{ old, new, want string }{
		"unknown field":           {"  priority: 10", "  prioritty: 10", `line 17:3: unknown field "prioritty"; did you mean priority?`},
		"unknown provider field":  {"type: openai, baseURL: http://localhost", "type: openai, url: x, baseURL: http://localhost", `line 5:27: unknown field "url"`},
		"a timeout below zero":    {"timeouts: {idleSeconds: 20}", "timeouts: {idleSeconds: -1}", "models[0].timeouts.idleSeconds: is -1, want 1 to 86400"},
		"a timeout of a year":     {"firstByteSeconds: 60", "firstByteSeconds: 31536000", "providers.gateway.timeouts.firstByteSeconds: is 31536000"},
		"wrong type":              {"contextWindow: 32768", "contextWindow: big", "line 11:18: "},
		"bad YAML":                {"models:", "models: [", "line "},
		"field twice":             {"  priority: 10", "  priority: 10\n  priority: 11", "line 18:3: "},
		"version":                 {"version: 1", "version: 2", "line 1:10: version: is 2, want 1"},
		"no version":              {"version: 1\n", "", "version: is 0, want 1"},
		"unknown default":         {"role: workspace-agent}", "role: workspce-agent}", "line 2:10: default: no model matches role workspce-agent; did you mean workspace-agent?"},
		"default says two things": {"{role: workspace-agent}", "{role: a, name: b}", "default: only one of name, group and role may be given"},
		"provider type":           {"type: scripted", "type: script", `line 6:19: providers.demo.type: "script" is not a provider type`},
		"no provider type":        {"type: scripted, ", "", "providers.demo.type: is missing"},
		"provider name":           {"  local: ", "  Local: ", `providers: the name "Local"`},
		"no URL":                  {"baseURL: http://localhost:8080/v1, ", "", "line 5:12: providers.local.baseURL: is missing"},
		"not a URL":               {"http://localhost:8080/v1", "localhost:8080", "providers.local.baseURL: "},
		"credentials in the URL":  {"http://localhost", "http://me:secret@localhost", "providers.local.baseURL: must not hold credentials"},
		"a URL of one operation":  {"http://localhost:8080/v1", "https://gateway.example.com/v1/chat/completions", `line 5:36: providers.local.baseURL: ends in /chat/completions, which is added to it: write "https://gateway.example.com/v1"`},
		"the older operation":     {"http://localhost:8080/v1", "http://localhost:8080/v1/completions/", `ends in /completions, which is added to it: write "http://localhost:8080/v1"`},
		"another operation":       {"http://localhost:8080/v1", "http://localhost:8080/v1/messages", `ends in /messages`},
		"one that is not served":  {"http://localhost:8080/v1", "http://localhost:8080/v1/responses", `ends in /responses`},
		"a key by http":           {"http://localhost:8080/v1", "http://gateway.example.com/v1", "line 5:36: providers.local.baseURL: would send the apiKey by http to gateway.example.com, where others on the way can read it: use https"},
		"a key to an address":     {"http://localhost:8080/v1", "http://10.0.0.7:8080/v1", "would send the apiKey by http to 10.0.0.7"},
		"a key to two labels":     {"http://litellm.gateway.svc:4000", "http://litellm.gateway:4000", "line 4:36: providers.gateway.baseURL: would send the apiKey by http to litellm.gateway"},
		"insecureHTTP of none":    {"{type: scripted, ", "{type: scripted, insecureHTTP: true, ", "providers.demo.insecureHTTP: is for type openai only"},
		"half a secret":           {"secretName: model-keys, ", "", "providers.gateway.apiKey: needs secretName and key"},
		"two key sources":         {"{env: MY_KEY}", "{env: MY_KEY, secretName: a, key: b}", "providers.local.apiKey: has both"},
		"a key for its name":      {"{env: MY_KEY}", "{env: sk-abc}", "providers.local.apiKey.env: is not the name of an environment variable"},
		"a dollar in a name":      {"{env: MY_KEY}", "{env: $MY_KEY}", "providers.local.apiKey.env: is not the name of an environment variable"},
		"a key in place":          {"{env: MY_KEY}", "sk-abc", "a single value is not a mapping; want one with secretName, key, env"},
		"a host to fill in":       {"http://localhost:8080/v1", "https://<your-resource>.example.com/v1", `baseURL: "<your-resource>.example.com" is not the name of a host`},
		"a port":                  {"http://localhost:8080/v1", "http://localhost:80800/v1", `baseURL: "80800" is not a port; want 1 to 65535`},
		"a ConfigMap":             {"version: 1", "apiVersion: v1\nkind: ConfigMap", "this is a Kubernetes object; give the registry itself"},
		"no script":               {", script: {configMapName: demo-script, key: script.yaml}", "", "providers.demo.script: is missing"},
		"no id":                   {"- id: demo", "- roles: []", "line 22:3: models[1].id: is missing"},
		"bad id":                  {"- id: demo", "- id: 'a b'", `line 22:7: models[1].id: "a b"`},
		"id twice":                {"- id: demo", "- id: qwen2.5-coder-32b", `models[1].id: "qwen2.5-coder-32b" is models[0] already`},
		"unknown provider":        {"  provider: demo", "  provider: demmo", `line 23:13: models[1].provider: "demmo" is not among the providers; did you mean demo?`},
		"level":                   {"toolCalls: Excellent", "toolCalls: Excelent", `line 13:14: models[0].toolCalls: "Excelent" is not allowed; want one of Excellent, Good, Limited, None; did you mean Excellent?`}, //nolint:misspell // on purpose
		"window":                  {"contextWindow: 32768", "contextWindow: 100", "models[0].contextWindow: is 100 tokens"},
		"output":                  {"maxOutputTokens: 4096", "maxOutputTokens: 32768", "models[0].maxOutputTokens: is 32768"},
		"negative output":         {"maxOutputTokens: 4096", "maxOutputTokens: -1", "models[0].maxOutputTokens: is -1"},
		"scope":                   {"scopes: [workspace]", "scopes: [Work]", "line 15:12: models[0].scopes[0]: "},
		"quirk":                   {"toolChoice: required", "toolChoice: often", `models[0].quirks.toolChoice: "often"`},
		"temperature":             {"toolChoice: required", "temperature: .nan", "models[0].quirks.temperature: "},
		"price":                   {`"0.66"`, `"-1"`, `line 18:27: models[0].pricing.inputPerMTok: "-1" is not a price`},
		"price with exponent":     {`"0.66"`, `"1e999999999"`, "models[0].pricing.inputPerMTok: "},
		"no output price":         {", outputPerMTok: 1.00", "", "models[0].pricing.outputPerMTok: is missing"},
		"rate":                    {"requestsPerMinute: 60", "requestsPerMinute: -1", "models[0].limits.requestsPerMinute: "},
		"alias":                   {"roles: [workspace-agent]", "roles: &r [workspace-agent]\n  scopes2: *r", "YAML aliases are not supported"},
		"two documents":           {"version: 1", "version: 1\n---\nversion: 1", "a second document begins here"},
		"no models":               {example[strings.Index(example, "models:"):], "models: []\n", "models: has no entry"},
		"nothing":                 {example, "", "empty"},
		"a comment":               {example, "# nothing\n", "empty"},
		"null":                    {example, "null\n", "line 1:1: null was used"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(example, tc.old) {
				t.Fatalf("%q is not in the example", tc.old)
			}
			_, err := Parse([]byte(strings.Replace(example, tc.old, tc.new, 1)))
			var invalid *InvalidError
			if !errors.As(err, &invalid) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v\nwant %q in it", err, tc.want)
			}
		})
	}
}

func TestAllProblemsAreListed(t *testing.T) {
	_, err := Parse([]byte("version: 3\nproviders: {a: {type: x}}\nmodels: [{id: m, provider: b}]\n"))
	var invalid *InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 3 {
		t.Errorf("got %v, want 3 problems", err)
	}
}

func TestKeyEnv(t *testing.T) {
	for name, want := range map[string]string{"gateway": "SAMPAN_KEY_GATEWAY", "my-gate-2": "SAMPAN_KEY_MY_GATE_2"} {
		if got := KeyEnv(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestCachedInputIsNoDearer: a cost limit holds calls by the price of input.
func TestCachedInputIsNoDearer(t *testing.T) {
	_, err := Parse([]byte("version: 1\nproviders: {p: {type: openai, baseURL: 'https://h/v1'}}\nmodels: [{id: m, provider: p, pricing: {inputPerMTok: '1', cachedInputPerMTok: '2', outputPerMTok: '3'}}]"))
	if err == nil || !strings.Contains(err.Error(), "cachedInputPerMTok") {
		t.Errorf("got %v", err)
	}
}
