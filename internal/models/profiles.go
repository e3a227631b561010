package models

import (
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Profile is what is known of one vendor's servers or one inference engine: the
// quirks with which its models are called unless an entry says otherwise.
type Profile struct {
	Name string
	// Hosts are the names of its servers; one that begins with a dot is the end of
	// one. A profile without hosts is one that a registry must name.
	Hosts  []string
	Quirks Quirks
	// Why says in a few words what the quirks are for.
	Why string
}

// Generic is the profile of servers of which nothing is known.
const Generic = "generic"

// profiles are all there are, in the order of the documentation.
var profiles = []Profile{
	{Name: "openai", Hosts: []string{"api.openai.com"}, Quirks: Quirks{MaxTokensField: "max_completion_tokens"}, Why: "the older name is refused by some models"},
	{Name: "azure", Hosts: []string{".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com"}, Why: "older deployments know the older name only"},
	{Name: "anthropic", Hosts: []string{"api.anthropic.com"}, Quirks: Quirks{OpaqueFields: "drop"},
		Why: "refuses blank texts, and fields that it does not know"},
	{Name: "bedrock", Hosts: []string{".amazonaws.com"}, Quirks: Quirks{NullContent: "omit", OpaqueFields: "drop"},
		Why: "refuses blank texts, and ids over 64 characters"},
	{Name: "gemini", Hosts: []string{"generativelanguage.googleapis.com", "aiplatform.googleapis.com", "-aiplatform.googleapis.com"},
		Quirks: Quirks{ToolSchemas: "plain", ThoughtSignatures: "fill", ToolMessageName: true, NullContent: "omit"},
		Why:    "signs calls and wants the signatures back; knows few keywords of schemas"},
	{Name: "mistral", Hosts: []string{".mistral.ai"}, Quirks: Quirks{UserAfterTool: "fold", ToolCallIDs: "alnum9", NullContent: "empty", ToolMessageName: true, OpaqueFields: "drop"},
		Why: "refuses a user's message after a tool's result, and ids that are not nine letters and digits"},
	{Name: "deepseek", Hosts: []string{"api.deepseek.com"}, Quirks: Quirks{ReplayReasoning: "required", NullContent: "empty"},
		Why: "wants the reasoning back with messages that call tools"},
	{Name: "xai", Hosts: []string{".x.ai"}, Quirks: Quirks{NullContent: "empty"}, Why: "refuses a message without content"},
	{Name: "moonshot", Hosts: []string{".moonshot.ai", ".moonshot.cn", "api.kimi.com"}, Quirks: Quirks{ReplayReasoning: "required"},
		Why: "wants the reasoning back with messages that call tools; refuses empty texts"},
	{Name: "zhipu", Hosts: []string{"open.bigmodel.cn", "api.z.ai"}, Quirks: Quirks{ToolChoice: "auto", NullContent: "empty", NoStreamUsage: true, ReplayReasoning: "reasoning_content"},
		Why: `knows no tool_choice but "auto"; sends usage unasked`},
	{Name: "dashscope", Hosts: []string{".aliyuncs.com"}, Quirks: Quirks{NullContent: "empty"}, Why: "refuses null as content"},
	{Name: "openrouter", Hosts: []string{"openrouter.ai"}, Quirks: Quirks{ReplayReasoning: "reasoning"},
		Why: "takes reasoning_details back and passes them on"},
	{Name: "litellm", Quirks: Quirks{}, Why: "takes thinking_blocks and provider_specific_fields back"},
	{Name: "copilot", Hosts: []string{".githubcopilot.com"}, Quirks: Quirks{ReplayReasoning: "reasoning_text", NullContent: "empty"},
		Why: "wants reasoning_opaque back"},
	{Name: "vllm", Quirks: Quirks{NullContent: "empty"}, Why: "templates fail on null"},
	{Name: "sglang", Quirks: Quirks{NullContent: "empty"}, Why: "as vllm"},
	{Name: "tgi", Hosts: []string{".huggingface.co", ".endpoints.huggingface.cloud"}, Quirks: Quirks{NullContent: "empty", NoStreamUsage: false},
		Why: "refuses null as content"},
	{Name: "llamacpp", Quirks: Quirks{NullContent: "empty"}, Why: "templates fail on null"},
	{Name: "ollama", Hosts: []string{"ollama.com"}, Quirks: Quirks{NullContent: "empty"}, Why: "reads arguments as an object"},
	{Name: "lmstudio", Quirks: Quirks{NullContent: "empty", ToolChoice: "auto"}, Why: "refuses null as content"},
	{Name: "watsonx", Hosts: []string{".ml.cloud.ibm.com"}, Quirks: Quirks{NullContent: "omit", NoStreamUsage: true}, Why: "knows no stream_options, and no null"},
	{Name: "cloudflare", Hosts: []string{"api.cloudflare.com", "gateway.ai.cloudflare.com"}, Quirks: Quirks{NullContent: "empty", ToolSchemas: "plain", NoStreamUsage: true, OpaqueFields: "drop"},
		Why: "holds messages against a schema of its own"},
	{Name: Generic, Why: "the protocol; the rest is learned from what is refused"},
}

// family is what the models of one make need wherever they are served, since it
// comes from their chat template.
type family struct {
	names  *regexp.Regexp
	quirks Quirks
}

var families = []family{
	{regexp.MustCompile(`(?i)(?:^|[/:_-])(?:mistral|ministral|mixtral|codestral|devstral|magistral|pixtral|voxtral)`),
		Quirks{UserAfterTool: "fold", ToolCallIDs: "alnum9"}},
	{regexp.MustCompile(`(?i)(?:^|[/:_-])gemini-[3-9]`), Quirks{ThoughtSignatures: "fill"}},
}

// Profiles gives all profiles, in the order of the documentation.
func Profiles() []Profile { return slices.Clone(profiles) }

// ProfileNamed gives a profile by its name.
func ProfileNamed(name string) (Profile, bool) {
	i := slices.IndexFunc(profiles, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		return Profile{}, false
	}
	return profiles[i], true
}

func profileNames() []string {
	names := make([]string, len(profiles))
	for i := range profiles {
		names[i] = profiles[i].Name
	}
	return names
}

// ProfileOf gives the profile of a provider: the one that it names, or the one
// whose host its address has, or Generic.
func ProfileOf(p Provider) Profile {
	name := p.Profile
	if name == "" {
		name = Generic
		if u, err := url.Parse(p.BaseURL); err == nil {
			host := strings.ToLower(u.Hostname())
			i := slices.IndexFunc(profiles, func(p Profile) bool {
				return slices.ContainsFunc(p.Hosts, func(h string) bool { return isHost(host, h) })
			})
			if i >= 0 {
				return profiles[i]
			}
		}
	}
	profile, _ := ProfileNamed(name) // a registry is validated
	return profile
}

// isHost says that a host is the one named, or ends as named by ".x" or "-x".
func isHost(host, named string) bool {
	if named[0] == '.' {
		return strings.HasSuffix(host, named) || host == named[1:]
	}
	return host == named || named[0] == '-' && strings.HasSuffix(host, named)
}

// Quirks gives all quirks with which the candidate is called: those of its entry,
// then those of its make, then those of its provider's profile.
func (c Candidate) Quirks() Quirks {
	q := c.Model.Quirks
	for _, f := range families {
		if f.names.MatchString(c.Model.Upstream) {
			q = q.over(f.quirks)
		}
	}
	return q.over(ProfileOf(c.Provider).Quirks)
}

// over fills in from base what q leaves open.
func (q Quirks) over(base Quirks) Quirks {
	extra := q.ExtraBody
	if len(base.ExtraBody) > 0 {
		extra = maps.Clone(base.ExtraBody)
		maps.Copy(extra, q.ExtraBody)
	}
	from, to := reflect.ValueOf(base), reflect.ValueOf(&q).Elem()
	for i := range to.NumField() {
		if to.Field(i).IsZero() {
			to.Field(i).Set(from.Field(i))
		}
	}
	q.ExtraBody = extra
	return q
}
