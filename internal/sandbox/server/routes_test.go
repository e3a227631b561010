package server

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

// TestRoutes: what is served is what the document describes.
func TestRoutes(t *testing.T) {
	served := slices.Collect(maps.Keys(new(Handler).handlers()))
	served = slices.AppendSeq(served, maps.Keys(newDoor(nil).handlers()))
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} { // see files
		served = append(served, method+" "+filesPrefix+"{path}")
	}
	var described []string
	for _, r := range api.Routes() {
		described = append(described, r.Method+" "+r.Path)
	}
	slices.Sort(served)
	slices.Sort(described)
	if diff := cmp.Diff(described, served); diff != "" {
		t.Errorf("routes (-described +served):\n%s", diff)
	}
}
