package cluster

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// defaults are the constants by the field that has them.
var defaults = map[string]any{
	"agenttasks spec.limits.turns":                         v1alpha1.DefaultTurns,
	"agenttasks spec.limits.activeSeconds":                 v1alpha1.DefaultActiveSeconds,
	"agenttasks spec.limits.toolSeconds":                   v1alpha1.DefaultToolSeconds,
	"agenttasks spec.verify.timeoutSeconds":                v1alpha1.DefaultVerifySeconds,
	"agenttasks spec.retry.maxAttempts":                    v1alpha1.DefaultMaxAttempts,
	"sandboxes spec.template.workspace.sizeLimit":          v1alpha1.DefaultWorkspaceSize,
	"agenttasks spec.sandbox.template.workspace.sizeLimit": v1alpha1.DefaultWorkspaceSize,
}

// What the API's documentation says is what holds.
func TestDefaultsAreDocumented(t *testing.T) {
	said := regexp.MustCompile(`Default ([0-9]\w*)`)
	left := maps.Clone(defaults)
	for _, plural := range []string{"agenttasks", "sandboxes"} {
		data, err := os.ReadFile(filepath.Join(Root(), "config", "crd", "bases", "sampan.dev_"+plural+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Versions []struct {
					Schema struct {
						Root described `json:"openAPIV3Schema"`
					} `json:"schema"`
				} `json:"versions"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal(data, &crd); err != nil {
			t.Fatal(err)
		}
		for _, v := range crd.Spec.Versions {
			v.Schema.Root.walk(nil, func(path, description string) {
				key := plural + " " + path
				got := said.FindStringSubmatch(description)
				want, has := defaults[key]
				switch {
				case got == nil && has:
					t.Errorf("%s: the description does not say Default %v", key, want)
				case got != nil && !has:
					t.Errorf("%s: says %q, and no constant of defaults.go is named for it here", key, got[0])
				case got != nil && got[1] != fmt.Sprint(want):
					t.Errorf("%s: says %s, the constant is %v", key, got[1], want)
				}
				delete(left, key)
			})
		}
	}
	for key := range left {
		t.Errorf("%s: there is no such field", key)
	}
}

type described struct {
	Description string               `json:"description"`
	Properties  map[string]described `json:"properties"`
	Items       *described           `json:"items"`
}

func (s *described) walk(path []string, visit func(path, description string)) {
	if len(path) > 0 {
		visit(strings.Join(path, "."), s.Description)
	}
	if s.Items != nil {
		s.Items.walkFields(path, visit)
	}
	s.walkFields(path, visit)
}

func (s *described) walkFields(path []string, visit func(path, description string)) {
	for name, f := range s.Properties {
		f.walk(append(path[:len(path):len(path)], name), visit)
	}
}

// The pages say the same of the fields that they name.
func TestDefaultsInPages(t *testing.T) {
	want := map[string]string{
		"turns": fmt.Sprint(v1alpha1.DefaultTurns), "retry.maxAttempts": fmt.Sprint(v1alpha1.DefaultMaxAttempts), "maxAttempts": fmt.Sprint(v1alpha1.DefaultMaxAttempts),
		"sizeLimit": v1alpha1.DefaultWorkspaceSize, "toolSeconds": fmt.Sprint(v1alpha1.DefaultToolSeconds), "activeSeconds": fmt.Sprint(v1alpha1.DefaultActiveSeconds),
	}
	for _, page := range []string{"agenttask", "sandbox"} {
		data, err := os.ReadFile(filepath.Join(Root(), "docs", page+".md"))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("([a-zA-Z.]+)[`*]* \\(default ([0-9]\\w*)\\)").FindAllStringSubmatch(string(data), -1) {
			if value, known := want[m[1]]; !known || value != m[2] {
				t.Errorf("docs/%s.md: %s; want %s", page, m[0], value)
			}
		}
	}
}
