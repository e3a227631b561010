package yamldoc

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func TestParseRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ doc, want string }{
		"syntax":                 {"a: b\nc: [\n", "line "},
		"an alias":               {"a: &b 1\nc: *b", "line 2:4: YAML aliases are not supported"},
		"an alias of itself":     {"a: &b [*b]", "not supported"},
		"a tag":                  {"a: !!binary eA==", "line 1:4: YAML tags are not supported"},
		"a second document":      {"a: b\n---\nc: d", "line 2:1: a second document begins here"},
		"a broken second one":    {"a: b\n---\n[", "line "},
		"a merge":                {"a: &b {c: d}\ne: {<<: *b}", "aliases are not supported"},
		"depth within a key":     {"? [[a]]\n: b", "deeper than 2 levels"},
		"more than a scan finds": {"a: {b: c, d: {e: f}}", "deeper than 2 levels"},
	} {
		t.Run(name, func(t *testing.T) {
			var p *Problem
			if _, err := Parse([]byte(tc.doc), Limits{Bytes: 100, Depth: 2, Nodes: 50}); !errors.As(err, &p) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// What an alias stands for counts each time, so that few lines do not become a
// large document.
func TestAliasesCount(t *testing.T) {
	l := Limits{Bytes: 1000, Depth: 5, Nodes: 50, Aliases: true}
	for doc, want := range map[string]string{
		"a: &b 1\nc: *b": "",
		"a: &a [x,x,x,x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]": "more than 50 values",
		"a: &b [*b]": "deeper",
	} {
		_, err := Parse([]byte(doc), l)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", doc, err, want)
		}
	}
}

func TestParseGivesOneDocument(t *testing.T) {
	for doc, want := range map[string]bool{"": false, "# a\n": false, "a: b": true, "# a\n---\na: b\n---\n# c\n": true, "a: b\n...\n": true} {
		if root, err := Parse([]byte(doc), testLimits); err != nil || (root != nil) != want {
			t.Errorf("%q: got %v, %v", doc, root, err)
		}
	}
}

func TestFind(t *testing.T) {
	root, err := Parse([]byte("a:\n- b: {c: d}\n- e\n"), testLimits)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"a[0].b.c": "d", "a[1]": "e", "a[2]": "", "a.b": "", "x": "", "a[x]": "", "a[0": "", "a[-1]": ""} {
		got := ""
		if n := Find(root, path); n != nil {
			got = n.Value
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

type inner struct {
	Text string `yaml:"text"`
}

type target struct {
	Inlined  `yaml:",inline"`
	Number   int             `yaml:"number"`
	Ratio    *float64        `yaml:"ratio"`
	On       bool            `yaml:"on"`
	Wait     time.Duration   `yaml:"wait"`
	List     []inner         `yaml:"list"`
	By       map[string]int  `yaml:"by"`
	Anything any             `yaml:"anything"`
	Extra    map[string]any  `yaml:"extra"`
	Inner    *inner          `yaml:"inner"`
	Many     map[string]bool `yaml:"many"`
}

// Inlined has fields that are written beside those of what holds it.
type Inlined struct {
	Beside string `yaml:"beside"`
}

func decode(t *testing.T, doc string) (target, []Problem) {
	t.Helper()
	root, err := Parse([]byte(doc), testLimits)
	if err != nil {
		t.Fatal(err)
	}
	var out target
	problems := Decode(root, &out, func(string, []string) string { return "?" })
	return out, problems
}

func TestDecode(t *testing.T) {
	out, problems := decode(t, `beside: 1.0
number: 0x10
ratio: 0.5
on: true
wait: 1s
list: [{text: a}, {}, null]
by: {b: 1}
inner: {text: "2"}
extra: {a: {b: [1, x, true, null, 2001-01-01, 0.5]}}
anything: plain
`)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	ratio := 0.5
	want := target{Inlined: Inlined{"1.0"}, Number: 16, Ratio: &ratio, On: true, Wait: time.Second,
		List: []inner{{"a"}, {}, {}}, By: map[string]int{"b": 1}, Inner: &inner{"2"}, Anything: "plain",
		Extra: map[string]any{"a": map[string]any{"b": []any{1, "x", true, nil, "2001-01-01", 0.5}}}}
	if d := cmp.Diff(want, out); d != "" {
		t.Error(d)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for doc, want := range map[string]string{
		"nubmer: 1":            `line 1:1: unknown field "nubmer"?`,
		"list: [{txt: 1}]":     `line 1:9: unknown field "txt"?`,
		"number: 1\nnumber: 2": `line 2:1: the key "number" is there twice`,
		"extra: {a: 1, a: 2}":  `line 1:15: the key "a" is there twice`,
		"number: much":         `line 1:9: "much" is not a whole number`,
		"on: [1]":              "line 1:5: a list is not true or false",
		"list: 1":              "line 1:7: a single value is not a list",
		"by: [1]":              "line 1:5: a list is not a mapping",
		"inner: 1":             "line 1:8: a single value is not a mapping; want one with ",
		"wait: long":           "is not a duration",
		"extra: {[a]: b}":      "a list cannot be a key",
		"extra: {a: .nan}":     "is not a number in JSON",
		"null":                 "line 1:1: null was used where a mapping is wanted",
		"[a]":                  "a list is not a mapping; want one with ",
	} {
		_, problems := decode(t, doc)
		if len(problems) != 1 || !strings.Contains(problems[0].String(), want) {
			t.Errorf("%q: got %v, want %q", doc, problems, want)
		}
	}
}

// Neither the number of problems nor their length grows with the document.
func TestProblemsAreBounded(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	_, problems := decode(t, strings.Repeat(`"": a`+"\n", 30))
	if n := len(problems); n != MaxProblems+1 || !strings.Contains(problems[n-1].Message, "and 10 problems more") {
		t.Errorf("got %d problems: %v", n, problems)
	}
	for _, doc := range []string{long + ": a", "number: " + long, "many: {" + long[:900] + ": a}", "[" + long} {
		root, err := Parse([]byte(doc), testLimits)
		if err != nil {
			if len(err.Error()) > 2*maxMessageBytes {
				t.Errorf("a problem has %d bytes", len(err.Error()))
			}
			continue
		}
		for _, p := range Decode(root, new(target), nil) {
			if len(p.String()) > 2*maxMessageBytes {
				t.Errorf("a problem has %d bytes", len(p.String()))
			}
		}
	}
}

// FuzzParse: what the scan lets through, the parser reads within a multiple of its
// size, and no deeper or larger than the limits.
func FuzzParse(f *testing.F) {
	for _, doc := range []string{"a: [b, {c: d}]\n", "- - - a\n", "? ? a\n: |\n  b\n", "&a *a", "a: 'b\n\n c'\n# d\n---\ne", "\"\\x41\": >-\n x\n", "{\"a\":[1,2]}"} {
		f.Add([]byte(doc))
	}
	l := Limits{Bytes: 64 << 10, Depth: 8, Nodes: 500}
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		root, err := Parse(data, l)
		runtime.ReadMemStats(&after)
		if spent, allowed := after.TotalAlloc-before.TotalAlloc, uint64(2<<20+64*len(data)); spent > allowed {
			t.Errorf("%d bytes took %d bytes of memory, more than %d", len(data), spent, allowed)
		}
		if err != nil || root == nil {
			return
		}
		if p := checkTree(&yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{root}}, l); p != nil {
			t.Error(p)
		}
	})
}
