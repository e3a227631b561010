package workspace

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/text"
)

const (
	// maxRefs is how many branches and tags an error names.
	maxRefs = 10
	// maxRefList is how much of a server's list of them is looked at.
	maxRefList = 64 << 10
)

// missingRef is what git says of a name that the server does not have.
var missingRef = regexp.MustCompile(`Remote branch .* not found`)

// born makes sure that a clone has a commit: git takes a repository whose HEAD
// names no branch, or that has none at all, for a clone of nothing.
func (g git) born(ctx context.Context, src v1alpha1.GitSource) error {
	if g.run(ctx, "rev-parse", "--verify", "--quiet", "HEAD^{commit}") == nil {
		return nil
	}
	branches, err := g.refs(ctx, src.URL, "refs/heads/")
	switch {
	case err != nil:
		return err
	case len(branches) == 0:
		return errors.New("the repository is empty: it has no branch that could be checked out; push one first")
	}
	return fmt.Errorf("the repository's HEAD names a branch that is not there; set ref to one that is: %s", listed(branches))
}

// withRefs adds to the error of a name that is not there the names that are.
func (g git) withRefs(ctx context.Context, err error, src v1alpha1.GitSource) error {
	if !missingRef.MatchString(err.Error()) {
		return err
	}
	names, listErr := g.refs(ctx, src.URL, "refs/heads/", "refs/tags/")
	switch {
	case listErr != nil:
		return err // it says enough
	case len(names) == 0:
		return fmt.Errorf("%w; the repository has no branch and no tag", err)
	}
	return fmt.Errorf("%w; there are: %s", err, listed(names))
}

// refs gives the names of what a server has below some prefixes.
func (g git) refs(ctx context.Context, url string, prefixes ...string) ([]string, error) {
	list := head{max: maxRefList}
	if err := g.into(ctx, &list, "ls-remote", "--quiet", "--heads", "--tags", "--refs", "--", url); err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(list.buf.String()) {
		_, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
		for _, prefix := range prefixes {
			if name, found := strings.CutPrefix(ref, prefix); found {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// listed gives some of many names.
func listed(names []string) string {
	more := ""
	if n := len(names) - maxRefs; n > 0 {
		names, more = names[:maxRefs], fmt.Sprintf(" and %d more", n)
	}
	shown := make([]string, len(names))
	for i, name := range names {
		shown[i] = text.Clip(text.Inline(name), 100)
	}
	return strings.Join(shown, ", ") + more
}
