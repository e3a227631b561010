package features

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"k8s.io/component-base/featuregate"
)

func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Feature gates\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for name, spec := range specs {
		if row := fmt.Sprintf("| `%s` | %s | %v |", name, spec.PreRelease, spec.Default); !strings.Contains(section, row) {
			t.Errorf("docs/operations.md has no row that begins with %s", row)
		}
	}
	if rows := strings.Count(section, "\n| `"); rows != len(specs) {
		t.Errorf("docs/operations.md has %d rows for %d gates", rows, len(specs))
	}
}

// What is experimental is off until somebody turns it on.
func TestStages(t *testing.T) {
	for name, spec := range specs {
		if on := spec.PreRelease != featuregate.Alpha; spec.Default != on {
			t.Errorf("%s is %s and by default %v", name, spec.PreRelease, spec.Default)
		}
	}
	gates := New()
	if err := gates.Set("SandboxAPI=false"); err != nil || gates.Enabled(SandboxAPI) {
		t.Errorf("turned off it is %v, %v", gates.Enabled(SandboxAPI), err)
	}
	if err := gates.Set("Nothing=true"); err == nil {
		t.Error("a gate that does not exist was turned on")
	}
}
