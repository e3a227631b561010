package models

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProfileOfAProvider(t *testing.T) {
	for name, tc := range map[string]struct {
		baseURL, profile, want string
	}{
		"OpenAI":             {"https://api.openai.com/v1", "", "openai"},
		"Azure":              {"https://mine.openai.azure.com/openai/v1", "", "azure"},
		"Bedrock":            {"https://bedrock-runtime.us-west-2.amazonaws.com/openai/v1", "", "bedrock"},
		"Gemini":             {"https://generativelanguage.googleapis.com/v1beta/openai", "", "gemini"},
		"Vertex":             {"https://europe-west1-aiplatform.googleapis.com/v1/projects/p/endpoints/openapi", "", "gemini"},
		"Mistral, a port":    {"https://API.MISTRAL.AI:443/v1", "", "mistral"},
		"Moonshot in China":  {"https://api.moonshot.cn/v1", "", "moonshot"},
		"xAI":                {"https://api.x.ai/v1", "", "xai"},
		"DashScope":          {"https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "", "dashscope"},
		"named":              {"http://gateway:4000/v1", "litellm", "litellm"},
		"named otherwise":    {"https://api.mistral.ai/v1", "vllm", "vllm"},
		"nobody's":           {"http://10.0.0.1:8080/v1", "", Generic},
		"another of the end": {"https://notx.ai/v1", "", Generic},
		"a name as a label":  {"https://api.openai.com.example.org/v1", "", Generic},
	} {
		if got := ProfileOf(Provider{BaseURL: tc.baseURL, Profile: tc.profile}).Name; got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestQuirksOfACandidate(t *testing.T) {
	for name, tc := range map[string]struct {
		c    Candidate
		want Quirks
	}{
		"nothing known": {Candidate{}, Quirks{}},
		"the profile's": {Candidate{Provider: Provider{Profile: "deepseek"}}, Quirks{ReplayReasoning: "required", NullContent: "empty"}},
		"the entry's go first": {Candidate{Provider: Provider{Profile: "deepseek"}, Model: Model{Quirks: Quirks{ReplayReasoning: "never", ToolChoice: "omit"}}},
			Quirks{ReplayReasoning: "never", ToolChoice: "omit", NullContent: "empty"}},
		"the make's, anywhere": {Candidate{Provider: Provider{Profile: "vllm"}, Model: Model{Upstream: "mistralai/Devstral-Small-2507"}},
			Quirks{UserAfterTool: "fold", ToolCallIDs: "alnum9", NullContent: "empty"}},
		"a make's name in another": {Candidate{Model: Model{Upstream: "hermes-3-not-amistral"}}, Quirks{}},
	} {
		if d := cmp.Diff(tc.want, tc.c.Quirks()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	base := Quirks{ExtraBody: map[string]any{"a": 1, "b": 1}}
	if d := cmp.Diff(map[string]any{"a": 1, "b": 2}, (Quirks{ExtraBody: map[string]any{"b": 2}}).over(base).ExtraBody); d != "" || base.ExtraBody["b"] != 1 {
		t.Errorf("extra body: %s", d)
	}
}

// TestProfilesAreDocumented ties the page's table to the profiles.
func TestProfilesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range Profiles() {
		row := "| `" + p.Name + "` |"
		if !strings.Contains(string(page), row) {
			t.Errorf("the page has no row %q", row)
			continue
		}
		_, rest, _ := strings.Cut(string(page), row)
		line, _, _ := strings.Cut(rest, "\n")
		q := reflect.ValueOf(p.Quirks)
		for i := range q.NumField() {
			name, _, _ := strings.Cut(q.Type().Field(i).Tag.Get("yaml"), ",")
			field := fmt.Sprintf("`%s: %v`", name, q.Field(i))
			if !q.Field(i).IsZero() && !strings.Contains(line, field) {
				t.Errorf("the row of %s does not have %s", p.Name, field)
			}
		}
		for _, host := range p.Hosts {
			if !strings.Contains(line, "`"+strings.TrimPrefix(host, "-")+"`") && !strings.Contains(line, "`*"+host+"`") {
				t.Errorf("the row of %s does not name %s", p.Name, host)
			}
		}
	}
}
