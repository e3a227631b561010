package workspace

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	neturl "net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// TestGitURL: what a repository's URL may be; nothing of a URL is in an error.
func TestGitURL(t *testing.T) {
	for _, raw := range []string{
		"https://git.example.com/team/tally.git", "http://git:8080/locked.git", "https://[2001:db8::1]:8443/a/b", "https://host/~user/a%20b",
	} {
		if _, err := ParseURL(raw); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
	for raw, want := range map[string]string{
		"/home/me/repo":                      "is a path of a machine",
		"./repo":                             "is a path of a machine",
		"../a:b":                             "is a path of a machine",
		"~/my repo":                          "is a path of a machine",
		`C:\repo`:                            "is a path of a machine",
		"github.com/team/tally":              "is a path of a machine",
		"file:///home/me/repo":               "is a path of a machine",
		"FILE:///home/me/repo":               "is a path of a machine",
		"--upload-pack=touch x":              "is a path of a machine",
		"ssh://git@host/team/tally.git":      "is a repository over ssh",
		"git+ssh://host/team/tally.git":      "is a repository over ssh",
		"git@github.com:team/tally.git":      "is a repository over ssh",
		"host.example:team/tally.git":        "is a repository over ssh",
		"git@[::1]:team/tally.git":           "is a repository over ssh",
		"git://host/team/tally.git":          "uses the git protocol",
		"ext::sh -c 'touch x'":               "names a program",
		"fd::17":                             "names a program",
		"http::https://host/a":               "names a program",
		"ftp://host/a":                       "uses ftp://",
		"HTTPS://host/a":                     "uses HTTPS://",
		"https://user:SECRET@host/a":         "must not hold a user or a password",
		"https://SECRET@host/a":              "must not hold a user or a password",
		"https://user:SE/CRET@host/a":        "cannot be read as a URL",
		"http://user:SECRET%zz@host/a":       "must not hold a user or a password",
		"https://host":                       "names no repository",
		"https://host/":                      "names no repository",
		"https:///a":                         "names no repository",
		"https://host/a?token=SECRET":        "must not have a query",
		"https://host/a#SECRET":              "must not have a query",
		"https://host/a b":                   "has a character",
		"https://host/a\nb":                  "has a character",
		"https://host/a\u202eb":              "has a character",
		"https://host/a%0ahost=evil.example": "cannot be read as a URL",
		"https://ho%0ast/a":                  "cannot be read as a URL",
		"":                                   "is empty",
	} {
		_, err := ParseURL(raw)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: error is %v, want one with %q", raw, err, want)
		}
	}
}

// listening is a git server that notes the credentials that it was sent.
type listening struct {
	*httptest.Server
	mu  sync.Mutex
	got []string
}

func (l *listening) heard() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.got
}

// listen serves at an address; it asks for a password before it answers.
func listen(t *testing.T, addr string, answer http.Handler) *listening {
	t.Helper()
	l := &listening{}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	l.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		if !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		l.mu.Lock()
		l.got = append(l.got, user+":"+password)
		l.mu.Unlock()
		answer.ServeHTTP(w, r)
	}))
	l.Listener.Close() //nolint:errcheck // another takes its place
	l.Listener = ln
	l.Start()
	t.Cleanup(l.Close)
	return l
}

func redirects(to string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to+r.URL.RequestURI(), http.StatusFound)
	})
}

