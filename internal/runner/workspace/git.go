// Package workspace makes a workspace ready for an agent: it checks a repository
// out, before any tool has run, and keeps what outlives a pod.
package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/origin"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/text"
)

const (
	// cloneTimeout bounds the checkout of a repository.
	cloneTimeout = 10 * time.Minute
	// retryTimeout bounds how long a repository that cannot be reached is asked
	// again: longer than a server or the cluster's DNS takes to restart, and not so
	// long that a mistyped host name is a riddle.
	retryTimeout = time.Minute
)

// envGitOrigins tells the credential helper for whom the credentials are.
const envGitOrigins = "SAMPAN_GIT_ORIGINS"

// gitEnv is the whole environment of git: no key of a model, no configuration
// or credentials of this machine, no prompt, and no transport that runs a program.
func gitEnv(protocols string) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_ALLOW_PROTOCOL=" + protocols,
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "GIT_SSL_CAINFO"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// credentialHelper hands git the credentials from its environment, for an origin
// that they are for: they are in no argument and in no file. A server may send
// git to another host, which then asks for them.
const credentialHelper = `!f() { test "$1" = get || return 0; p= h=; ` +
	`while IFS= read -r l && test -n "$l"; do case "$l" in protocol=*) p=${l#*=};; host=*) h=${l#*=};; esac; done; ` +
	`for o in $` + envGitOrigins + `; do if test "$p://$h" = "$o"; then printf 'username=%s\npassword=%s\n' "$` +
	podapi.EnvGitUsername + `" "$` + podapi.EnvGitPassword + `"; return 0; fi; done; }; f`

// Repository is what to check out, and how.
type Repository struct {
	v1alpha1.GitSource
	User, Password string
	// Keep is where the repository is kept as it was before anybody else could write to
	// it, without its files; empty for nowhere. Checkout itself keeps none.
	Keep string
	// Progress is told how far it is; it may be nil.
	Progress func(Step)
}

// Checkout puts a repository into an empty workspace. It must run before any
// tool does: what lies in the workspace after is not to be trusted with git.
func Checkout(ctx context.Context, repo Repository, workspace string) error {
	ctx, cancel := context.WithTimeout(ctx, cloneTimeout)
	defer cancel()
	u, err := ParseURL(repo.URL)
	if err != nil {
		return fmt.Errorf("the URL of the repository %w", err)
	}
	if repo.Progress != nil {
		repo.Progress(Step{Source: describe(repo.GitSource)})
	}
	g := newGit(repo, u, workspace)
	err = g.fetch(ctx, repo.GitSource)
	if err == nil {
		return nil
	}
	return g.failed("checking out "+describe(repo.GitSource), err, repo.Password)
}

// failed says what could not be done and why, without the password.
func (g git) failed(what string, err error, password string) error {
	words := err.Error()
	if password != "" {
		words = strings.ReplaceAll(words, password, "[redacted]")
	}
	return fmt.Errorf("%s: %s", what, g.explain(text.OneLine(words)))
}

// newGit makes the git that fetches a repository. What is asked for by https is
// not taken from anywhere else; a first redirect is followed, as of a repository
// that was renamed.
func newGit(repo Repository, u *url.URL, workspace string) git {
	protocols := "http:https"
	if u.Scheme == "https" {
		protocols = "https"
	}
	g := git{
		dir: workspace, env: gitEnv(protocols), progress: repo.Progress,
		config: []string{"-c", "http.followRedirects=initial", "-c", "credential.helper="},
	}
	if repo.Password == "" {
		return g
	}
	g.origins = originsFor(u, repo.PlainHTTP == v1alpha1.PlainHTTPAllow)
	var spelled []string
	for _, o := range g.origins {
		g.config = append(g.config, "-c", "credential."+o.String()+".helper="+credentialHelper)
		spelled = append(spelled, o.String(), o.Scheme+"://"+net.JoinHostPort(o.Host, o.Port))
	}
	g.env = append(g.env, podapi.EnvGitUsername+"="+repo.User, podapi.EnvGitPassword+"="+repo.Password,
		envGitOrigins+"="+strings.Join(spelled, " "))
	return g
}

// originsFor says who may be told the credentials of a repository: its host, and
// by https if others could listen.
func originsFor(u *url.URL, plain bool) (origins []origin.Origin) {
	given, ok := origin.Of(u)
	if !ok {
		return nil
	}
	if plain || given.Confidential() {
		origins = append(origins, given)
	}
	if up, ok := given.Upgraded(); ok {
		origins = append(origins, up)
	}
	return origins
}

