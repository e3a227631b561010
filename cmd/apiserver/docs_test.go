package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Every flag that is ours is in the server's section of docs/operations.md.
func TestFlagsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## The API server's flags\n")
	section, _, _ = strings.Cut(section, "\n## ")
	fs := pflag.NewFlagSet("apiserver", pflag.ContinueOnError)
	newOptions().bind(fs)
	seen := 0
	fs.VisitAll(func(f *pflag.Flag) {
		seen++
		if !strings.Contains(section, "| `--"+f.Name+"`") {
			t.Errorf("docs/operations.md does not have --%s: %s", f.Name, f.Usage)
		}
	})
	if seen < 8 {
		t.Errorf("saw %d flags", seen)
	}
}
