// Package gitserver serves git repositories over HTTP in tests.
package gitserver

import (
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The login that the server asks for.
const (
	User     = "alice"
	Password = "p4ss-w0rd$with'odd\"signs"
)

// Server has one repository, "repo.git", with a commit on its branch main.
type Server struct {
	*httptest.Server
	// Dir is the repository.
	Dir string
	// Commit is what main is at.
	Commit string
}

// Repo is the URL of the repository.
func (s *Server) Repo() string { return s.URL + "/repo.git" }

// New serves a repository with some files.
func New(t *testing.T, files map[string]string) *Server {
	t.Helper()
	root := t.TempDir()
	s := &Server{Dir: filepath.Join(root, "repo.git")}
	work := t.TempDir()
	Git(t, root, "init", "--quiet", "--bare", "--initial-branch=main", s.Dir)
	Git(t, s.Dir, "config", "http.receivepack", "true")
	Git(t, work, "init", "--quiet", "--initial-branch=main")
	for name, content := range files {
		path := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	Git(t, work, "add", "--all", "--force")
	Git(t, work, "commit", "--quiet", "-m", "first")
	Git(t, work, "push", "--quiet", s.Dir, "HEAD:main")
	s.Commit = Git(t, work, "rev-parse", "HEAD")
	backend := &cgi.Handler{
		Path: filepath.Join(Git(t, root, "--exec-path"), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != User || password != Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// Git runs git as a user would, and gives what it prints.
func Git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}
