package models

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rich has entries with everything that an entry may have, and texts that YAML
// takes for something else when they are not quoted.
const rich = `version: 1
default: {role: coder}
providers:
  p: {type: openai, baseURL: "http://h/v1?".., apiKey: {secretName: "123", key: "null"}, insecureHTTP: true}
`

func TestASnapshotHoldsTheCandidatesAlone(t *testing.T) {
	docs := map[string]string{"example": example, "fleet": fleet, "odd": strings.NewReplacer(`"http://h/v1?"..`, "http://h.example/v1").Replace(rich) + `  q: {type: openai, baseURL: "http://other.example/v1"}
  s: {type: scripted, script: {configMapName: "true", key: "1e3"}}
models:
- {id: "1e3", provider: p, upstream: "yes", roles: [coder], priority: -3, quirks: {temperature: 0, parallelToolCalls: false, noStream: true, extraBody: {a: [1, "2", null], "on": {b: "no", "": 0.5}}}}
- {id: "0x10", provider: s, roles: [coder], scopes: ["1"], limits: {requestsPerMinute: 3}}
- {id: other, provider: q}
`}
	for name, tc := range map[string]struct {
		doc  string
		sel  Selector
		need Need
		def  Selector
	}{
		"by default":      {"fleet", Selector{}, Need{}, Selector{Group: "small"}},
		"a model":         {"fleet", Selector{Name: "b"}, Need{}, Selector{Name: "b"}},
		"a role":          {"fleet", Selector{Role: "coder"}, Need{Scopes: []string{"gold"}}, Selector{Role: "coder"}},
		"priced":          {"example", Selector{}, Need{Scopes: []string{"workspace"}}, Selector{Role: "workspace-agent"}},
		"a script":        {"example", Selector{Name: "demo"}, Need{}, Selector{Name: "demo"}},
		"texts of a kind": {"odd", Selector{}, Need{Scopes: []string{"1"}}, Selector{Role: "coder"}},
	} {
		t.Run(name, func(t *testing.T) {
			reg := mustParse(t, docs[tc.doc])
			candidates, err := reg.Route(tc.sel, tc.need)
			if err != nil {
				t.Fatal(err)
			}
			text, err := reg.Snapshot(tc.sel, candidates)
			if err != nil {
				t.Fatal(err)
			}
			part, err := Parse([]byte(text))
			if err != nil {
				t.Fatalf("%v, in\n%s", err, text)
			}
			again, err := part.Route(tc.sel, tc.need)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(candidates, again, byValue); diff != "" {
				t.Errorf("it routes otherwise, -want +got:\n%s\n%s", diff, text)
			}
			if len(part.Models) != len(candidates) || part.Default != tc.def {
				t.Errorf("it has %d models and the default %s:\n%s", len(part.Models), part.Default, text)
			}
			if len(text) > len(docs[tc.doc])+100 { // block style takes some spaces more
				t.Errorf("it is longer than the document:\n%s", text)
			}
			used := map[string]bool{}
			for _, c := range candidates {
				used[c.Provider.Name] = true
			}
			for p, provider := range reg.Providers {
				if !used[p] && (part.Providers[p].Name != "" || provider.BaseURL != "" && strings.Contains(text, provider.BaseURL)) {
					t.Errorf("it tells of provider %s:\n%s", p, text)
				}
			}
		})
	}
}

// TestASnapshotForWhoeverComes keeps the registry's default only where it leads to
// something.
func TestASnapshotForWhoeverComes(t *testing.T) {
	reg := mustParse(t, "version: 1\ndefault: {name: gold}\nproviders: {p: {type: openai, baseURL: 'http://h/v1'}}\n"+
		"models:\n- {id: gold, provider: p, scopes: [gold]}\n- {id: a, provider: p}\n- {id: b, provider: p}\n")
	a, _ := reg.Model("a")
	b, _ := reg.Model("b")
	text, err := reg.Snapshot(Selector{}, []Candidate{{a, reg.Providers["p"]}, {b, reg.Providers["p"]}})
	if err != nil {
		t.Fatal(err)
	}
	part := mustParse(t, text)
	if !part.Default.IsZero() || len(part.Models) != 2 {
		t.Errorf("got\n%s", text)
	}
}

// TestNothingIsLeftOutOfASnapshot: a field that an entry has and a snapshot does not
// would be lost on the way to the pod.
func TestNothingIsLeftOutOfASnapshot(t *testing.T) {
	p := Provider{}
	n := 0
	fill(reflect.ValueOf(&p).Elem(), &n)
	m := Model{}
	fill(reflect.ValueOf(&m).Elem(), &n)
	for _, doc := range []any{p.document(), m.document(p)} {
		v := reflect.ValueOf(doc)
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%s.%s is not written", v.Type().Name(), v.Type().Field(i).Name)
			}
		}
	}
}

// fill sets every field to something, texts and numbers to one of their own.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("x", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), n)
			}
		}
	default:
	}
}
