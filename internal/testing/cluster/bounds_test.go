package cluster

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// unbounded are the strings without a bound of ours, with the reason.
var unbounded = map[string]string{
	"apiVersion": "the API server takes one value only",
	"kind":       "the API server takes one value only",
}

// TestEverythingIsBounded: what a tenant writes is kept by the API server and by
// the manager, for everybody, so each list, map, key and string has a bound.
func TestEverythingIsBounded(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(Root(), "config", "crd", "bases", "*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Versions []struct {
					Schema struct {
						Root schema `json:"openAPIV3Schema"`
					} `json:"schema"`
				} `json:"versions"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal(data, &crd); err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, v := range crd.Spec.Versions {
			seen += v.Schema.Root.check(t, filepath.Base(file), "")
		}
		if seen < 25 {
			t.Errorf("%s: saw %d fields; the walk does not find them", file, seen)
		}
	}
}

// schema is what the walk needs of an OpenAPI schema.
type schema struct {
	Type             string            `json:"type"`
	Format           string            `json:"format"`
	Enum             []any             `json:"enum"`
	MaxItems         *int              `json:"maxItems"`
	MaxLength        *int              `json:"maxLength"`
	MaxProperties    *int              `json:"maxProperties"`
	Items            *schema           `json:"items"`
	Additional       *schema           `json:"additionalProperties"`
	Properties       map[string]schema `json:"properties"`
	IntOrString      bool              `json:"x-kubernetes-int-or-string"`
	PreserveUnknown  bool              `json:"x-kubernetes-preserve-unknown-fields"`
	EmbeddedResource bool              `json:"x-kubernetes-embedded-resource"`
	Rules            []struct {
		Rule string `json:"rule"`
	} `json:"x-kubernetes-validations"`
}

// check complains of what has no bound and gives the number of fields it saw.
func (s *schema) check(t *testing.T, file, path string) (seen int) {
	t.Helper()
	complain := func(what string) {
		if unbounded[path] == "" {
			t.Errorf("%s: %s: %s", file, path, what)
		}
	}
	if s.PreserveUnknown || s.EmbeddedResource {
		complain("takes anything")
	}
	switch {
	case s.Type == "array":
		if s.MaxItems == nil {
			complain("list without maxItems")
		}
		seen += s.Items.check(t, file, path+"[]")
	case s.Additional != nil:
		if s.MaxProperties == nil {
			complain("map without maxProperties")
		}
		if !slices.ContainsFunc(s.Rules, func(r struct {
			Rule string `json:"rule"`
		}) bool {
			return strings.HasPrefix(r.Rule, "self.all(key, size(key) <= ")
		}) {
			complain("map without a bound on its keys")
		}
		seen += s.Additional.check(t, file, path+"{}")
	case s.IntOrString, s.Type == "string" && s.Enum == nil && s.Format != "date-time":
		if s.MaxLength == nil {
			complain("string without maxLength")
		}
	}
	for name, property := range s.Properties {
		if path == "" && name == "metadata" {
			continue // Kubernetes' own; the manager does not keep it
		}
		seen += property.check(t, file, strings.TrimPrefix(path+"."+name, "."))
	}
	return seen + 1
}
