package recorded

import (
	"context"
	"errors"
	"fmt"

	"github.com/sampan-dev/sampan/internal/harness"
)

// RestoreSealed builds the workspace that Separate verifications are to run on, as it was
// when the run was handed over, in a folder that is empty. It builds no home, and nothing
// takes checkpoints of what becomes of it. Where an earlier process has sent the agent back,
// there is nothing to build.
func (j *Journal) RestoreSealed(ctx context.Context, in Folders) (*harness.Restored, error) {
	if j.Standing.Pending == "" && !j.Standing.Ended {
		return nil, nil
	}
	if err := j.sealed(); err != nil {
		return nil, err
	}
	in.Home = ""
	_, restored, err := j.Restore(ctx, in, j.Base)
	if err != nil {
		return nil, fmt.Errorf("restoring the workspace to verify: %w", err)
	}
	return restored, nil
}

// sealed fails unless the last checkpoint is of the workspace that was handed over. After the
// end of the run, of which only the outputs may be missing, it is the last one in any case.
func (j *Journal) sealed() error {
	switch want := j.Standing.Pending; {
	case j.latest == nil:
		return errors.New("the record has no checkpoint of the workspace to verify")
	case want != "" && j.latest.Workspace() != want:
		return fmt.Errorf("the checkpoint of turn %d has the workspace %s, and the one to verify is %s", j.latest.Turn, j.latest.Workspace(), want)
	}
	return nil
}
