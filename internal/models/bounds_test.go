package models

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/yamldoc"
)

// memoryOf gives how much memory a parse took, all in all.
func memoryOf(data []byte) (spent uint64, reg *Registry, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	reg, err = Parse(data)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, reg, err
}

// allowance is what a parse of so many bytes may take.
func allowance(n int) uint64 { return 4<<20 + 128*uint64(n) }

// hostile documents fill n bytes, each with another thing that is costly for some parser.
func hostile(n int) map[string]string {
	fill := func(head, unit, tail string) string { return head + strings.Repeat(unit, n/len(unit)) + tail }
	numbered := func(head, format string) string {
		var b strings.Builder
		b.WriteString(head)
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	return map[string]string{
		"brackets":         fill("", "[", ""),
		"shut brackets":    fill("", "[", strings.Repeat("]", n)),
		"braces":           fill("", "{a: ", ""),
		"lists":            fill("", "- ", ""),
		"keys":             fill("", "? ", ""),
		"anchors":          fill("", "&a ", ""),
		"tags":             fill("", "!!a ", ""),
		"aliases":          fill("a: &a b\nc: [", "*a,", "]"),
		"merges":           fill("version: 1\nproviders:\n", " <<: {}\n", ""),
		"models":           fill("models:\n", "- {}\n", ""),
		"models in a line": fill("models: [", "{},", "]"),
		"bad models":       fill("version: 1\nmodels:\n", "- {id: '!'}\n", ""),
		"roles":            fill("version: 1\nmodels:\n- id: x\n  roles: [", "A,", "]\n"),
		"scopes":           numbered("version: 1\nmodels:\n- id: x\n  scopes: [", "a%d,"),
		"providers":        numbered("version: 1\nproviders:\n", " %d: {}\n"),
		"unknown fields":   numbered("", "f%d: 1\n"),
		"unknown provider": numbered("version: 1\nproviders: {a: {type: openai, baseURL: http://a}}\nmodels:\n", "- {id: m%[1]d, provider: p%[1]d}\n"),
		"one id":           fill("version: 1\nmodels:\n", "- {id: x}\n", ""),
		"extraBody":        fill("version: 1\nmodels:\n- id: x\n  quirks: {extraBody: ", "{a: ", "1"+strings.Repeat("}", n/4)+"}\n"),
		"extraBody's list": fill("version: 1\nmodels:\n- id: x\n  quirks: {extraBody: {a: [", "1,", "]}}\n"),
		"a long key":       fill("", "x", ": 1"),
		"a long value":     fill("version: ", "x", ""),
		"a long id":        fill("version: 1\nmodels:\n- id: ", "x", ""),
		"a long URL":       fill("version: 1\nproviders:\n a: {type: openai, baseURL: 'http://", "x", "'}\n"),
		"a long default":   fill("version: 1\ndefault: {role: ", "x", "}\nmodels: [{id: a}]\n"),
		"a long price":     fill("version: 1\nmodels:\n- id: x\n  pricing: {inputPerMTok: ", "9", "}\n"),
		"a long number":    fill("version: ", "9", ""),
		"comments":         fill("", "# x\n", ""),
		"a text of lines":  fill("a: \"", "\n ", "\""),
		"a block of lines": fill("a: |\n", " x\n", ""),
		"documents":        fill("", "---\n", ""),
		"blanks":           fill("a:", " ", "b"),
		"line ends":        fill("", "\n", ""),
		"quotes":           fill("", "'", ""),
		"escapes":          fill("a: \"", "\\x41", "\""),
		"colons":           fill("", ":", ""),
		"directives":       fill("", "%a\n", ""),
	}
}

// TestHostileDocuments: a document at the size limit costs little, whatever is in
// it; one over it costs nothing. Each is refused in few words.
func TestHostileDocuments(t *testing.T) {
	const most = MaxDocumentBytes / 2
	for name, doc := range hostile(most) {
		t.Run(name, func(t *testing.T) {
			spent, _, err := memoryOf([]byte(doc))
			var bad *InvalidError
			if !errors.As(err, &bad) || len(bad.Problems) > yamldoc.MaxProblems+1 || len(err.Error()) > 8192 {
				t.Errorf("got %d bytes of error: %.500v", len(fmt.Sprint(err)), err)
			}
			if spent > allowance(len(doc)) {
				t.Errorf("%d bytes took %d KiB, more than %d KiB", len(doc), spent>>10, allowance(len(doc))>>10)
			}
		})
	}
	for name, doc := range hostile(1 << 20) {
		if spent, _, err := memoryOf([]byte(doc)); err == nil || spent > 1<<20+1<<20/2 {
			t.Errorf("%s at 1 MiB: %d KiB, %.200v", name, spent>>10, err)
		}
	}
}

// largest is a registry at the limits of the lists that grow.
func largest() string {
	var b strings.Builder
	b.WriteString("version: 1\nproviders:\n")
	for i := range maxProviders {
		fmt.Fprintf(&b, "  p%d: {type: openai, baseURL: \"https://p%d.example/v1\", apiKey: {secretName: keys, key: p%d}}\n", i, i, i)
	}
	b.WriteString("models:\n")
	for i := range maxModels {
		fmt.Fprintf(&b, "- {id: m%d, provider: p%d, upstream: org/m%d, contextWindow: 32768, maxOutputTokens: 4096, toolCalls: Good, "+
			"roles: [a, b], scopes: [c, d], fallbackGroup: g, priority: %d, pricing: {inputPerMTok: \"1\", outputPerMTok: \"2\"}, "+
			"quirks: {toolChoice: required, extraBody: {a: {b: 1}}}, limits: {requestsPerMinute: 60}}\n", i, i%maxProviders, i, i)
	}
	return b.String()
}

func TestALargeRegistryIsRead(t *testing.T) {
	reg := mustParse(t, largest())
	if len(reg.Models) != maxModels || len(reg.Providers) != maxProviders {
		t.Errorf("%d models, %d providers", len(reg.Models), len(reg.Providers))
	}
	if got := len(reg.Usable(Need{Scopes: []string{"c"}})); got != maxModels {
		t.Errorf("%d models can be used", got)
	}
	if got := len(reg.Usable(Need{Scopes: []string{"x"}})); got != 0 {
		t.Errorf("%d models of another scope can be used", got)
	}
}

// One more than each bound is refused, with the bound.
func TestBounds(t *testing.T) {
	head := "version: 1\nproviders: {a: {type: openai, baseURL: http://a}}\nmodels:\n- {id: x, provider: a"
	long := strings.Repeat("x", 3000)
	for name, tc := range map[string]struct{ doc, want string }{
		"models":    {largest() + "- {id: one-more, provider: p1}\n", "models: has 257 entries, the limit is 256"},
		"providers": {strings.Replace(largest(), "models:", "  more: {type: scripted}\nmodels:", 1), "providers: has 65 entries, the limit is 64"},
		"roles":     {head + ", roles: [" + strings.Repeat("a,", 33) + "]}", "models[0].roles: has 33 entries, the limit is 32"},
		"scopes":    {head + ", scopes: [" + strings.Repeat("a,", 33) + "]}", "models[0].scopes: has 33 entries"},
		"upstream":  {head + ", upstream: " + long + "}", "models[0].upstream: has 3000 bytes, the limit is 2048"},
		"extraBody": {head + ", quirks: {extraBody: {a: " + strings.Repeat(long, 6) + "}}}", "models[0].quirks.extraBody: has 18008 bytes as JSON, the limit is 16384"},
		"URL":       {strings.Replace(head, "http://a", "http://a/"+long, 1) + "}", "providers.a.baseURL: has 3009 bytes"},
		"key":       {strings.Replace(head, "http://a", "http://a, apiKey: {env: "+long+"}", 1) + "}", "providers.a.apiKey.env: has 3000 bytes"},
		"script":    {strings.Replace(head, "type: openai, baseURL: http://a", "type: scripted, script: {file: "+long+"}", 1) + "}", "providers.a.script.file: has 3000 bytes"},
		"default":   {strings.Replace(head, "version: 1", "version: 1\ndefault: {name: "+long+"}", 1) + "}", "default.name: has 3000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([]byte(tc.doc)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %.500v, want %q", err, tc.want)
			}
		})
	}
}

