package runner

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sampan-dev/sampan/internal/models"
)

// Keys that are files are those of now, and none where the Secret has gone; keys of the
// environment stay where there are no files.
func TestKeysAreReadAgain(t *testing.T) {
	t.Setenv("SAMPAN_KEY_GATEWAY", "old")
	reg := &models.Registry{Providers: map[string]models.Provider{"gateway": {Name: "gateway", APIKey: &models.KeySource{SecretName: "keys", Key: "k"}}}}
	env := TakeSecrets(reg)
	dir := t.TempDir()
	has := func(want string) {
		t.Helper()
		if got := env.Get("SAMPAN_KEY_GATEWAY"); got != want {
			t.Errorf("the key is %q, want %q", got, want)
		}
		if want != "" && !slices.Equal(env.Values(), []string{want}) {
			t.Errorf("what is never written down is %q, want %q", env.Values(), want)
		}
	}
	reread := func(dir string) {
		t.Helper()
		if err := env.Reread(dir); err != nil {
			t.Fatal(err)
		}
	}
	reread(filepath.Join(dir, "none"))
	has("old")
	file := filepath.Join(dir, "SAMPAN_KEY_GATEWAY")
	for _, key := range []string{"new", "newer"} {
		if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
		reread(dir)
		has(key)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	reread(dir)
	has("")
}
