package inpod

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/runner/recorded"
	"github.com/sampan-dev/sampan/internal/testing/recorders"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// TestLeavesOutputs: a run that goes on, or is not wanted, leaves none.
func TestLeavesOutputs(t *testing.T) {
	at := recordedTask.DeepCopy()
	if leavesOutputs(at, harness.Result{Reason: harness.Completed}) {
		t.Error("a task leaves what it does not name")
	}
	at.Spec.Outputs = []v1alpha1.Output{{Name: "o", Path: "p"}}
	for reason, want := range map[harness.End]bool{
		harness.Completed: true, harness.VerificationFailed: true, harness.MaxTurns: true, harness.DeadlineExceeded: true,
		harness.Cancelled: false, harness.SandboxLost: false, harness.VerificationPending: false, harness.VerificationRejected: false,
	} {
		if got := leavesOutputs(at, harness.Result{Reason: reason}); got != want {
			t.Errorf("%s: %v", reason, got)
		}
	}
}

// TestOutputsStay: an attempt reports what earlier ones have left until it has its own.
func TestOutputsStay(t *testing.T) {
	at := recordedTask.DeepCopy()
	at.Status.Outputs = []v1alpha1.OutputStatus{{Name: "o", Attempt: 1, Proof: v1alpha1.OutputUnproven}}
	used, err := priorUsageOf(v1alpha1.TaskProgress{})
	if err != nil {
		t.Fatal(err)
	}
	rep := newReporter(&api{}, at, "t-2", used)
	if diff := cmp.Diff(at.Status.Outputs, rep.current().Outputs); diff != "" {
		t.Error(diff)
	}
	own := []v1alpha1.OutputStatus{{Name: "o", Attempt: 2, Proof: v1alpha1.OutputProven}}
	rep.left(own)
	if diff := cmp.Diff(own, rep.current().Outputs); diff != "" {
		t.Error(diff)
	}
}

// TestPusher: an output's own credentials go before those of the checkout, which are for a
// repository that has some, and none of them stays in the environment.
func TestPusher(t *testing.T) {
	for name, value := range map[string]string{
		podapi.EnvGitUsername: "reader", podapi.EnvGitPassword: "read", podapi.PushUsername(1): "writer", podapi.PushPassword(1): "write",
	} {
		t.Setenv(name, value)
	}
	p := &Runner{env: runner.TakeSecrets(&models.Registry{})}
	own := v1alpha1.Output{Branch: v1alpha1.BranchOutput{Ref: "b", CredentialsSecretRef: v1alpha1.SecretReference{Name: "s"}}}
	sb, at := &v1alpha1.Sandbox{}, recordedTask.DeepCopy()
	sb.Spec.Template.Workspace.Git = v1alpha1.GitSource{URL: "https://git.example/a.git", CredentialsSecretRef: v1alpha1.SecretReference{Name: "g"}}
	for want, o := range map[string]v1alpha1.Output{"writer:write": own, "reader:read": {Branch: v1alpha1.BranchOutput{Ref: "b"}}} {
		at.Spec.Outputs = []v1alpha1.Output{{}, o}
		user, password := p.pusher(sb, at, 1)
		if got := user + ":" + password; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	at.Spec.Sandbox.PoolRef.Git.URL = "https://git.example/b.git"
	if user, password := p.pusher(sb, at, 0); user != "" || password != "" {
		t.Errorf("a repository without credentials gets %s:%s", user, password)
	}
	if got := strings.Join(p.env.Values(), " "); !strings.Contains(got, "write") || !strings.Contains(got, "read") {
		t.Errorf("what the transcript blanks out is %q", got)
	}
	if v, set := os.LookupEnv(podapi.PushPassword(1)); set {
		t.Errorf("the environment has %q", v)
	}
}

// TestSettle: a run whose outputs could not be taken since its pod goes away is left to
// another pod, where there is a record of it.
func TestSettle(t *testing.T) {
	ended := harness.Result{Reason: harness.Completed, Progress: harness.Progress{Turns: 7}}
	taken := []v1alpha1.OutputStatus{{Name: "o", Attempt: 1, Proof: v1alpha1.OutputProven}}
	rep := newReporter(&api{}, recordedTask, "t-1", priorUsage{})
	kept, err := recorded.Resume(t.Context(), recorders.Memory(t)(1), rep.listener(), transcript.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		cause error
		j     *recorded.Journal
		want  harness.End
	}{
		"goes on":                     {nil, kept, harness.Completed},
		"is evicted":                  {harness.ErrInterrupted, kept, harness.Cancelled},
		"is suspended":                {errSuspended, kept, harness.Cancelled},
		"is cancelled, too late":      {errCancelled, kept, harness.Completed},
		"is evicted without a record": {harness.ErrInterrupted, &recorded.Journal{}, harness.Completed},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			if tc.cause != nil {
				cancel(tc.cause)
			}
			defer cancel(nil)
			rep := &reporter{wake: make(chan struct{}, 1)}
			res := settle(ctx, tc.j, rep, ended, taken)
			if res.Reason != tc.want || res.Progress.Turns != 7 || (len(rep.outputs) > 0) != (tc.want == harness.Completed) {
				t.Errorf("the result is %+v, and status.outputs %v", res, rep.outputs)
			}
		})
	}
}
