package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/runner/outputs"
	"github.com/sampan-dev/sampan/internal/runner/workspace"
)

// takeOutputs writes what the task leaves to OutputDir, once nothing of the run is left.
func (l Runner) takeOutputs(ctx context.Context, at *v1alpha1.AgentTask, p *place, res harness.Result) {
	if !l.leavesOutputs(at, res) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, v1alpha1.OutputsSeconds*time.Second)
	defer cancel()
	t := outputs.Taker{
		Workspace: l.Workspace, Task: at.Name, Attempt: 1, Proven: res.Reason == harness.Completed, End: res.Progress.Time,
		Store: outputs.InFolder{Dir: l.OutputDir},
		Room: func(ctx context.Context) (*workspace.Room, error) {
			if p.repo.Keep == "" && p.base == "" {
				return nil, errors.New("the repository was not checked out by this run: use git diff in the workspace")
			}
			if p.repo.Keep == "" { // it was checked out by an earlier process, or by another task
				if _, err := keepBeside(&p.repo); err != nil {
					return nil, err
				}
			}
			return workspace.OpenRoom(ctx, p.repo.Keep, p.repo, p.base)
		},
	}
	if p.journal.EndedElsewhere(res, p.restored) {
		t.Lost = errors.New("the run has ended in another workspace than that of its last checkpoint")
	}
	if l.SandboxSocket != "" {
		t.Refuse = errors.New("the workspace is the sandbox server's: give one by --workspace")
	}
	taken := t.Take(ctx, at.Spec.Outputs)
	if l.Outputs != nil {
		l.Outputs(taken)
	}
}

// leavesOutputs tells whether a run has come to an end that its outputs are taken at.
func (l Runner) leavesOutputs(at *v1alpha1.AgentTask, res harness.Result) bool {
	return l.OutputDir != "" && len(at.Spec.Outputs) > 0 && res.Reason != harness.Cancelled
}

// checkoutKeeping checks a repository out so that a patch can be made of the workspace.
func checkoutKeeping(ctx context.Context, repo *workspace.Repository, dir string) error {
	private, err := keepBeside(repo)
	if err != nil {
		return err
	}
	return workspace.CheckoutBeside(ctx, *repo, filepath.Join(private, "checkout"), dir)
}

// keepBeside has a repository be kept in a new folder, which it gives.
func keepBeside(repo *workspace.Repository) (private string, err error) {
	private, err = os.MkdirTemp("", "sampan-repository-")
	if err == nil {
		repo.Keep = filepath.Join(private, "repository.git")
	}
	return private, err
}

// removeKept removes what keepBeside has made.
func removeKept(repo workspace.Repository) error {
	if repo.Keep == "" {
		return nil
	}
	return os.RemoveAll(filepath.Dir(repo.Keep))
}
