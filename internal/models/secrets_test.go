package models

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// oneKey is a registry whose provider is written that way.
func oneKey(apiKey string) string {
	return "version: 1\nproviders:\n  p: {type: openai, baseURL: 'http://h/v1', apiKey: " + apiKey + "}\nmodels:\n- {id: m, provider: p}\n"
}

// TestSecretsAreSeenByAdmission: every Secret that a registry makes use of is among
// the names that admission finds in its text, or the registry is refused.
func TestSecretsAreSeenByAdmission(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string
		// refused with those words.
		refused string
	}{
		"flow":          {oneKey("{secretName: db, key: dsn}"), []string{"db"}, ""},
		"quoted":        {oneKey(`{"secretName": "db", 'key': 'dsn'}`), []string{"db"}, ""},
		"single quotes": {oneKey(`{'secretName' : 'db.prod-1', key: dsn}`), []string{"db.prod-1"}, ""},
		"json":          {`{"version": 1, "providers": {"p": {"type": "openai", "baseURL": "http://h", "apiKey": {"secretName":"db","key":"k"}}}, "models": [{"id": "m", "provider": "p"}]}`, []string{"db"}, ""},
		"block": {strings.Replace(oneKey("{}"), "{type: openai, baseURL: 'http://h/v1', apiKey: {}}",
			`
    type: openai
    baseURL: http://h/v1
    apiKey:
      key: dsn
      secretName: db`, 1), []string{"db"}, ""},
		"in a comment":   {oneKey("{secretName: db, key: dsn}") + "# secretName: other\n", []string{"db", "other"}, ""},
		"no Secret":      {oneKey("{env: KEY}"), nil, ""},
		"escaped name":   {oneKey(`{secretName: "d\x62", key: dsn}`), []string{"d"}, "not written plainly"},
		"escaped field":  {oneKey(`{"secret\x4eame": db, key: dsn}`), nil, "not written plainly"},
		"folded":         {oneKey("{secretName:\n    db, key: dsn}"), nil, "not written plainly"},
		"a tag":          {oneKey("{secretName: !!str db, key: dsn}"), nil, "YAML tags are not supported"},
		"an anchor":      {oneKey("{secretName: &a db, key: dsn}"), nil, "not written plainly"},
		"explicit key":   {oneKey("{? secretName : db, key: dsn}"), []string{"db"}, ""},
		"upper case":     {oneKey("{secretName: dB, key: dsn}"), []string{"d"}, "not written plainly"},
		"another's tail": {oneKey("{secretName: db_prod, key: dsn}"), []string{"db"}, "not written plainly"},
	} {
		t.Run(name, func(t *testing.T) {
			reg, err := Parse([]byte(tc.text))
			seen := plainSecrets([]byte(tc.text))
			if err == nil {
				if k := reg.Providers["p"].APIKey; k.SecretName != "" && !strings.Contains(" "+strings.Join(seen, " ")+" ", " "+k.SecretName+" ") {
					t.Errorf("Secret %s is used and admission sees %v", k.SecretName, seen)
				}
			}
			if diff := cmp.Diff(tc.want, seen); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if refused := err != nil; refused != (tc.refused != "") || refused && !strings.Contains(err.Error(), tc.refused) {
				t.Errorf("the error is %v, want %q", err, tc.refused)
			}
		})
	}
}

func TestAHiddenSecretIsRefusedWithItsLine(t *testing.T) {
	_, err := Parse([]byte(oneKey(`{secretName: "d\x62", key: dsn}`)))
	var invalid *InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 1 {
		t.Fatalf("got %v", err)
	}
	p := invalid.Problems[0]
	if p.Line != 3 || p.Path != "providers.p.apiKey.secretName" || !strings.Contains(p.Message, "write secretName: db on one line") {
		t.Errorf("got %+v", p)
	}
}

// TestAdmissionHasTheSameExpressions and the same bound.
func TestAdmissionHasTheSameExpressions(t *testing.T) {
	policy, err := os.ReadFile("../../config/admission/registry_secrets.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`findAll(r"""` + secretMention + `""")`, `find(r"""` + secretName + `""")`,
		fmt.Sprintf("size(variables.document) <= %d", MaxDocumentBytes)} {
		if !strings.Contains(string(policy), text) {
			t.Errorf("the policy does not have %s", text)
		}
	}
}
