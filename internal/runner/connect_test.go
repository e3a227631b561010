package runner

import (
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/models"
)

// A blank key is a missing one: nothing is sent without the key that was asked for.
func TestBlankKeyIsMissing(t *testing.T) {
	p := models.Provider{Name: "p", APIKey: &models.KeySource{Env: "K"}}
	for value, missing := range map[string]bool{"": true, "\n": true, " \t": true, "sk": false} {
		key, err := Connector{Env: func(string) string { return value }}.key(p)
		if missing && (err == nil || !strings.Contains(err.Error(), "is missing: set K")) || !missing && (err != nil || key != value) {
			t.Errorf("%q: %q, %v", value, key, err)
		}
	}
}
