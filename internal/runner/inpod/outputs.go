package inpod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/runner/outputs"
	"github.com/sampan-dev/sampan/internal/runner/recorded"
	"github.com/sampan-dev/sampan/internal/runner/workspace"
)

// leavesOutputs tells whether a run has come to an end that its outputs are taken at. One
// that was stopped goes on or is not wanted, one without its sandbox is tried again, and one
// that is handed over has not ended.
func leavesOutputs(at *v1alpha1.AgentTask, res harness.Result) bool {
	goesOn := []harness.End{harness.Cancelled, harness.SandboxLost, harness.VerificationPending, harness.VerificationRejected}
	return len(at.Spec.Outputs) > 0 && !slices.Contains(goesOn, res.Reason)
}

// leave takes the outputs of a run, and gives its result. Where the runner is told to stop
// meanwhile and the run is recorded, it has not come to its end yet: another pod finds
// the end in the record, and the workspace of it, and takes them.
func (p *Runner) leave(ctx context.Context, sb *v1alpha1.Sandbox, rep *reporter, j *recorded.Journal, res harness.Result, lost error) harness.Result {
	return settle(ctx, j, rep, res, p.takeOutputs(ctx, sb, rep, j, res, lost))
}

// errLostWorkspace: what the run had proved was in another workspace than this one.
var errLostWorkspace = errors.New("the workspace was lost with the pod in which the run ended")

// lostWorkspace says whether a run that had ended before did so in another workspace than
// this attempt has. That of a named Sandbox has been free since for whoever has a right
// to it.
func lostWorkspace(sb *v1alpha1.Sandbox, told, elsewhere bool) error {
	if told && podapi.OwnerTask(sb) == nil {
		return errLostWorkspace
	}
	if !elsewhere || podapi.Persistent(sb) {
		return nil
	}
	return errLostWorkspace
}

func settle(ctx context.Context, j *recorded.Journal, rep *reporter, res harness.Result, taken []v1alpha1.OutputStatus) harness.Result {
	if ctx.Err() == nil || j.Recorder() == nil || errors.Is(context.Cause(ctx), errCancelled) {
		rep.left(taken)
		return res
	}
	stopped := harness.Stopped(ctx)
	stopped.Progress, stopped.Transcript = res.Progress, res.Transcript
	return stopped
}

// takeOutputs takes what the task leaves, after whatever tools have left running was ended.
func (p *Runner) takeOutputs(ctx context.Context, sb *v1alpha1.Sandbox, rep *reporter, j *recorded.Journal, res harness.Result, lost error) []v1alpha1.OutputStatus {
	ctx, cancel := context.WithTimeoutCause(ctx, v1alpha1.OutputsSeconds*time.Second,
		fmt.Errorf("it took more than %d seconds", v1alpha1.OutputsSeconds))
	defer cancel()
	at := rep.task
	rep.waiting("taking the outputs")
	defer rep.waiting("")
	t := outputs.Taker{
		Workspace: podapi.WorkspaceDir, Task: at.Name, Namespace: at.Namespace, Attempt: at.Status.Attempt,
		Proven: res.Reason == harness.Completed, End: res.Progress.Time, Before: at.Status.Outputs,
		Room: func(ctx context.Context) (*workspace.Room, error) {
			repo := p.repository(sb, rep)
			if repo.URL == "" {
				return nil, errors.New("the Sandbox has no repository: set workspace.git in its template")
			}
			return workspace.OpenRoom(ctx, repo.Keep, repo, p.base)
		},
		Lost: lost,
		Push: func(n int) (user, password string) { return p.pusher(sb, at, n) },
	}
	if j.Recorder() != nil {
		t.Store = outputs.InRecord{Recorder: j.Recorder()}
		t.Again = j.Told(res)
	}
	if err := p.empty(ctx); err != nil {
		t.Refuse = err
	}
	return t.Take(ctx, at.Spec.Outputs)
}

// pusher gives the credentials to push an output with: its own, or those that the
// repository was checked out with.
func (p *Runner) pusher(sb *v1alpha1.Sandbox, at *v1alpha1.AgentTask, n int) (user, password string) {
	if o := at.Spec.Outputs[n]; o.Branch.CredentialsSecretRef.Name != "" {
		return os.Getenv(podapi.PushUsername(n)), p.env.Get(podapi.PushPassword(n))
	}
	return p.gitCredentials(sb, podapi.Repository(sb.Spec.Template.Workspace.Git, at))
}
