package inpod

import (
	"context"
	"os"
	"path/filepath"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/runner/workspace"
)

// prepare checks out the workspace, once per pod, or once for all pods of a
// persistent one: after tools have run, git is not trusted there any more. It
// reports whether no tool can have run yet.
func (p *Runner) prepare(ctx context.Context, sb *v1alpha1.Sandbox, rep *reporter) (preTool bool, err error) {
	select {
	case p.preparing <- struct{}{}:
		defer func() { <-p.preparing }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := p.bring(ctx, sb); err != nil {
		return false, err
	}
	if p.keeping.restored && !p.prepared {
		p.prepared, p.base = true, p.keeping.bench.Base()
	}
	if p.prepared {
		p.ready.Store(true)
		return false, nil
	}
	private := filepath.Join(podapi.StateDir, "checkout")
	repo := p.repository(sb, rep)
	switch {
	case podapi.Persistent(sb):
		w := workspace.Persistent{Dir: podapi.WorkspaceDir, RecordDir: podapi.RecordDir, PrivateDir: private}
		preTool, err = w.Prepare(ctx, repo)
		p.base = w.Base()
	case repo.URL != "":
		err = workspace.CheckoutBeside(ctx, repo, private, podapi.WorkspaceDir)
		preTool = err == nil
		p.base = workspace.Head(ctx, repo.Keep)
	default:
		preTool = true
	}
	p.prepared = err == nil
	p.ready.Store(p.prepared)
	return preTool, err
}

// repository is what to check out, for a task if there is one.
func (p *Runner) repository(sb *v1alpha1.Sandbox, rep *reporter) workspace.Repository {
	git := sb.Spec.Template.Workspace.Git
	if rep != nil {
		git = podapi.Repository(git, rep.task)
	}
	user, password := p.gitCredentials(sb, git)
	return workspace.Repository{
		GitSource: git, User: user, Password: password,
		Keep: filepath.Join(podapi.StateDir, "repository.git"), Progress: checkoutReport(rep),
	}
}

// gitCredentials are those that the pod has, which are of the Secret that its template
// names, for a repository that is to have the same.
func (p *Runner) gitCredentials(sb *v1alpha1.Sandbox, git v1alpha1.GitSource) (user, password string) {
	if git.CredentialsSecretRef != sb.Spec.Template.Workspace.Git.CredentialsSecretRef {
		return "", ""
	}
	return os.Getenv(podapi.EnvGitUsername), p.env.Get(podapi.EnvGitPassword)
}

// checkoutReport tells a task how far its checkout is; there may be no task.
func checkoutReport(rep *reporter) func(workspace.Step) {
	if rep == nil {
		return nil
	}
	return runner.ReportCheckout(rep.progress)
}
