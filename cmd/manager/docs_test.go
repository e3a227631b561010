package main

import (
	"flag"
	"os"
	"strings"
	"testing"

	_ "sigs.k8s.io/controller-runtime/pkg/client/config" // has --kubeconfig
)

// Every flag of `manager --help` is in docs/operations.md.
func TestFlagsAreDocumented(t *testing.T) {
	docs, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	fs := flag.NewFlagSet("manager", flag.ContinueOnError)
	new(options).bind(fs)
	seen := 0
	check := func(f *flag.Flag) {
		seen++
		if !strings.Contains(string(docs), "`--"+f.Name+"`") {
			t.Errorf("docs/operations.md does not have --%s: %s", f.Name, f.Usage)
		}
	}
	fs.VisitAll(check)
	if f := flag.Lookup("kubeconfig"); f != nil {
		check(f)
	}
	if seen < 15 {
		t.Errorf("saw %d flags", seen)
	}
}
