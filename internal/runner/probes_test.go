package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadProbes(t *testing.T) {
	const one = `{"apiVersion":"sampan.dev/v1alpha1","kind":"ModelProbe","metadata":{"name":"a","namespace":"ns"},"status":{"models":[
{"id":"x","digest":"d1","measured":"None","time":"2026-03-01T00:00:00Z"},{"id":"y","digest":"d2","time":"2026-03-01T00:00:00Z"}]}}`
	for name, tc := range map[string]struct{ doc, want string }{
		"one":            {one, ""},
		"a list":         {`{"kind":"List","items":[` + one + `]}`, ""},
		"something else": {"kind: Pod", `this is kind "Pod"; want ModelProbe`},
		"no manifest":    {"[", "did not find"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "probes.json")
			if err := os.WriteFile(path, []byte(tc.doc), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := LoadProbes(path)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if m := got["d1"]; err != nil || len(got) != 1 || m.Level != "None" || m.Probe != "ns/a" || m.Time.IsZero() {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}
