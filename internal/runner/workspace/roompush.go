package workspace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/text"
)

// pushTimeout bounds a push, with all that is asked before and after.
const pushTimeout = 5 * time.Minute

// Push is what to push, and as whom.
type Push struct {
	Commit string
	// Branch is its name, without refs/heads/.
	Branch string
	// Earlier are commits that the same task has pushed there: what may be replaced.
	Earlier        []string
	User, Password string
}

// Push pushes a commit to a branch that is not there, or that is one of Earlier, and
// nowhere else. It succeeds when the server then says that the branch is that commit,
// also when it was before.
func (r *Room) Push(ctx context.Context, p Push) error {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	g, err := r.remote(p.User, p.Password)
	if err != nil {
		return err
	}
	// What is pushed goes to nobody whom the server names.
	g.config = append(g.config, "-c", "http.followRedirects=false")
	if err := g.push(ctx, r.repo.URL, p); err != nil {
		return g.failed(fmt.Sprintf("pushing to the branch %s of %s", p.Branch, text.Inline(r.repo.URL)), err, p.Password)
	}
	return nil
}

func (g git) push(ctx context.Context, url string, p Push) error {
	ref := "refs/heads/" + p.Branch
	if err := g.run(ctx, "check-ref-format", ref); err != nil {
		return fmt.Errorf("%q cannot be the name of a branch", p.Branch)
	}
	was, err := g.remoteRef(ctx, url, ref)
	switch {
	case err != nil:
		return err
	case was == p.Commit:
		return nil
	case was != "" && !slices.Contains(p.Earlier, was):
		return fmt.Errorf("the branch is there and is at %s, which this task has not pushed; remove it, or name another", was)
	}
	err = g.reach(ctx, "push", "--quiet", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", "--no-signed",
		"--force-with-lease="+ref+":"+was, "--", url, p.Commit+":"+ref)
	now, readErr := g.remoteRef(ctx, url, ref)
	switch {
	case readErr == nil && now == p.Commit: // also where the answer to the push was lost
		return nil
	case err != nil:
		return err
	case readErr != nil:
		return fmt.Errorf("reading the branch back: %w", readErr)
	case now == "":
		return errors.New("the branch was not there when it was read back")
	}
	return fmt.Errorf("the branch was at %s when it was read back: somebody else has moved it", now)
}

// remoteRef gives what a server has for a ref, empty for none.
func (g git) remoteRef(ctx context.Context, url, ref string) (string, error) {
	list := head{max: maxRefList}
	if err := g.reachInto(ctx, &list, "ls-remote", "--quiet", "--", url, ref); err != nil {
		return "", err
	}
	for line := range strings.Lines(list.buf.String()) {
		commit, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if name == ref && commitID.MatchString(commit) { // it lists all that end so
			return commit, nil
		}
	}
	return "", nil
}