// explain adds what git's words leave open: it was asked for a name, and so a
// short commit id or refs/heads/… is not there either; and its credentials were
// not for whoever asked.
func (g git) explain(words string) string {
	switch {
	case missingRef.MatchString(words):
		return words + "; ref is the name of a branch or a tag, without refs/, or a full commit id"
	case strings.Contains(words, "not our ref"):
		return words + "; the server has no commit of that id, or gives none out that no branch or tag leads to"
	case strings.Contains(words, "could not read Username") && len(g.origins) > 0:
		return fmt.Sprintf("%s; the credentials are for %s, and were not sent there", words, g.origins[0])
	case strings.Contains(words, "could not read Username") && g.hasPassword():
		return words + "; credentials are not sent by http to a host that is outside of the cluster: use https, or set git.plainHTTP: Allow"
	}
	return words
}

func (g git) hasPassword() bool {
	return slices.ContainsFunc(g.env, func(kv string) bool { return strings.HasPrefix(kv, podapi.EnvGitPassword+"=") })
}

func describe(src v1alpha1.GitSource) string {
	if src.Ref == "" {
		return text.Inline(src.URL)
	}
	return text.Inline(src.URL + " at " + src.Ref)
}

// git runs git in one folder.
type git struct {
	dir    string
	env    []string
	config []string
	// origins are who may be told the credentials.
	origins  []origin.Origin
	progress func(Step)
}

// commitID tells a full commit from the name of a branch or tag.
var commitID = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

func (g git) fetch(ctx context.Context, src v1alpha1.GitSource) error {
	clone := []string{"clone", "--quiet", "--progress", "--no-recurse-submodules", "--config", "core.hooksPath=/dev/null"}
	if src.Depth > 0 {
		clone = append(clone, "--depth", strconv.Itoa(int(src.Depth)))
	}
	if !commitID.MatchString(src.Ref) {
		if src.Ref != "" {
			clone = append(clone, "--branch", src.Ref)
		}
		err := errors.Join(g.reach(ctx, append(clone, "--", src.URL, ".")...), g.finish(ctx))
		if err == nil {
			return g.born(ctx, src)
		}
		return g.withRefs(ctx, err, src)
	}
	if err := g.run(ctx, "init", "--quiet"); err != nil {
		return err
	}
	if err := g.run(ctx, "remote", "add", "origin", src.URL); err != nil {
		return err
	}
	fetch := []string{"fetch", "--quiet", "--progress", "--no-recurse-submodules"}
	if src.Depth > 0 {
		fetch = append(fetch, "--depth", strconv.Itoa(int(src.Depth)))
	}
	if err := g.reach(ctx, append(fetch, "origin", src.Ref)...); err != nil {
		return err
	}
	return g.run(ctx, "checkout", "--quiet", "--detach", src.Ref)
}

// finish takes back the one setting that was only for the clone.
func (g git) finish(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(g.dir, ".git")); err != nil {
		return nil // the clone failed and says so
	}
	return g.run(ctx, "config", "--unset", "core.hooksPath")
}

// passing matches what git says of a server that may answer a moment later. All
// else, such as a password or a branch that is wrong, stays wrong.
var passing = regexp.MustCompile(`(?i)name resolution|could not resolve|connection (refused|reset|timed out)|` +
	`failed to connect|couldn't connect|network is unreachable|no route to host|operation timed out|` +
	`early eof|unexpected disconnect|hung up unexpectedly|empty reply|returned error: (429|5\d\d)`)

// reach runs a git command that asks the server, again while that does not answer.
func (g git) reach(ctx context.Context, args ...string) error { return g.reachInto(ctx, nil, args...) }

// reachInto is reach, with a place for the last try's standard output.
func (g git) reachInto(ctx context.Context, stdout *head, args ...string) error {
	tries := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		tries++
		var err error
		if stdout == nil {
			err = g.run(ctx, args...)
		} else {
			stdout.buf.Reset()
			err = g.into(ctx, stdout, args...)
		}
		if err != nil && !passing.MatchString(err.Error()) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(retryTimeout), backoff.WithBackOff(newBackOff()))
	if err != nil && tries > 1 {
		err = fmt.Errorf("%w (tried %d times)", err, tries)
	}
	return err
}

func newBackOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 100*time.Millisecond, 5*time.Second
	return b
}

func (g git) run(ctx context.Context, args ...string) error { return g.into(ctx, nil, args...) }

// into runs git with another place for its standard output.
func (g git) into(ctx context.Context, stdout io.Writer, args ...string) error {
	return g.piped(ctx, nil, stdout, args...)
}

// piped runs git with something to read, too.
func (g git) piped(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", append(append([]string{"-c", "safe.directory=*", "-c", "advice.detachedHead=false"}, g.config...), args...)...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = g.dir, g.env, 5*time.Second
	// git's helpers end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out := newGitOutput(g.progress)
	cmd.Stdout, cmd.Stderr = out, out // one writer, which one goroutine feeds
	if stdout != nil {
		cmd.Stdout = stdout
	}
	cmd.Stdin = stdin
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("git %s: %w", args[0], context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, out)
	}
	return nil
}

// IsEmpty reports whether a folder has nothing in it.
func IsEmpty(dir string) (bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	names, err := f.Readdirnames(1)
	closeErr := f.Close()
	if len(names) > 0 {
		return false, closeErr
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return true, closeErr
}
