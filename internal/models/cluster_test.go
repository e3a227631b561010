package models

import (
	"strings"
	"testing"
)

// TestParseInCluster: in a pod a variable or a file of that name would be the runner's.
func TestParseInCluster(t *testing.T) {
	for name, tc := range map[string]struct{ provider, want string }{
		"secret":   {`{type: openai, baseURL: "https://h/v1", apiKey: {secretName: s, key: k}}`, ""},
		"variable": {`{type: openai, baseURL: "https://h/v1", apiKey: {env: SAMPAN_GIT_PASSWORD}}`, "apiKey.env"},
		"file":     {`{type: scripted, script: {file: /etc/sampan/token}}`, "script.file"},
	} {
		t.Run(name, func(t *testing.T) {
			doc := []byte("version: 1\nproviders: {p: " + tc.provider + "}\nmodels: [{id: m, provider: p}]\n")
			if _, err := Parse(doc); err != nil {
				t.Fatalf("on a laptop: %v", err)
			}
			_, err := ParseInCluster(doc)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("in a cluster: %v, want %q", err, tc.want)
			}
		})
	}
}
