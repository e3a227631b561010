package sandbox

import (
	"fmt"
	"slices"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// modelsOf are those candidates that the pod asks: none where it only verifies.
func modelsOf(in *podspec.Input, candidates []models.Candidate) []models.Candidate {
	if in.Verifying {
		return nil
	}
	return candidates
}

// isolationProblem says why no pod without anything of the agent's but the files of the
// workspace can come after this one, where a verify command of the task asks for one.
func isolationProblem(in *podspec.Input, task *v1alpha1.AgentTask) *problem {
	i := slices.IndexFunc(task.Spec.Verify, func(v v1alpha1.Verification) bool { return v.Isolation == v1alpha1.VerificationSeparate })
	if i < 0 {
		return nil
	}
	why := ""
	switch volume := podspec.OutlivesPod(&in.Sandbox.Spec.Template); {
	case in.Record == nil:
		why = "needs a checkpoint of the workspace, and this cluster keeps no record: see the flag --record of the manager"
	case volume != "":
		why = fmt.Sprintf("cannot be had: tools can write to the volume %s, which outlives the pod; make it readOnly", volume)
	default:
		return nil
	}
	return &problem{reason: v1alpha1.ReasonIsolationUnavailable, message: fmt.Sprintf("spec.verify[%d].isolation: Separate %s", i, why)}
}
