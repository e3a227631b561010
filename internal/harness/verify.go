package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/transcript"
)

const (
	// verifyOutput is how much of a verification's output the model gets.
	verifyOutput = 8 << 10
	// verifyMessage is how much of it the result keeps.
	verifyMessage = 1 << 10
	// maxIdleClaims is how often in a row the model may call a failing task
	// done without touching anything.
	maxIdleClaims = 3
)

// conclude checks a model that says it is done. It is the only way to
// Completed: the model finished by itself and every verification exited 0.
func (r *run) conclude(ctx context.Context, resp *llm.Response) error {
	if ctx.Err() != nil {
		return stopFromContext(ctx) // the reply came in while the run was being stopped
	}
	if err := r.kept(ctx); err != nil {
		return err
	}
	if end := r.ready(ctx); end != nil {
		return end
	}
	shared, separate := bySeparation(r.cfg.Task.Verify)
	for _, v := range shared {
		passed, err := r.prove(ctx, v)
		if err != nil || !passed {
			return err
		}
	}
	if len(separate) > 0 {
		return r.handOver(ctx, separate)
	}
	return completed(resp)
}

// completed is the end of a run whose verifications have all passed.
func completed(last *llm.Response) *stop {
	return &stop{reason: Completed, message: strings.TrimSpace(last.Message.Content)}
}

// prove runs a verification. The model is told of one that failed.
func (r *run) prove(ctx context.Context, v Verification) (passed bool, err error) {
	if err := r.log.sync(PhaseVerifying, "verifying: "+v.Name); err != nil {
		return false, err
	}
	result, err := r.checks.verify(ctx, v)
	if err != nil {
		return false, err
	}
	if !result.Passed {
		return false, r.rejectCompletion(v, result)
	}
	return true, nil
}

// ready waits for the sandbox before it is needed for the first time: to run a
// tool, or to call a run that needed none a success. It is no part of a tool
// call, whose time limit is not for a container that still starts.
func (r *run) ready(ctx context.Context) *stop {
	if r.cfg.Ready == nil || r.isReady {
		return nil
	}
	err := r.cfg.Ready(ctx)
	switch {
	case ctx.Err() != nil:
		return stopFromContext(ctx)
	case err != nil:
		return stopf(SandboxLost, "The sandbox is not there: %v", err)
	}
	r.isReady = true
	return nil
}

// rejectCompletion tells the model that it is not done.
func (r *run) rejectCompletion(v Verification, result *transcript.Verification) error {
	if claims := r.log.state.idleClaims + 1; claims > maxIdleClaims {
		return stopf(VerificationFailed, "Verification %q failed, and the model called the task done %d times without another tool call.",
			v.Name, claims)
	}
	where := ""
	if v.Separate {
		where = "It ran in a new sandbox, with the files of the workspace, and without anything else that you left or installed. "
	}
	words := fmt.Sprintf("[harness] The task is not done yet: verification %q failed (%s).\n$ %s\n%s\n%sFix the cause, then answer again.",
		v.Name, howItEnded(result), v.Command, result.Output, where)
	if err := r.log.notice(transcript.NoticeVerificationFailed, words); err != nil {
		return err
	}
	return r.think()
}

func howItEnded(v *transcript.Verification) string {
	if v.ExitCode != nil {
		return fmt.Sprintf("exit code %d", *v.ExitCode)
	}
	return "it did not exit by itself"
}

// verifier runs the commands that have to exit 0.
type verifier struct {
	log      *journal
	executor Executor
	clock    Clock
}

