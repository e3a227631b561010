package workspace

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/http/httputil"
	neturl "net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/testca"
)

const (
	testUser     = "alice"
	testPassword = "p4ss-w0rd$with'odd\"signs"
)

// withLogin adds what the test server asks for.
func withLogin(src v1alpha1.GitSource) Repository {
	return Repository{GitSource: src, User: testUser, Password: testPassword}
}

// gitOut runs git as a user would and gives what it prints.
func gitOut(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// newOrigin makes a repository with three commits, a branch and a tag.
func newOrigin(t *testing.T) (root string, commits []string) {
	t.Helper()
	root = t.TempDir()
	dir := filepath.Join(root, "repo.git")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	gitOut(t, dir, "init", "--quiet", "--initial-branch=main")
	for _, text := range []string{"one", "two", "three"} {
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		gitOut(t, dir, "add", ".")
		gitOut(t, dir, "commit", "--quiet", "-m", text)
		commits = append(commits, gitOut(t, dir, "rev-parse", "HEAD"))
	}
	gitOut(t, dir, "branch", "older", commits[0])
	gitOut(t, dir, "tag", "v2", commits[1])
	gitOut(t, dir, "config", "uploadpack.allowAnySHA1InWant", "true")
	return root, commits
}

// serveGit serves the repositories below root over smart HTTP with a password.
func serveGit(t *testing.T, root string) string {
	t.Helper()
	srv := httptest.NewServer(gitHandler(t, root))
	t.Cleanup(srv.Close)
	return srv.URL
}

func gitHandler(t *testing.T, root string) http.Handler {
	t.Helper()
	execPath := gitOut(t, root, "--exec-path")
	backend := &cgi.Handler{
		Path: filepath.Join(execPath, "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != testUser || password != testPassword {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	})
}

func TestCheckout(t *testing.T) {
	root, commits := newOrigin(t)
	url := serveGit(t, root) + "/repo.git"
	for name, tc := range map[string]struct {
		src    v1alpha1.GitSource
		head   string
		branch string
		depth  string
	}{
		"default branch":   {src: v1alpha1.GitSource{URL: url}, head: commits[2], branch: "main", depth: "3"},
		"branch":           {src: v1alpha1.GitSource{URL: url, Ref: "older"}, head: commits[0], branch: "older", depth: "1"},
		"tag":              {src: v1alpha1.GitSource{URL: url, Ref: "v2"}, head: commits[1], branch: "HEAD", depth: "2"},
		"commit":           {src: v1alpha1.GitSource{URL: url, Ref: commits[1]}, head: commits[1], branch: "HEAD", depth: "2"},
		"depth":            {src: v1alpha1.GitSource{URL: url, Depth: 1}, head: commits[2], branch: "main", depth: "1"},
		"commit and depth": {src: v1alpha1.GitSource{URL: url, Ref: commits[1], Depth: 1}, head: commits[1], branch: "HEAD", depth: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := Checkout(t.Context(), withLogin(tc.src), dir); err != nil {
				t.Fatal(err)
			}
			if got := gitOut(t, dir, "rev-parse", "HEAD"); got != tc.head {
				t.Errorf("HEAD is %s, want %s", got, tc.head)
			}
			if got := gitOut(t, dir, "rev-parse", "--abbrev-ref", "HEAD"); got != tc.branch {
				t.Errorf("branch is %s, want %s", got, tc.branch)
			}
			if got := gitOut(t, dir, "rev-list", "--count", "HEAD"); got != tc.depth {
				t.Errorf("history has %s commits, want %s", got, tc.depth)
			}
			if got := gitOut(t, dir, "status", "--porcelain"); got != "" {
				t.Errorf("the checkout is not clean: %s", got)
			}
			assertNoPassword(t, dir)
			config, err := os.ReadFile(filepath.Join(dir, ".git", "config"))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(config), "hooksPath") || strings.Contains(string(config), "credential") {
				t.Errorf("the clone's own settings were left behind:\n%s", config)
			}
		})
	}
}

// assertNoPassword looks for the password in every file below dir.
func assertNoPassword(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), testPassword) {
			t.Errorf("the password is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheckoutErrors(t *testing.T) {
	root, _ := newOrigin(t)
	url := serveGit(t, root)
	for name, tc := range map[string]struct {
		src      v1alpha1.GitSource
		password string
		want     string
	}{
		"no such branch":       {v1alpha1.GitSource{URL: url + "/repo.git", Ref: "nowhere"}, testPassword, "git clone: exit status 128: fatal: Remote branch nowhere not found in upstream origin; there are: main, older, v2; ref is the name of a branch or a tag, without refs/, or a full commit id"},
		"names that are there": {v1alpha1.GitSource{URL: url + "/repo.git", Ref: "refs/heads/main"}, testPassword, "there are: main, older, v2"},
		"no such commit":       {v1alpha1.GitSource{URL: url + "/repo.git", Ref: strings.Repeat("0", 39) + "1"}, testPassword, "git fetch: exit status 128: fatal: "},
		"no such repository":   {v1alpha1.GitSource{URL: url + "/other.git"}, testPassword, "not found"},
		"no password":          {v1alpha1.GitSource{URL: url + "/repo.git"}, "", "could not read Username"},
		"wrong password":       {v1alpha1.GitSource{URL: url + "/repo.git"}, "wrong", "Authentication failed"},
		"program transport":    {v1alpha1.GitSource{URL: "ext::sh -c true"}, "", "names a program that is to fetch it"},
		"local file":           {v1alpha1.GitSource{URL: "file://" + root + "/repo.git"}, "", "is a path of a machine"},
		"option as url":        {v1alpha1.GitSource{URL: "--upload-pack=touch /tmp/pwned"}, "", "is a path of a machine"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Checkout(t.Context(), Repository{GitSource: tc.src, User: testUser, Password: tc.password}, t.TempDir())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("the error is more than one line: %q", err)
			}
			if err != nil && tc.password != "" && strings.Contains(err.Error(), tc.password) {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
}

// A server that is not there yet, or has a bad moment, is asked again; for every
// kind of source.
func TestCheckoutWaitsForServer(t *testing.T) {
	root, commits := newOrigin(t)
	url := serveGit(t, root)
	for name, ref := range map[string]string{"default branch": "", "branch": "main", "commit": commits[0]} {
		t.Run(name, func(t *testing.T) {
			target, err := neturl.Parse(url)
			if err != nil {
				t.Fatal(err)
			}
			proxy := httputil.NewSingleHostReverseProxy(target)
			var asked atomic.Int32
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch asked.Add(1) {
				case 1:
					w.WriteHeader(http.StatusServiceUnavailable)
				case 2:
					panic(http.ErrAbortHandler) // the connection is cut
				default:
					proxy.ServeHTTP(w, r)
				}
			}))
			defer srv.Close()
			dir := t.TempDir()
			if err := Checkout(t.Context(), withLogin(v1alpha1.GitSource{URL: srv.URL + "/repo.git", Ref: ref}), dir); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
				t.Error(err)
			}
		})
	}
}

