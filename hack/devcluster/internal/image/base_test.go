package image

import (
	"os"
	"path/filepath"
	"testing"
)

// What leaves this machine is based on a digest, as the registry has it now.
func TestTheBaseOfAPushedImageIsPinned(t *testing.T) {
	const digest = "debian@sha256:0123"
	fake := func(answer string) Tool {
		path := filepath.Join(t.TempDir(), "docker")
		script := "#!/bin/sh\ncase $1 in pull) [ $# = 3 ] ;; image) echo '" + answer + "' ;; esac\n"
		if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		return Tool(path)
	}
	for name, c := range map[string]struct {
		builder Builder
		want    string
		fails   bool
	}{
		"pushed":                   {builder: Builder{Tool: fake(digest), Pin: true}, want: digest},
		"kept here":                {builder: Builder{Tool: fake(digest)}},
		"given":                    {builder: Builder{Tool: fake(digest), Pin: true, Base: "mine@sha256:4567"}, want: "mine@sha256:4567"},
		"made here":                {builder: Builder{Tool: Buildah, Pin: true}},
		"of no registry":           {builder: Builder{Tool: fake("<no value>"), Pin: true}, fails: true},
		"given, and made by tools": {builder: Builder{Tool: Buildah, Base: "mine@sha256:4567"}, want: "mine@sha256:4567"},
	} {
		got, err := c.builder.base(t.Context())
		if (err != nil) != c.fails || err == nil && got != c.want {
			t.Errorf("%s: %q and %v, want %q", name, got, err, c.want)
		}
	}
}
