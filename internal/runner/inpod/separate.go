package inpod

import (
	"context"
	"errors"

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
// else of the agent's. Nobody is let in beside them.
func (p *Runner) restoreSealed(ctx context.Context, sb *v1alpha1.Sandbox, j *recorded.Journal) (*harness.Restored, error) {
	p.guests.close(errProving)
	if !podapi.Checkpointed(sb) {
		return nil, errors.New("no checkpoint is taken of this Sandbox's workspace, and isolation Separate needs one")
	}
	restored, err := j.RestoreSealed(ctx, foldersOf(sb))
	if err != nil {
		return nil, err
	}
	p.prepared, p.base = true, j.Base()
	return restored, nil
}