// verify runs one command and records how it went.
func (r *verifier) verify(ctx context.Context, v Verification) (*transcript.Verification, error) {
	timeout := v.Timeout
	if timeout <= 0 {
		timeout = DefaultVerifyTimeout
	}
	began := r.clock.Now()
	got, err := r.exec(ctx, v, timeout)
	switch {
	case ctx.Err() != nil:
		return nil, r.unverified(v.Name, "Stopped before it came to an end.", stopFromContext(ctx))
	case errors.Is(err, tool.ErrNotIsolated):
		// What it then said would prove nothing.
		return nil, r.unverified(v.Name, "Not run: the sandbox could not be made safe for it.",
			stopf(SandboxLost, "Verification %q was not run: %v", v.Name, err))
	case errors.Is(err, tool.ErrExecutorGone):
		return nil, r.unverified(v.Name, "The sandbox went away.",
			stopf(SandboxLost, "The sandbox went away during verification %q: %v", v.Name, err))
	case err != nil:
		// The executor is there: another process, or a file less, and it may work.
		got = &tool.ExecResult{Stderr: []byte("The command could not be run: " + err.Error())}
	}
	result := &transcript.Verification{
		Name: v.Name, Command: v.Command, TimeoutSeconds: seconds(timeout), Separate: v.Separate, ExitCode: got.ExitCode,
		Passed:   got.ExitCode != nil && *got.ExitCode == 0 && !got.TimedOut,
		TimedOut: got.TimedOut, Output: r.log.transcript.Redact(outputText(got, timeout)),
		DurationMillis: r.clock.Now().Sub(began).Milliseconds(),
	}
	return result, r.log.record(result)
}

// alone ends what the agent has left running and keeps others away, as before a
// verification: nobody writes to the workspace any more. How the command that this takes
// exits is of no account, only that it was run.
func (r *verifier) alone(ctx context.Context) error {
	got, err := r.exec(ctx, Verification{Command: "true"}, isolation)
	switch {
	case ctx.Err() != nil:
		return stopFromContext(ctx)
	case err != nil:
		return stopf(SandboxLost, "What the agent has left running could not be ended: %v", err)
	case got.TimedOut:
		return stopf(SandboxLost, "What the agent has left running could not be ended within %s.", isolation)
	}
	return nil
}

// unverified is the end of a run in the middle of a verification, with why that one
// has no result: it is not on record as one that ran.
func (r *verifier) unverified(name, why string, end *stop) *stop {
	round := state{checks: r.log.state.checks, verifications: r.log.state.verifications}
	round.applyVerification(&transcript.Verification{Name: name, Output: why})
	end.verifications = round.verifications
	return end
}

// isolation bounds the end of what ran before a verification.
const isolation = 30 * time.Second

// exec runs a verification, with nothing beside it that could tamper with it; it
// returns soon after ctx ends whatever the executor does.
func (r *verifier) exec(ctx context.Context, v Verification, timeout time.Duration) (*tool.ExecResult, error) {
	execCtx, cancel := withTimeout(ctx, r.clock, timeout+isolation+toolSlack, errToolTimeout)
	defer cancel()
	got, err := await(execCtx, r.clock, func() (*tool.ExecResult, error) {
		return r.executor.Exec(execCtx, tool.ExecRequest{
			Shell: v.Command, Files: v.Files, TimeoutSeconds: timeout.Seconds(), MaxOutputBytes: verifyOutput,
			MergeStderr: true, Terminal: true, Isolated: true,
		})
	})
	if err == nil && got == nil {
		return nil, errors.New("the executor gave no result")
	}
	if err != nil && ctx.Err() == nil && execCtx.Err() != nil {
		// Late, but the run goes on: the command counts as timed out.
		return &tool.ExecResult{TimedOut: true}, nil
	}
	return got, err
}

// outputText is what a command printed and how it ended, for model and record.
func outputText(got *tool.ExecResult, timeout time.Duration) string {
	var parts []string
	if out, _ := got.Output(); strings.TrimRight(out, "\n") != "" {
		parts = append(parts, strings.TrimRight(out, "\n"))
	}
	switch {
	case got.TimedOut:
		parts = append(parts, fmt.Sprintf("[timed out after %s]", timeout))
	case got.OOMKilled:
		parts = append(parts, "[killed: out of memory]")
	case got.ProcessLimit:
		parts = append(parts, "[killed: too many processes]")
	case got.Signal != "":
		parts = append(parts, "[ended by "+got.Signal+"]")
	}
	return headTail(strings.Join(parts, "\n"), 2*verifyOutput)
}
