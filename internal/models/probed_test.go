package models

import (
	"strings"
	"testing"
	"time"
)

const probedDocument = `version: 1
default: {group: coding}
providers:
  p: {type: openai, baseURL: "http://h.example/v1"}
  q: {type: openai, baseURL: "https://h.example/v1", apiKey: {secretName: keys, key: other}}
models:
- {id: a, provider: p, fallbackGroup: coding}
- {id: b, provider: p, fallbackGroup: coding, priority: 1}
`

func measured(reg *Registry, id string, level Level) map[string]Measured {
	m, _ := reg.Model(id)
	return map[string]Measured{Candidate{Model: m, Provider: reg.Providers[m.Provider]}.Digest(): {
		Level: level, Probe: "team/nightly", Time: time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC)}}
}

func TestUnfitModelsAreLeftOut(t *testing.T) {
	exclude := mustParse(t, probedDocument+"routing: {unfit: Exclude}\n")
	for name, tc := range map[string]struct {
		reg  *Registry
		sel  Selector
		need Need
		want string
	}{
		"not measured":              {exclude, Selector{}, Need{}, "a b"},
		"measured below":            {exclude, Selector{}, Need{Probed: measured(exclude, "a", None)}, "b"},
		"measured good":             {exclude, Selector{}, Need{Probed: measured(exclude, "a", Good)}, "a b"},
		"good enough for this":      {exclude, Selector{}, Need{ToolCalls: Limited, Probed: measured(exclude, "a", Limited)}, "a b"},
		"not asked for":             {mustParse(t, probedDocument), Selector{}, Need{Probed: measured(exclude, "a", None)}, "a b"},
		"allowed":                   {mustParse(t, probedDocument+"routing: {unfit: Allow}\n"), Selector{}, Need{Probed: measured(exclude, "a", None)}, "a b"},
		"an entry that was mended":  {mustParse(t, strings.Replace(probedDocument, "{id: a,", "{id: a, quirks: {textToolCalls: salvage},", 1)+"routing: {unfit: Exclude}\n"), Selector{}, Need{Probed: measured(exclude, "a", None)}, "a b"},
		"named, and never replaced": {exclude, Selector{Name: "a"}, Need{Probed: measured(exclude, "a", None)}, "a calls tools at level None, as probe team/nightly has measured at 2026-03-01T02:03:04Z, Good is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			routed, err := tc.reg.Route(tc.sel, tc.need)
			var ids []string
			for _, c := range routed {
				ids = append(ids, c.Model.ID)
			}
			got := strings.Join(ids, " ")
			if err != nil {
				got = err.Error()
			}
			if !strings.HasSuffix(got, tc.want) || err == nil && got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	e, err := exclude.Explain(Selector{}, Need{Probed: measured(exclude, "a", None)}, 0)
	if err != nil || e.Models[1].Decision != Excluded || e.Models[1].Reason != DropUnfit || !strings.Contains(e.Models[1].Why, "team/nightly") {
		t.Errorf("explained as %+v, %v", e, err)
	}
	if _, err := Parse([]byte(probedDocument + "routing: {unfit: Drop}\n")); err == nil || !strings.Contains(err.Error(), "routing.unfit") {
		t.Errorf("another value: %v", err)
	}
}

// TestDigestOfAnEntry: it changes with all that decides how a model answers, and with
// nothing else.
func TestDigestOfAnEntry(t *testing.T) {
	digest := func(entry string) string {
		doc := probedDocument[:strings.Index(probedDocument, "models:")] + "models:\n- " + entry + "\n"
		reg := mustParse(t, strings.Replace(doc, "default: {group: coding}\n", "", 1))
		return Candidate{Model: reg.Models[0], Provider: reg.Providers[reg.Models[0].Provider]}.Digest()
	}
	plain := digest("{id: a, provider: p}")
	for _, entry := range []string{
		"{id: a, provider: p, roles: [coder], scopes: [gold], fallbackGroup: g, priority: 3, toolCalls: Limited, disabled: true}",
		`{id: a, provider: p, pricing: {inputPerMTok: "1", outputPerMTok: "2"}, limits: {requestsPerMinute: 3}, upstream: a}`,
	} {
		if got := digest(entry); got != plain {
			t.Errorf("%s has another digest", entry)
		}
	}
	for _, entry := range []string{
		"{id: b, provider: p}", "{id: a, provider: q}", "{id: a, provider: p, upstream: c}", "{id: a, provider: p, contextWindow: 9000}",
		"{id: a, provider: p, maxOutputTokens: 17}", "{id: a, provider: p, quirks: {noStream: true}}", "{id: a, provider: p, timeouts: {idleSeconds: 5}}",
	} {
		if got := digest(entry); got == plain {
			t.Errorf("%s has the same digest", entry)
		}
	}
	// A runner has a snapshot, and computes the same.
	reg := mustParse(t, example)
	for _, c := range reg.Usable(Need{AllScopes: true, ToolCalls: None}) {
		text, err := reg.Snapshot(Selector{Name: c.Model.ID}, []Candidate{c})
		if err != nil {
			t.Fatal(err)
		}
		part := mustParse(t, text)
		if got := (Candidate{Model: part.Models[0], Provider: part.Providers[c.Provider.Name]}).Digest(); got != c.Digest() {
			t.Errorf("%s has another digest in a snapshot", c.Model.ID)
		}
	}
}
