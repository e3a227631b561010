package runner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	yaml3 "go.yaml.in/yaml/v3"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/models"
)

// What the decoder says; it knows fields and no lines.
var (
	unknownField = regexp.MustCompile(`unknown field "([^"]+)"`)
	syntaxLine   = regexp.MustCompile(`^yaml: (?:unmarshal errors:\s*)?line (\d+): `)
)

// manifestError says in which line of the file it is that something is wrong.
func manifestError(path string, data []byte, root *yaml3.Node, err error) error {
	words := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	if m := syntaxLine.FindStringSubmatch(words); m != nil {
		return fmt.Errorf("%s:%s: %s", path, m[1], strings.TrimPrefix(words, m[0]))
	}
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) {
		field := mistyped.Field
		if field == "" {
			field = "the document"
		}
		return fmt.Errorf("%s: %s: is %s, want %s", place(path, root, mistyped.Field), field, wordFor(mistyped.Value), typeWord(mistyped.Type))
	}
	if m := unknownField.FindStringSubmatch(words); m != nil {
		return fmt.Errorf("%s: there is no field %q here%s", keyPlace(path, data, m[1]), m[1], models.DidYouMean(m[1], taskFields()))
	}
	return fmt.Errorf("%s: %s", path, words)
}

// wordFor names what encoding/json found, in the words of YAML.
func wordFor(value string) string {
	kind, _, _ := strings.Cut(value, " ")
	switch kind {
	case "array":
		return "a list"
	case "object":
		return "a mapping"
	case "bool":
		return "true or false"
	}
	return "a " + value
}

// typeWord names what a field takes.
func typeWord(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return typeWord(t.Elem())
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a mapping"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	default:
		return "a " + t.Kind().String()
	}
}

// taskFields are the names of the fields of an AgentTask, without those of
// Kubernetes' own types in it.
func taskFields() []string {
	own := reflect.TypeFor[v1alpha1.AgentTask]().PkgPath()
	names := map[string]bool{}
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || t.PkgPath() != own || seen[t] {
			return
		}
		seen[t] = true
		for f := range t.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
				names[name] = true
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[v1alpha1.AgentTask]())
	return slices.Sorted(maps.Keys(names))
}

// keyPlace gives FILE:LINE of the first such key; all that is known of an
// unknown field is its name.
func keyPlace(path string, data []byte, key string) string {
	loc := regexp.MustCompile(`(?m)(?:^|[\s{,])["']?` + regexp.QuoteMeta(key) + `["']?\s*:`).FindIndex(data)
	if loc == nil {
		return path
	}
	return fmt.Sprintf("%s:%d", path, 1+bytes.Count(data[:loc[1]], []byte("\n")))
}
