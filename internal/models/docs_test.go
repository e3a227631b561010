package models

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// Every quirk is in docs/models.md.
func TestQuirksAreDocumented(t *testing.T) {
	docs, err := os.ReadFile("../../docs/models.md")
	if err != nil {
		t.Fatal(err)
	}
	for i := range reflect.TypeFor[Quirks]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[Quirks]().Field(i).Tag.Get("yaml"), ",")
		if !strings.Contains(string(docs), "`"+name+"`") {
			t.Errorf("docs/models.md does not have the quirk %s", name)
		}
	}
}
