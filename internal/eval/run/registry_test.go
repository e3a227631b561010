package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/models"
)

func TestNoModelPlaysForAnother(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "models.yaml")
	doc := `version: 1
providers:
  scripted: {type: scripted, script: {file: script.yaml}}
  server: {type: openai, baseURL: "http://127.0.0.1:1/v1"}
models:
- {id: small, provider: scripted, fallbackGroup: all}
- {id: large, provider: scripted, fallbackGroup: all}
- {id: local, provider: server}
`
	if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	text, priced, err := Eval{Registry: file}.alone("small")
	if err != nil {
		t.Fatal(err)
	}
	if !priced {
		t.Error("a scripted model is free, and has no price")
	}
	if _, priced, err := (Eval{Registry: file}).alone("local"); err != nil || priced {
		t.Error("a model without prices has one", err)
	}
	reg, err := models.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(reg.Models) != 1 || reg.Models[0].ID != "small" || len(reg.Providers) != 1 {
		t.Errorf("%+v", reg)
	}
	if got, want := reg.Providers["scripted"].Script.File, filepath.Join(dir, "script.yaml"); got != want {
		t.Errorf("the script is %q, want %q", got, want)
	}
	first := settingsOf(t, Eval{Agent: Model, Registry: file, Version: "1"})
	for name, e := range map[string]Eval{
		"version": {Agent: Model, Registry: file, Version: "2"}, "env": {Agent: Model, Registry: file, Version: "1", Env: []string{"A=b"}},
		"expose": {Agent: Model, Registry: file, Version: "1", Expose: []string{"/opt"}},
	} {
		if settingsOf(t, e) == first {
			t.Errorf("another %s has the same digest", name)
		}
	}
	if settingsOf(t, Eval{Agent: Model, Registry: file, Version: "1"}) != first {
		t.Error("the same settings have another digest")
	}
	changed := strings.Replace(doc, "id: small,", "id: small, maxOutputTokens: 77,", 1)
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if settingsOf(t, Eval{Agent: Model, Registry: file, Version: "1"}) == first {
		t.Error("another entry of the model has the same digest")
	}
	if _, _, err := (Eval{Registry: file}).alone("tiny"); err == nil {
		t.Error("a model that is not there was given")
	}
}

func settingsOf(t *testing.T, e Eval) string {
	t.Helper()
	digests, err := e.settings([]string{"small"})
	if err != nil {
		t.Fatal(err)
	}
	return digests["small"]
}