// TestCredentialsStay: whoever the host of the task sends git to gets none.
func TestCredentialsStay(t *testing.T) {
	root, _ := newOrigin(t)
	good := serveGit(t, root)
	evil := listen(t, "127.0.0.2:0", http.NotFoundHandler())
	_, port, _ := net.SplitHostPort(evil.Listener.Addr().String())
	otherPort := listen(t, "127.0.0.1:0", http.NotFoundHandler())
	for name, to := range map[string]string{
		"another host":           evil.URL,
		"another port":           otherPort.URL,
		"another name of a host": "http://localhost:" + portOf(t, otherPort.URL),
		"one with a user in it":  "http://x:y@127.0.0.2:" + port,
	} {
		for asked, first := range map[string]http.Handler{"at once": redirects(to), "with a password": passwordFirst(redirects(to))} {
			t.Run(name+"/"+asked, func(t *testing.T) {
				srv := httptest.NewServer(first)
				defer srv.Close()
				err := Checkout(t.Context(), withLogin(v1alpha1.GitSource{URL: srv.URL + "/repo.git"}), t.TempDir())
				if err == nil || strings.Contains(err.Error(), testPassword) {
					t.Errorf("error is %v", err)
				}
				for _, l := range []*listening{evil, otherPort} {
					for _, got := range l.heard() {
						if got != "x:y" { // its own
							t.Errorf("another got %s", got)
						}
					}
				}
			})
		}
	}
	t.Run("a repository that was renamed", func(t *testing.T) {
		target, err := neturl.Parse(good)
		if err != nil {
			t.Fatal(err)
		}
		proxy := httputil.NewSingleHostReverseProxy(target)
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if rest, old := strings.CutPrefix(r.URL.RequestURI(), "/old.git"); old {
				http.Redirect(w, r, "/repo.git"+rest, http.StatusMovedPermanently)
				return
			}
			proxy.ServeHTTP(w, r)
		}))
		defer srv.Close()
		dir := t.TempDir()
		if err := Checkout(t.Context(), withLogin(v1alpha1.GitSource{URL: srv.URL + "/old.git"}), dir); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
			t.Error(err)
		}
	})
}

func portOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := neturl.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

func passwordFirst(then http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		then.ServeHTTP(w, r)
	})
}

// TestCredentialsOrigins: for whom credentials are, by the URL that they came with.
func TestCredentialsOrigins(t *testing.T) {
	for raw, want := range map[string]struct{ deny, allow string }{
		"https://git.example.com/a":     {"https://git.example.com", "https://git.example.com"},
		"https://git.example.com:444/a": {"https://git.example.com:444", "https://git.example.com:444"},
		"http://git.example.com/a":      {"https://git.example.com", "http://git.example.com https://git.example.com"},
		"http://git.example.com:81/a":   {"", "http://git.example.com:81"},
		"http://git:81/a":               {"http://git:81", "http://git:81"},
		"http://git.team.svc/a":         {"http://git.team.svc https://git.team.svc", "http://git.team.svc https://git.team.svc"},
		"http://127.0.0.1:81/a":         {"http://127.0.0.1:81", "http://127.0.0.1:81"},
	} {
		u, err := ParseURL(raw)
		if err != nil {
			t.Fatal(err)
		}
		for plain, want := range map[bool]string{false: want.deny, true: want.allow} {
			var got []string
			for _, o := range originsFor(u, plain) {
				got = append(got, o.String())
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s, plain %v: %q, want %q", raw, plain, got, want)
			}
		}
	}
}

// TestCredentialsInTheClear: what is not encrypted and not near is not told,
// unless the task says so. The name is one that only a proxy knows.
func TestCredentialsInTheClear(t *testing.T) {
	root, _ := newOrigin(t)
	target, err := neturl.Parse(serveGit(t, root))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.URL.Path = r.In.URL.Path }})
	defer proxy.Close()
	t.Setenv("http_proxy", proxy.URL)
	src := v1alpha1.GitSource{URL: "http://git.example.com/repo.git"}
	err = Checkout(t.Context(), withLogin(src), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "the credentials are for https://git.example.com, and were not sent") {
		t.Errorf("error is %v", err)
	}
	src.URL = "http://git.example.com:81/repo.git"
	if err = Checkout(t.Context(), withLogin(src), t.TempDir()); err == nil || !strings.Contains(err.Error(), "not sent by http") {
		t.Errorf("error is %v", err)
	}
	src.PlainHTTP = v1alpha1.PlainHTTPAllow
	if err = Checkout(t.Context(), withLogin(src), t.TempDir()); err != nil {
		t.Error(err)
	}
}

