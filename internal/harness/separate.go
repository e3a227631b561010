package harness

import (
	"context"
	"fmt"
	"slices"

	"github.com/sampan-dev/sampan/internal/transcript"
)

// Separate verifications take two processes. The one with the agent comes to the end
// VerificationPending, which is in the transcript with the digest of the workspace. The other
// has that workspace, in a sandbox where the agent never was. It ends as Completed, or as
// VerificationRejected, after which a process with the agent goes on.

// bySeparation parts verifications, each in their order.
func bySeparation(all []Verification) (shared, separate []Verification) {
	for _, v := range all {
		if v.Separate {
			separate = append(separate, v)
		} else {
			shared = append(shared, v)
		}
	}
	return shared, separate
}

// separateLast puts verifications in the order in which they run.
func separateLast(all []Verification) []Verification {
	shared, separate := bySeparation(all)
	return slices.Concat(shared, separate)
}

// handOver ends the agent's part: the workspace is kept as it is, for others to verify.
func (r *run) handOver(ctx context.Context, separate []Verification) error {
	if err := r.log.sync(PhaseVerifying, "keeping the workspace for verification: "+separate[0].Name); err != nil {
		return err
	}
	if r.cfg.Checkpoints == nil {
		return unsealed(separate[0], "no checkpoint is taken of it")
	}
	if err := r.checks.alone(ctx); err != nil {
		return err
	}
	digest, why, err := r.cfg.Checkpoints.Seal(ctx, r.log.state.progress.Turns, r.log.synced)
	switch {
	case ctx.Err() != nil:
		return stopFromContext(ctx)
	case err != nil:
		return stopf(Internal, "The workspace could not be kept: %v", err)
	case why != "":
		return unsealed(separate[0], why)
	}
	return &stop{
		reason: VerificationPending, checkpoint: digest,
		message: fmt.Sprintf("The agent is done; verification %q and those after it run in a new sandbox.", separate[0].Name),
	}
}

func unsealed(v Verification, why string) *stop {
	return stopf(VerificationFailed, "Verification %q needs a checkpoint of the workspace: %s.", v.Name, why)
}

// over is the end that this process finds and has nothing to do after; nil if it has.
func (r *run) over() *transcript.RunEnded {
	ended, pending := r.log.state.ended, r.log.state.pending
	switch {
	case ended != nil && !resumable(ended):
		return ended
	case !r.cfg.Verifying:
		return pending
	case pending == nil && r.cfg.Resume.Events() > 0: // perhaps by an earlier process that could not say so
		return &transcript.RunEnded{Reason: string(VerificationRejected), Message: rejectedMessage}
	}
	return nil
}

const rejectedMessage = "A verification failed in a new sandbox; the agent goes on."

// verifySeparately runs the verifications that the agent's process has left. No proof of an
// earlier one that did not come to its end counts.
func (r *run) verifySeparately(ctx context.Context, cancel context.CancelCauseFunc) error {
	last := r.log.state.pendingReply()
	if r.log.state.pending == nil || last == nil {
		return stopf(Internal, "There is no run to verify.")
	}
	r.tools.open()
	if err := r.takeUp(); err != nil {
		return err
	}
	if err := r.checkExecutor(); err != nil {
		return err
	}
	defer r.keepDeadline(cancel)()
	if end := r.ready(ctx); end != nil {
		return end
	}
	_, separate := bySeparation(r.cfg.Task.Verify)
	for _, v := range separate {
		passed, err := r.prove(ctx, v)
		if err != nil {
			return err
		}
		if !passed {
			return &stop{reason: VerificationRejected, message: rejectedMessage}
		}
	}
	return completed(last)
}