// The words of git for what may pass, and for what will not.
func TestPassing(t *testing.T) {
	for text, want := range map[string]bool{
		"fatal: unable to look up git (port 9418) (Temporary failure in name resolution)":                                  true,
		"fatal: unable to access 'http://git/x/': Could not resolve host: git":                                             true,
		"fatal: unable to access 'http://git/x/': Failed to connect to git port 80 after 0 ms: Couldn't connect to server": true,
		"fatal: unable to access 'http://git/x/': The requested URL returned error: 503":                                   true,
		"fatal: unable to access 'http://git/x/': The requested URL returned error: 403":                                   false,
		"error: RPC failed; curl 56 Recv failure: Connection reset by peer":                                                true,
		"fatal: unable to connect to git:\ngit[0: 10.0.0.1]: errno=Connection refused":                                     true,
		"fatal: the remote end hung up unexpectedly":                                                                       true,
		"fatal: repository 'http://git/x/' not found":                                                                      false,
		"fatal: Remote branch nowhere not found in upstream origin":                                                        false,
		"fatal: Authentication failed for 'http://git/x/'":                                                                 false,
		"fatal: unable to access 'https://git/x/': server certificate verification failed. CAfile: none":                   false,
	} {
		if got := passing.MatchString(text); got != want {
			t.Errorf("%q passes: %v, want %v", text, got, want)
		}
	}
}