// TestLookingForANameIsBounded: a task that names nothing is looked for again and again.
func TestLookingForANameIsBounded(t *testing.T) {
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprintf("%s%05d", strings.Repeat("x", 100), i)
	}
	if allocs := testing.AllocsPerRun(1, func() { DidYouMean(strings.Repeat("y", 105), names) }); allocs > 4*maxCompared {
		t.Errorf("%v allocations: all names were compared", allocs)
	}
	failed := &RouteError{Selector: Selector{Role: "a"}, Dropped: make([]Dropped, 256)}
	if got := failed.Error(); len(got) > 1000 || !strings.HasSuffix(got, "and 248 more") {
		t.Errorf("got %q", got)
	}
}

// FuzzParse: no document makes Parse panic or costly, each is an *InvalidError or
// a registry whose models all have providers.
func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("models: [{id: a, pricing: {inputPerMTok: 1}}]"))
	f.Add([]byte("? [a]\n: &a *a"))
	for _, doc := range hostile(500) {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		spent, reg, err := memoryOf(data)
		if spent > allowance(len(data)) {
			t.Errorf("%d bytes took %d bytes of memory", len(data), spent)
		}
		var bad *InvalidError
		if err != nil {
			if !errors.As(err, &bad) || len(bad.Problems) == 0 || err.Error() == "" || len(err.Error()) > 16<<10 {
				t.Errorf("got %#v", err)
			}
			return
		}
		for _, m := range reg.Models {
			if _, ok := reg.Providers[m.Provider]; !ok || m.ToolCalls.rank() == 0 || m.ContextWindow <= 0 {
				t.Errorf("model %+v", m)
			}
		}
	})
}
