package run

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sampan-dev/sampan/internal/models"
)

func TestNoModelPlaysForAnother(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "models.yaml")
	doc := `version: 1
providers:
  scripted: {type: scripted, script: {file: script.yaml}}
models:
- {id: small, provider: scripted, fallbackGroup: all}
- {id: large, provider: scripted, fallbackGroup: all}
`
	if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := Eval{Registry: file}.alone("small")
	if err != nil {
		t.Fatal(err)
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
	if _, err := (Eval{Registry: file}).alone("tiny"); err == nil {
		t.Error("a model that is not there was given")
	}
}
