package outputs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/runner/workspace"
)

// Whom commits are by where the task does not say it.
const (
	authorName  = "Sampan"
	authorEmail = "noreply@sampan.dev"
)

const (
	maxBranchContent = 16 << 10
	// maxEarlier is how many commits a task is known to have pushed to one branch.
	maxEarlier = 32
)

// branchContent is what the record has of a branch.
type branchContent struct {
	Ref    string `json:"ref"`
	Commit string `json:"commit"`
	// Pushed: the repository has confirmed it. It is false while that is tried.
	Pushed bool `json:"pushed"`
	// Earlier are other commits that may have been pushed there before.
	Earlier []string `json:"earlier,omitempty"`
}

func (t *Taker) branch(ctx context.Context, n int, o v1alpha1.Output, st *v1alpha1.OutputStatus) error {
	b := o.Branch
	switch {
	case t.Push == nil:
		return errors.New("nothing is pushed from here: take a patch")
	case !t.Proven && b.Unproven != v1alpha1.UnprovenPushAllow:
		return errors.New("the run did not succeed; set branch.unproven: Allow to push such work, too")
	}
	ref, err := expand(b.Ref, t.Task, t.Namespace)
	if err != nil {
		return err
	}
	if err := t.open(ctx); err != nil {
		return err
	}
	changed, err := t.room.Changed(ctx, t.snapshot)
	if err != nil {
		return err
	}
	if !changed {
		return errors.New("there is nothing to push: no file differs from the commit that was checked out")
	}
	commit, err := t.room.Commit(ctx, t.snapshot, workspace.CommitInfo{
		Name: cmp.Or(b.Author.Name, authorName), Email: cmp.Or(b.Author.Email, authorEmail), Time: t.End, Message: cmp.Or(b.Message, t.Task),
	})
	if err != nil {
		return err
	}
	content := branchContent{Ref: ref, Commit: commit}
	if content.Earlier, err = t.pushedBefore(ctx, o.Name, ref, commit); err != nil {
		return err
	}
	// The record tells of a push before it is made: after a crash its commit is known.
	if err := t.putBranch(ctx, o.Name, content, st); err != nil {
		return err
	}
	user, password := t.Push(n)
	if err := t.room.Push(ctx, workspace.Push{Commit: commit, Branch: ref, Earlier: content.Earlier, User: user, Password: password}); err != nil {
		return err
	}
	st.Ref, st.Commit, st.Message = ref, commit, leaves(t.left)
	content.Pushed = true
	return t.putBranch(ctx, o.Name, content, st)
}

func (t *Taker) putBranch(ctx context.Context, name string, c branchContent, st *v1alpha1.OutputStatus) error {
	if t.Store == nil {
		return nil
	}
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return t.put(ctx, name, typeBranch, ".json", st, func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
}

// pushedBefore gives the commits, other than this one, that the task may have pushed to a
// branch, as the record and the status know it.
func (t *Taker) pushedBefore(ctx context.Context, name, ref, commit string) ([]string, error) {
	var earlier []string
	for _, b := range t.Before {
		if b.Name == name && b.Ref == ref && b.Commit != "" {
			earlier = append(earlier, b.Commit)
		}
	}
	if t.Store != nil {
		data, err := t.Store.Earlier(ctx, name, maxBranchContent)
		if err != nil {
			return nil, err
		}
		var was branchContent
		if json.Unmarshal(data, &was) == nil && was.Ref == ref {
			earlier = append(append(earlier, was.Earlier...), was.Commit)
		}
	}
	seen := map[string]bool{commit: true}
	earlier = slices.DeleteFunc(earlier, func(c string) bool {
		again := seen[c]
		seen[c] = true
		return again
	})
	return earlier[max(0, len(earlier)-maxEarlier):], nil
}

// branchName is what a branch may be called here: nothing in it means anything to git.
var branchName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$`)

// expand gives the name of the branch.
func expand(ref, task, namespace string) (string, error) {
	name := strings.NewReplacer("{{task}}", task, "{{namespace}}", namespace).Replace(ref)
	if !branchName.MatchString(name) || strings.HasPrefix(name, "refs/") {
		return "", fmt.Errorf("branch.ref gives %q, which is no name of a branch; {{task}} and {{namespace}} may stand in it", name)
	}
	return name, nil
}
