package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/engine"
)

// TestUserExcludes: git's patterns of the user that commands run as count, from
// either place.
func TestUserExcludes(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"default":     {".config/git/ignore": ".idea/\n*.swp\n"},
		"configured":  {".gitconfig": "[user]\n\tname = x\n[core]\n\texcludesFile = ~/patterns\n", "patterns": ".idea/\n*.swp\n", ".config/git/ignore": "a.txt\n"},
		"XDG, quoted": {".config/git/config": "[core]\n\tautocrlf = false\n\texcludesfile = \"~/patterns\"\n", "patterns": ".idea/\n*.swp\n"},
	} {
		home := t.TempDir()
		for file, content := range files {
			write(t, filepath.Join(home, file), content)
		}
		e := open(t, engine.Options{Env: []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}})
		for _, file := range []string{"a.txt", ".idea/x.txt", "b.swp"} {
			write(t, filepath.Join(e.Workspace(), file), "x")
		}
		list := func() string {
			res, err := e.Glob(t.Context(), tool.GlobRequest{Pattern: "**/*.*"})
			if err != nil {
				t.Fatal(err)
			}
			return strings.Join(res.Paths, " ")
		}
		if got := list(); got != ".idea/ .idea/x.txt a.txt b.swp" {
			t.Errorf("%s: without a repository: %s", name, got)
		}
		write(t, filepath.Join(e.Workspace(), ".git/HEAD"), "ref: refs/heads/main\n")
		if got := list(); got != "a.txt" {
			t.Errorf("%s: in a repository: %s", name, got)
		}
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