// A netrc of this machine is as little git's business as its settings.
func TestNoNetrc(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".netrc"), []byte("default login x password y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	l := listen(t, "127.0.0.1:0", http.NotFoundHandler())
	if err := Checkout(t.Context(), Repository{GitSource: v1alpha1.GitSource{URL: l.URL + "/repo.git"}}, t.TempDir()); err == nil {
		t.Error("there is nothing to check out")
	}
	if got := l.heard(); len(got) > 0 {
		t.Errorf("the server got %v", got)
	}
}

// TestNothingToCheckOut: a clone of nothing is an error that says what there is.
func TestNothingToCheckOut(t *testing.T) {
	root, _ := newOrigin(t)
	bare := func(name string, args ...string) string {
		dir := filepath.Join(root, name)
		gitOut(t, root, append([]string{"clone", "--quiet", "--bare", "repo.git", name}, args...)...)
		return dir
	}
	gitOut(t, bare("unborn.git"), "symbolic-ref", "HEAD", "refs/heads/master")
	many := bare("many.git")
	for i := range 30 {
		gitOut(t, many, "branch", fmt.Sprintf("b%02d", i), "main")
	}
	gitOut(t, many, "symbolic-ref", "HEAD", "refs/heads/master")
	gitOut(t, root, "init", "--quiet", "--bare", "empty.git")
	url := serveGit(t, root)
	for name, tc := range map[string]struct {
		src  v1alpha1.GitSource
		want string
	}{
		"a HEAD of no branch": {v1alpha1.GitSource{URL: url + "/unborn.git"}, "HEAD names a branch that is not there; set ref to one that is: main, older"},
		"many branches":       {v1alpha1.GitSource{URL: url + "/many.git", Depth: 1}, "b00, b01, b02, b03, b04, b05, b06, b07, b08, b09 and 22 more"},
		"a wrong ref":         {v1alpha1.GitSource{URL: url + "/many.git", Ref: "b99"}, "there are: b00, b01,"},
		"no commit":           {v1alpha1.GitSource{URL: url + "/empty.git"}, "the repository is empty"},
		"no commit, by name":  {v1alpha1.GitSource{URL: url + "/empty.git", Ref: "main"}, "has no branch and no tag"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Checkout(t.Context(), withLogin(tc.src), t.TempDir())
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
	dir := t.TempDir()
	if err := Checkout(t.Context(), withLogin(v1alpha1.GitSource{URL: url + "/unborn.git", Ref: "main"}), dir); err != nil {
		t.Error(err)
	}
}

// TestGitOutput: progress is told and is no part of an error; what a server says
// is.
func TestGitOutput(t *testing.T) {
	var told []string
	o := newGitOutput(func(s Step) { told = append(told, s.String()) })
	o.sometimes.Interval, o.sometimes.Every = 0, 1
	for _, piece := range []string{
		"remote: Enumerating objects: 5, done.\nremote: Counting obj", "ects:  20% (1/5)\rremote: Counting objects: 100% (5/5), done.\n",
		"Receiving objects:  45% (450/1000), 1.20 MiB | 500.00 KiB/s\r", "Resolving deltas: 100% (3/3), done.\n",
		"remote: \x1b[31mno such thing\x1b[0m\nfatal: ", "it is not there\n",
	} {
		if n, err := o.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
	}
	if want := "remote: \x1b[31mno such thing\x1b[0m\nfatal: it is not there"; o.String() != want {
		t.Errorf("words are %q, want %q", o.String(), want)
	}
	want := "checking out: counting objects 20%|checking out: counting objects 100%|checking out: receiving objects 45%, 1.20 MiB|checking out: resolving deltas 100%"
	if got := strings.Join(told, "|"); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if n, err := o.Write([]byte(strings.Repeat("x", 1<<20) + "\nend")); err != nil || n != 1<<20+4 || len(o.String()) > maxGitOutput || !strings.HasSuffix(o.String(), "end") {
		t.Errorf("%d bytes are kept: %v", len(o.String()), err)
	}
}
