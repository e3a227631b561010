package main

import (
	"runtime/debug"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
)

func TestWhatIsMissingIsTold(t *testing.T) {
	info := &debug.BuildInfo{Main: debug.Module{Path: "example.com/m"}, Deps: []*debug.Module{
		{Path: "example.com/a", Version: "v1.0.0", Sum: "h1:AAEC"},
		{Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.1.0", Sum: "h1:AwQF"}},
	}}
	component := func(name, version, hash string) cyclonedx.Component {
		return cyclonedx.Component{Name: name, Version: version, Hashes: &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hash}}}
	}
	a, fork := component("example.com/a", "v1.0.0", "000102"), component("example.com/fork", "v1.1.0", "030405")
	for name, c := range map[string]struct {
		of         string
		components []cyclonedx.Component
		want       string
	}{
		"all":             {"example.com/m", []cyclonedx.Component{a, fork}, ""},
		"another program": {"example.com/x", []cyclonedx.Component{a, fork}, "it does not say that it is of example.com/m"},
		"a module":        {"example.com/m", []cyclonedx.Component{fork}, "example.com/a v1.0.0 is missing"},
		"a replacement":   {"example.com/m", []cyclonedx.Component{a, component("example.com/b", "v1.0.0", "030405")}, "example.com/fork v1.1.0 is missing"},
		"another version": {"example.com/m", []cyclonedx.Component{component("example.com/a", "v1.0.1", "000102"), fork}, "example.com/a v1.0.0 is missing"},
		"another content": {"example.com/m", []cyclonedx.Component{component("example.com/a", "v1.0.0", "000103"), fork}, "example.com/a v1.0.0 has the hash"},
	} {
		bom := cyclonedx.NewBOM()
		bom.Metadata = &cyclonedx.Metadata{Component: &cyclonedx.Component{Name: c.of}}
		bom.Components = &c.components
		err := check(bom, info)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: the error is %v, want %q", name, err, c.want)
		}
	}
	if err := check(&cyclonedx.BOM{}, info); err == nil || !strings.Contains(err.Error(), "its format is") {
		t.Errorf("no bill at all: %v", err)
	}
}
