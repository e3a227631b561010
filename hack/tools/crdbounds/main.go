// Command crdbounds bounds what a CRD takes over from Kubernetes' own types, for
// which no marker can be written: selectors, affinities, tolerations, quantities.
// Each list, map and string of the schema that has no bound gets one; the keys of
// a map get theirs by a CEL rule, as OpenAPI has none for them. It edits the files
// in place, after controller-gen, and what has a bound keeps it.
//
// An empty object in a spec means that nothing is set, as charts write it. Of a Go
// type MinProperties=1 says that we write none, and the linter of the API wants it;
// it is not kept for the users of the API.
//
//	crdbounds config/crd/bases/*.yaml
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	// maxItems is enough for the machine types of a node affinity.
	maxItems = 16
	// maxProperties is what our own maps have.
	maxProperties = 32
	// maxKey is a label's key: a prefix of 253, a slash, a name of 63.
	maxKey = 317
	// maxLabelValue is a label's value.
	maxLabelValue = 63
	// maxAnnotation is the value of an annotation, which is for machines to read.
	maxAnnotation = 1024
	// maxQuantity is longer than any quantity that can be told from another.
	maxQuantity = 32
)

func main() {
	for _, path := range os.Args[1:] {
		if err := bound(path); err != nil {
			fmt.Fprintf(os.Stderr, "crdbounds: %s: %v\n", path, err)
			os.Exit(1)
		}
	}
}

func bound(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var crd map[string]any
	if err := yaml.Unmarshal(data, &crd); err != nil {
		return err
	}
	spec, _ := crd["spec"].(map[string]any)
	versions, _ := spec["versions"].([]any)
	if len(versions) == 0 {
		return fmt.Errorf("there is no version in it")
	}
	for _, v := range versions {
		schema, _ := v.(map[string]any)["schema"].(map[string]any)
		root, _ := schema["openAPIV3Schema"].(map[string]any)
		properties, _ := root["properties"].(map[string]any)
		for _, name := range []string{"spec", "status"} {
			if err := walk(properties[name], name); err != nil {
				return err
			}
		}
	}
	out, err := yaml.Marshal(crd)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append([]byte("---\n"), bytes.TrimPrefix(out, []byte("---\n"))...), 0o644)
}

// walk bounds a schema and all that is within it.
func walk(schema any, path string) error {
	s, ok := schema.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: no schema", path)
	}
	switch kind, _ := s["type"].(string); {
	case kind == "array":
		unless(s, "maxItems", maxItems)
		return walk(s["items"], path+"[]")
	case kind == "string" && s["enum"] == nil && s["format"] != "date-time":
		unless(s, "maxLength", lengthOf(path))
	case s["x-kubernetes-int-or-string"] == true:
		unless(s, "maxLength", maxQuantity)
	case s["additionalProperties"] != nil:
		unless(s, "maxProperties", maxProperties)
		boundKeys(s)
		return walk(s["additionalProperties"], path+"{}")
	}
	if strings.HasPrefix(path, "spec") && s["minProperties"] == float64(1) {
		delete(s, "minProperties")
	}
	properties, _ := s["properties"].(map[string]any)
	for name, property := range properties {
		if err := walk(property, path+"."+name); err != nil {
			return err
		}
	}
	return nil
}

func unless(s map[string]any, key string, bound int) {
	if s[key] == nil {
		s[key] = bound
	}
}

// lengthOf is the bound of a string at a path.
func lengthOf(path string) int {
	switch {
	case strings.HasSuffix(path, ".annotations{}"):
		return maxAnnotation
	case strings.HasSuffix(path, "{}"), strings.HasSuffix(path, ".values[]"):
		return maxLabelValue
	}
	return maxKey
}

// boundKeys adds the rule for a map's keys, once.
func boundKeys(s map[string]any) {
	rule := fmt.Sprintf("self.all(key, size(key) <= %d)", maxKey)
	rules, _ := s["x-kubernetes-validations"].([]any)
	for _, r := range rules {
		if r.(map[string]any)["rule"] == rule {
			return
		}
	}
	s["x-kubernetes-validations"] = append(rules, map[string]any{
		"rule": rule, "message": fmt.Sprintf("a key has at most %d characters", maxKey),
	})
}