// A server that never answers must not hold up a run that was cancelled.
func TestCheckoutStops(t *testing.T) {
	asked := make(chan struct{}, 1)
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, _ *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-release
	}))
	defer srv.Close()
	defer close(release)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Checkout(ctx, Repository{GitSource: v1alpha1.GitSource{URL: srv.URL + "/repo.git"}}, t.TempDir())
	}()
	<-asked
	cancel(errors.New("spec.state is Cancelled"))
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "Cancelled") {
			t.Errorf("error is %v, want the cause of the cancellation", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the checkout went on after it was cancelled")
	}
}

// A server whose authority only the pod was told of: not every build of git reads
// SSL_CERT_FILE.
func TestCheckoutTrustsThePodsAuthorities(t *testing.T) {
	root, commits := newOrigin(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	srv := httptest.NewUnstartedServer(gitHandler(t, root))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{testca.Certificate(t, ca)}, MinVersion: tls.VersionTLS12}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that is refused
	srv.StartTLS()
	t.Cleanup(srv.Close)
	src := v1alpha1.GitSource{URL: srv.URL + "/repo.git", Ref: commits[0]}
	if err := Checkout(t.Context(), withLogin(src), t.TempDir()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without it the error is %v", err)
	}
	t.Setenv("GIT_SSL_CAINFO", ca)
	if err := Checkout(t.Context(), withLogin(src), t.TempDir()); err != nil {
		t.Error(err)
	}
}

// A key of a model, or any other variable of the runner, is not git's business.
func TestGitEnvironment(t *testing.T) {
	t.Setenv("SAMPAN_KEY_GATEWAY", "canary")
	for _, kv := range gitEnv("https") {
		if strings.Contains(kv, "canary") {
			t.Errorf("git gets %s", kv)
		}
	}
}

// What the sandbox container lays out in the workspace before or while git runs
// is never git's: a hook there does not run, and a link leads nowhere.
func TestCheckoutBeside(t *testing.T) {
	origin, commits := newOrigin(t)
	url := serveGit(t, origin) + "/repo.git"
	src := v1alpha1.GitSource{URL: url, Ref: commits[1]}
	state := filepath.Join(t.TempDir(), "checkout")

	workspace := t.TempDir()
	if err := CheckoutBeside(t.Context(), withLogin(src), state, workspace); err != nil {
		t.Fatal(err)
	}
	if got := gitOut(t, workspace, "rev-parse", "HEAD"); got != commits[1] {
		t.Errorf("HEAD is %s, want %s", got, commits[1])
	}
	if got := gitOut(t, workspace, "status", "--porcelain"); got != "" {
		t.Errorf("the copy is not clean: %s", got)
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("the private checkout is still there: %v", err)
	}

	hostile := t.TempDir()
	ran := filepath.Join(t.TempDir(), "ran")
	hooks := filepath.Join(hostile, ".git", "hooks")
	if err := os.MkdirAll(hooks, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(hooks, "post-checkout"), []byte("#!/bin/sh\ntouch "+ran), 0o755); err != nil {
		t.Fatal(err)
	}
	err := CheckoutBeside(t.Context(), withLogin(src), state, hostile)
	if err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("error is %v, want that the workspace is not empty", err)
	}
	if _, err := os.Stat(ran); !os.IsNotExist(err) {
		t.Error("a hook of the workspace ran")
	}
}

// A link that appears in the workspace while the copy goes on is not followed.
func TestCopyStaysInside(t *testing.T) {
	from, to, outside := t.TempDir(), t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(from, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "sub", "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close() //nolint:errcheck // the test is over
	if err := os.Symlink(outside, filepath.Join(to, "sub")); err != nil {
		t.Fatal(err)
	}
	if err := copyFile(root, "sub/file", filepath.Join(from, "sub", "file"), 0o644); err == nil {
		t.Error("a file was written through a link that leads out")
	}
	if names, err := os.ReadDir(outside); err != nil || len(names) != 0 {
		t.Errorf("outside has %v (%v)", names, err)
	}
}
