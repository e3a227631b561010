package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
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

// maxGitOutput is how much of git's own words goes into an error.
const maxGitOutput = 1024

// gitEnv is the whole environment of git: no key of a model, no configuration
// of this machine, no prompt, and no transport that runs a program.
func gitEnv(user, password string) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_ALLOW_PROTOCOL=http:https:git", "GIT_ASKPASS=/bin/false",
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	if password != "" {
		env = append(env, podspec.EnvGitUsername+"="+user, podspec.EnvGitPassword+"="+password)
	}
	return env
}

// credentialHelper hands git the credentials from its environment: they are in
// no argument and in no file.
const credentialHelper = `!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$` +
	podspec.EnvGitUsername + `" "$` + podspec.EnvGitPassword + `"; }; f`

// checkout puts a repository into an empty workspace. It must run before any
// tool does: what lies in the workspace after is not to be trusted with git.
func checkout(ctx context.Context, src v1alpha1.GitSource, workspace, user, password string) error {
	ctx, cancel := context.WithTimeout(ctx, cloneTimeout)
	defer cancel()
	g := git{dir: workspace, env: gitEnv(user, password)}
	if password != "" {
		g.config = []string{"-c", "credential.helper=", "-c", "credential.helper=" + credentialHelper}
	}
	err := g.fetch(ctx, src)
	if err == nil {
		return nil
	}
	words := err.Error()
	if password != "" {
		words = strings.ReplaceAll(words, password, "[redacted]")
	}
	return fmt.Errorf("checking out %s: %s", describe(src), explain(text.OneLine(words)))
}

// explain adds what git's words for a ref that is not there leave open: it was
// asked for a name, and so a short commit id or refs/heads/… is not there either.
func explain(words string) string {
	if strings.Contains(words, "Remote branch ") && strings.Contains(words, " not found") {
		words += "; ref is the name of a branch or a tag, without refs/, or a full commit id"
	}
	return words
}

func describe(src v1alpha1.GitSource) string {
	if src.Ref == "" {
		return src.URL
	}
	return src.URL + " at " + src.Ref
}

// git runs git in one folder.
type git struct {
	dir    string
	env    []string
	config []string
}

// commitID tells a full commit from the name of a branch or tag.
var commitID = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

func (g git) fetch(ctx context.Context, src v1alpha1.GitSource) error {
	clone := []string{"clone", "--quiet", "--no-recurse-submodules", "--config", "core.hooksPath=/dev/null"}
	if src.Depth > 0 {
		clone = append(clone, "--depth", strconv.Itoa(int(src.Depth)))
	}
	if !commitID.MatchString(src.Ref) {
		if src.Ref != "" {
			clone = append(clone, "--branch", src.Ref)
		}
		return errors.Join(g.reach(ctx, append(clone, "--", src.URL, ".")...), g.finish(ctx))
	}
	if err := g.run(ctx, "init", "--quiet"); err != nil {
		return err
	}
	if err := g.run(ctx, "remote", "add", "origin", src.URL); err != nil {
		return err
	}
	fetch := []string{"fetch", "--quiet", "--no-recurse-submodules"}
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
func (g git) reach(ctx context.Context, args ...string) error {
	tries := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		tries++
		err := g.run(ctx, args...)
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

func (g git) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", append(append([]string{"-c", "safe.directory=*", "-c", "advice.detachedHead=false"}, g.config...), args...)...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = g.dir, g.env, 5*time.Second
	// git's helpers end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &tail{buf: &out}, &tail{buf: &out}
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("git %s: %w", args[0], context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(out.String()))
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct{ buf *bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if over := t.buf.Len() - maxGitOutput; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

// empty reports whether a folder has nothing in it.
func empty(dir string) (bool, error) {
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
