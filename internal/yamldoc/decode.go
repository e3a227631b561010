package yamldoc

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sampan-dev/sampan/internal/text"
)

// Decode fills out, a pointer to a struct with yaml tags, from a parsed document.
// Fields that are unknown or given twice are problems. Suggest ends the message of
// an unknown field with what may have been meant; it may be nil.
func Decode(root *yaml.Node, out any, suggest func(got string, names []string) string) []Problem {
	d := decoder{suggest: suggest}
	target := reflect.ValueOf(out).Elem()
	if isNull(root) {
		d.fail(root, "null was used where a mapping is wanted")
	} else {
		d.decode(root, target)
	}
	return d.problems.List()
}

type decoder struct {
	problems Problems
	suggest  func(got string, names []string) string
}

func (d *decoder) fail(n *yaml.Node, format string, args ...any) {
	d.problems.Add(Problem{Line: n.Line, Column: n.Column, Message: fmt.Sprintf(format, args...)})
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// decode fills a value. Null leaves it as it is, as a field that is left out does.
func (d *decoder) decode(n *yaml.Node, out reflect.Value) {
	if isNull(n) {
		return
	}
	switch kind := out.Kind(); {
	case kind == reflect.Pointer:
		out.Set(reflect.New(out.Type().Elem()))
		d.decode(n, out.Elem())
	case kind == reflect.Struct && n.Kind != yaml.MappingNode:
		d.fail(n, "a %s is not a mapping; want one with %s", kindName(n), strings.Join(ownFields(out.Type()), ", "))
	case kind == reflect.Struct:
		d.mapping(n, func(key, value *yaml.Node) { d.field(key, value, out) })
	case kind == reflect.Map:
		out.Set(reflect.MakeMap(out.Type()))
		d.mapping(n, func(key, value *yaml.Node) {
			v := reflect.New(out.Type().Elem()).Elem()
			d.decode(value, v)
			out.SetMapIndex(reflect.ValueOf(key.Value), v)
		})
	case kind == reflect.Slice:
		d.sequence(n, out)
	case kind == reflect.Interface:
		if v := d.plain(n); v != nil {
			out.Set(reflect.ValueOf(v))
		}
	case n.Kind != yaml.ScalarNode:
		d.fail(n, "a %s is not %s", kindName(n), typeName(out))
	default:
		if err := n.Decode(out.Addr().Interface()); err != nil {
			d.fail(n, "%q is not %s", clipped(n.Value), typeName(out))
		}
	}
}

// mapping calls do for each entry.
func (d *decoder) mapping(n *yaml.Node, do func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, "a %s is not a mapping", kindName(n))
		return
	}
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode:
			d.fail(key, "a %s cannot be a key", kindName(key))
		case seen[key.Value]:
			d.fail(key, "the key %q is there twice", clipped(key.Value))
		default:
			seen[key.Value] = true
			do(key, n.Content[i+1])
		}
	}
}

func (d *decoder) sequence(n *yaml.Node, out reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, "a %s is not a list", kindName(n))
		return
	}
	out.Set(reflect.MakeSlice(out.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.decode(item, out.Index(i))
	}
}

// field decodes one field of a struct.
func (d *decoder) field(key, value *yaml.Node, out reflect.Value) {
	if f, ok := fieldOf(out, key.Value); ok {
		d.decode(value, f)
		return
	}
	end := ""
	if d.suggest != nil && !d.problems.Full() {
		end = d.suggest(key.Value, fieldNames(out.Type()))
	}
	d.fail(key, "unknown field %q%s", clipped(key.Value), end)
}

// fieldOf finds the field of a name, also within inlined structs.
func fieldOf(out reflect.Value, name string) (reflect.Value, bool) {
	for i := range out.NumField() {
		tag, options, _ := strings.Cut(out.Type().Field(i).Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			if f, ok := fieldOf(out.Field(i), name); ok {
				return f, true
			}
		case tag != "" && tag == name:
			return out.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// ownFields are those that a mapping of a type has itself.
func ownFields(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			names = append(names, ownFields(f.Type)...)
		case name != "" && name != "-":
			names = append(names, name)
		}
	}
	return names
}

// fieldNames are those of a type and of all that is within it.
func fieldNames(t reflect.Type) []string {
	names := map[string]bool{}
	seen := map[reflect.Type]bool{}
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(t.Elem())
		case reflect.Struct:
			if seen[t] {
				return
			}
			seen[t] = true
			for f := range t.Fields() {
				name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
				if name != "" {
					names[name] = true
				}
				if name != "" || options == "inline" {
					walk(f.Type)
				}
			}
		default:
		}
	}
	walk(t)
	return slices.Sorted(maps.Keys(names))
}

// plain gives a value as encoding/json would: maps, lists, strings, numbers, booleans.
func (d *decoder) plain(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		out := make(map[string]any, len(n.Content)/2)
		d.mapping(n, func(key, value *yaml.Node) { out[key.Value] = d.plain(value) })
		return out
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, item := range n.Content {
			out[i] = d.plain(item)
		}
		return out
	default: // a scalar
	}
	var v any
	if err := n.Decode(&v); err != nil {
		d.fail(n, "%q cannot be read", clipped(n.Value))
		return nil
	}
	switch v := v.(type) {
	case time.Time:
		return n.Value // JSON has no times; what looks like one is text
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			d.fail(n, "%q is not a number in JSON", clipped(n.Value))
			return nil
		}
	}
	return v
}

// clipped keeps a message about a long value short.
func clipped(s string) string { return text.Clip(s, 64) }

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "mapping"
	case yaml.SequenceNode:
		return "list"
	default:
		return "single value"
	}
}

func typeName(v reflect.Value) string {
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		return `a duration such as "1s"`
	case v.CanInt():
		return "a whole number"
	case v.CanFloat():
		return "a number"
	case v.Kind() == reflect.Bool:
		return "true or false"
	}
	return "a text"
}
