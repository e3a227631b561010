package inpod

import (
	"context"
	"errors"
	"fmt"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/runner/recorded"
)

// verifying reports whether this pod is there for Separate verifications alone. The
// operator has made it without what an agent needs, such as the keys of models.
func verifying(at *v1alpha1.AgentTask) bool {
	return at.Status.AttemptKind == v1alpha1.AttemptVerification
}

// restoreSealed builds the workspace that Separate verifications are to run on, and nothing
// else of the agent's: not its home. No checkpoint is taken of what they do to it.
func (p *Runner) restoreSealed(ctx context.Context, sb *v1alpha1.Sandbox, j *recorded.Journal) (*recorded.Keeper, *harness.Restored, error) {
	if !podapi.Checkpointed(sb) {
		return nil, nil, errors.New("no checkpoint is taken of this Sandbox's workspace, and isolation Separate needs one")
	}
	p.prepared, p.base = true, j.Base()
	if j.Standing.Pending == "" && !j.Standing.Ended {
		return nil, nil, nil // an earlier pod has sent the agent back, and could not say so
	}
	if err := j.Sealed(); err != nil {
		return nil, nil, err
	}
	folders := foldersOf(sb)
	folders.Home = ""
	_, restored, err := j.Restore(ctx, folders, func() string { return p.base })
	if err != nil {
		return nil, nil, fmt.Errorf("restoring the workspace to verify: %w", err)
	}
	return nil, restored, nil
}
