package models

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// publishedSchema is the schema that editors use.
func publishedSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := os.ReadFile("../../docs/schemas/models.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// deref follows a reference into $defs.
func deref(root, s *jsonschema.Schema) *jsonschema.Schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		return root.Defs[name]
	}
	return s
}

// TestSchemaHasTheFields: the schema has each field of the document, of its type, and
// no other.
func TestSchemaHasTheFields(t *testing.T) {
	root := publishedSchema(t)
	sameFields(t, root, root, reflect.TypeFor[document](), "")
}

func sameFields(t *testing.T, root, s *jsonschema.Schema, typ reflect.Type, path string) {
	t.Helper()
	s = deref(root, s)
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch typ.Kind() {
	case reflect.Struct:
		if s.Type != "object" || s.AdditionalProperties == nil {
			t.Errorf("%s: want an object that takes no other fields", path)
		}
		var names []string
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ",")
			names = append(names, name)
			if p := s.Properties[name]; p != nil {
				sameFields(t, root, p, typ.Field(i).Type, path+"."+name)
			} else {
				t.Errorf("%s.%s is not in the schema", path, name)
			}
		}
		for name := range s.Properties {
			if !slices.Contains(names, name) {
				t.Errorf("%s.%s is in the schema only", path, name)
			}
		}
	case reflect.Map:
		if typ.Elem().Kind() == reflect.Struct {
			sameFields(t, root, s.AdditionalProperties, typ.Elem(), path+".x")
		}
	case reflect.Slice:
		if s.Type != "array" {
			t.Errorf("%s: type %q, want array", path, s.Type)
		}
		sameFields(t, root, s.Items, typ.Elem(), path+"[0]")
	default:
		want := map[reflect.Kind]string{reflect.String: "string", reflect.Int: "integer", reflect.Bool: "boolean", reflect.Float64: "number"}[typ.Kind()]
		if s.Enum == nil && s.Const == nil && s.Type != want {
			t.Errorf("%s: type %q, want %q", path, s.Type, want)
		}
	}
}

// TestSchemaHasTheValues: where the schema lists the values of a field, they are those
// that Parse lists when it refuses one.
func TestSchemaHasTheValues(t *testing.T) {
	root := publishedSchema(t)
	model, provider := root.Defs["model"].Properties, root.Defs["provider"].Properties
	fields := map[string]*jsonschema.Schema{
		"models[0].toolCalls": model["toolCalls"], "providers.p.type": provider["type"], "providers.p.profile": provider["profile"],
		"routing.unfit": root.Properties["routing"].Properties["unfit"],
	}
	for name, s := range root.Defs["quirks"].Properties {
		if s.Enum != nil {
			fields["models[0].quirks."+name] = s
		}
	}
	for path, s := range fields {
		at := map[string]string{path: "zz"}
		doc := fmt.Sprintf("version: 1\nproviders: {p: {type: %s, baseURL: 'https://h/v1', profile: %s}}\nmodels: [{id: m, provider: p, toolCalls: %s, quirks: {%s}}]\nrouting: {unfit: %s}\n",
			or(at["providers.p.type"], "openai"), or(at["providers.p.profile"], "vllm"), or(at["models[0].toolCalls"], "Good"), quirkOf(path), or(at["routing.unfit"], "Allow"))
		_, err := Parse([]byte(doc))
		if err == nil {
			t.Errorf("%s: Parse takes any value", path)
			continue
		}
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = v.(string)
		}
		list := "one of " + strings.Join(values, ", ")
		if path == "providers.p.type" {
			list = "want " + strings.Join(values, " or ")
		}
		if !strings.Contains(err.Error(), list) {
			t.Errorf("%s: the schema has %q, Parse says: %v", path, list, err)
		}
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func quirkOf(path string) string {
	if name, ok := strings.CutPrefix(path, "models[0].quirks."); ok {
		return name + ": zz"
	}
	return ""
}

// TestSchemaTakesExamples: what Parse takes, the schema takes.
func TestSchemaTakesExamples(t *testing.T) {
	schema, err := publishedSchema(t).Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../examples/*/models.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	docs := map[string][]byte{"profiles": allProfiles()}
	for _, file := range files {
		if docs[file], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	for name, doc := range docs {
		if _, err := Parse(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := validateYAML(schema, doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaRefuses: what is wrong in itself is seen by an editor.
func TestSchemaRefuses(t *testing.T) {
	schema, err := publishedSchema(t).Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := validateYAML(schema, []byte("version: 1\nmodels: [{id: a, provider: p}]")); err != nil {
		t.Fatal(err)
	}
	for name, doc := range map[string]string{
		"another version":    "version: 2\nmodels: [{id: a, provider: p}]",
		"an unknown field":   "version: 1\nmodels: [{id: a, provider: p}]\nmodel: []",
		"a price as number":  "version: 1\nmodels: [{id: m, provider: p, pricing: {inputPerMTok: 1.5, outputPerMTok: \"2\"}}]",
		"half a price":       "version: 1\nmodels: [{id: m, provider: p, pricing: {inputPerMTok: \"1.5\"}}]",
		"a misspelled quirk": "version: 1\nmodels: [{id: m, provider: p, quirks: {toolchoice: auto}}]",
		"a level":            "version: 1\nmodels: [{id: m, provider: p, toolCalls: good}]",
		"two defaults":       "version: 1\ndefault: {name: a, role: b}\nmodels: [{id: a, provider: p}]",
		"a provider's name":  "version: 1\nproviders: {Up: {type: openai, baseURL: 'https://h/v1'}}\nmodels: [{id: a, provider: p}]",
		"no address":         "version: 1\nproviders: {p: {type: openai}}\nmodels: [{id: a, provider: p}]",
		"no script":          "version: 1\nproviders: {p: {type: scripted}}\nmodels: [{id: a, provider: p}]",
	} {
		if validateYAML(schema, []byte(doc)) == nil {
			t.Errorf("%s: the schema takes %s", name, doc)
		}
	}
}

// allProfiles is a registry with a provider of each profile.
func allProfiles() []byte {
	doc := "version: 1\nproviders:\n"
	for _, name := range profileNames() {
		doc += fmt.Sprintf("  %s: {type: openai, baseURL: 'https://h/v1', profile: %s}\n", name, name)
	}
	return []byte(doc + "models: [{id: m, provider: generic}]\n")
}

func validateYAML(schema *jsonschema.Resolved, doc []byte) error {
	var v map[string]any
	if err := yaml.Unmarshal(doc, &v); err != nil {
		return err
	}
	return schema.Validate(v)
}
