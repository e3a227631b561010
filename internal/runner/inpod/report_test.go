package inpod

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/runner"
)

// recorder is an API server that keeps what is applied, and fails the first tries.
type recorder struct {
	mu      sync.Mutex
	applied []v1alpha1.AgentTaskStatus
	fail    []error
}

func (r *recorder) apply(_ context.Context, _ *v1alpha1.AgentTask, s v1alpha1.AgentTaskStatus) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.fail) > 0 {
		err := r.fail[0]
		r.fail = r.fail[1:]
		return err
	}
	r.applied = append(r.applied, s)
	return nil
}

func (r *recorder) all() []v1alpha1.AgentTaskStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.applied
}

func newTestReporter(t *testing.T, rec *recorder, b priorUsage) *reporter {
	t.Helper()
	return &reporter{
		task: &v1alpha1.AgentTask{
			ObjectMeta: metav1.ObjectMeta{Name: "t", Namespace: "ns", UID: "uid-1"},
			Status:     v1alpha1.AgentTaskStatus{Attempt: 2},
		},
		pod: "t-2", prior: b, apply: rec.apply, terminationLog: filepath.Join(t.TempDir(), "words"),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

func readMessage(t *testing.T, r *reporter) podapi.TerminationMessage {
	t.Helper()
	data, err := os.ReadFile(r.terminationLog)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > podapi.MaxTerminationMessageBytes {
		t.Errorf("the termination message has %d bytes, kubelet keeps %d", len(data), podapi.MaxTerminationMessageBytes)
	}
	var message podapi.TerminationMessage
	if err := json.Unmarshal(data, &message); err != nil {
		t.Fatal(err)
	}
	return message
}

// Progress comes much faster than it may be written: one status an interval,
// with the newest, and none before the first interval is over.
func TestReporterCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{}
		r := newTestReporter(t, rec, priorUsage{})
		ctx, cancel := context.WithCancel(t.Context())
		go r.run(ctx)
		for round := range 3 {
			for i := range 100 {
				r.note(harness.Progress{Turns: 100*round + i})
			}
			time.Sleep(reportInterval - time.Millisecond) //nolint:forbidigo // in the bubble's time
			synctest.Wait()
			if n := len(rec.all()); n != round {
				t.Errorf("%d statuses were written before interval %d was over, want %d", n, round+1, round)
			}
			time.Sleep(time.Millisecond) //nolint:forbidigo // in the bubble's time
			synctest.Wait()
			all := rec.all()
			if len(all) != round+1 {
				t.Fatalf("%d statuses were written in %d intervals", len(all), round+1)
			}
			if got, want := *all[round].Progress.Turns, int32(100*round+99); got != want {
				t.Errorf("status %d shows turn %d, want the newest, %d", round, got, want)
			}
		}
		cancel()
		<-r.done
	})
}

func TestFinish(t *testing.T) {
	code := 1
	res := harness.Result{
		Reason: harness.VerificationFailed, Message: strings.Repeat("é", 3000),
		Verifications: []harness.VerificationResult{
			{Name: "ok", Passed: true, ExitCode: new(int)},
			{Name: "tests", ExitCode: &code, Message: strings.Repeat("x", 1000) + "the end"},
		},
		Progress:   harness.Progress{Model: "m", Turns: 3, ToolCalls: 4, FailedToolCalls: 1, Activity: "thinking", Usage: llm.Usage{InputTokens: 100, OutputTokens: 20, Estimated: true}, CostUSD: decimal.RequireFromString("0.0003")},
		Transcript: harness.TranscriptSummary{Events: 9, Bytes: 1000, Digest: "sha256:" + strings.Repeat("a", 64)},
	}
	rec := &recorder{fail: []error{errors.New("connection refused"), apierrors.NewServiceUnavailable("starting")}}
	r := newTestReporter(t, rec, priorUsage{turns: 10, input: 1000, cost: decimal.RequireFromString("0.5")})
	if err := r.finish(t.Context(), res, string(res.Reason)); err != nil {
		t.Fatal(err)
	}
	if len(rec.all()) != 1 {
		t.Fatalf("%d statuses were written, want the result once, after two failures", len(rec.all()))
	}
	got := rec.all()[0]
	want := v1alpha1.TaskProgress{
		Attempt: 2, Model: "m", Turns: new(int32(13)), ToolCalls: new(int32(4)), FailedToolCalls: new(int32(1)),
		Usage: v1alpha1.TaskUsage{InputTokens: new(int64(1100)), CachedInputTokens: new(int64(0)), OutputTokens: new(int64(20)), CostUSD: "0.5003", Accuracy: v1alpha1.UsageEstimated},
	}
	if diff := cmp.Diff(want, got.Progress); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	if got.Result.Attempt != 2 || got.Result.Reason != "VerificationFailed" || len(got.Result.Message) > maxResultMessage {
		t.Errorf("result is %+v", got.Result)
	}
	if diff := cmp.Diff([]v1alpha1.TruncatedField{v1alpha1.TruncatedMessage, v1alpha1.TruncatedVerifications}, got.Result.Truncated); diff != "" {
		t.Errorf("truncated (-want +got):\n%s", diff)
	}
	if m := got.Result.Verifications[1].Message; !strings.HasSuffix(m, "the end") || len(m) > maxVerificationMessage {
		t.Errorf("the verification's message is %q, want the end of its output", m)
	}
	if got.Transcript.URI != "/api/v1/namespaces/ns/pods/t-2/log?container=runner&limitBytes=1000" {
		t.Errorf("transcript is at %s", got.Transcript.URI)
	}
	message := readMessage(t, r)
	if message.TaskUID != "uid-1" || message.Result.Attempt != 2 || *message.Progress.Turns != 13 || *message.Transcript.Events != 9 {
		t.Errorf("termination message is %+v", message)
	}
}

// What ended before the agent began has no transcript to point at.
func TestFinishWithoutTranscript(t *testing.T) {
	rec := &recorder{}
	r := newTestReporter(t, rec, priorUsage{})
	if err := r.finish(t.Context(), harness.Result{Message: "git clone"}, v1alpha1.ReasonWorkspaceFailed); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v1alpha1.TranscriptStatus{}, rec.all()[0].Transcript); diff != "" {
		t.Errorf("transcript (-want +got):\n%s", diff)
	}
}

// An answer that cannot change is not asked for again, and the termination message stays.
func TestFinishGivesUp(t *testing.T) {
	gone := apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("agenttasks").GroupResource(), "t", errors.New("another pod"))
	rec := &recorder{fail: []error{gone}}
	r := newTestReporter(t, rec, priorUsage{})
	if err := r.finish(t.Context(), harness.Result{Reason: harness.Completed, Message: "Done."}, "Completed"); !apierrors.IsForbidden(err) {
		t.Errorf("error is %v, want the refusal", err)
	}
	if len(rec.all()) != 0 {
		t.Error("it was tried again")
	}
	if message := readMessage(t, r); message.Result.Reason != "Completed" {
		t.Errorf("termination message is %+v", message)
	}
}

// The worst valid result still fits: quotes and control characters grow when encoded.
func TestTerminationMessageFits(t *testing.T) {
	res := harness.Result{Reason: harness.MaxTurns, Message: strings.Repeat("\x01\"", 4000)}
	for range 16 {
		res.Verifications = append(res.Verifications, harness.VerificationResult{
			Name: strings.Repeat("n", 62) + string(rune('a'+len(res.Verifications))), Message: strings.Repeat("\x02", 300),
		})
	}
	rec := &recorder{}
	r := newTestReporter(t, rec, priorUsage{})
	if err := r.finish(t.Context(), res, "MaxTurns"); err != nil {
		t.Fatal(err)
	}
	if message := readMessage(t, r); message.Result.Reason != "MaxTurns" || len(message.Result.Verifications) != 16 {
		t.Errorf("termination message is %+v", message)
	}
}

func TestRemaining(t *testing.T) {
	b := priorUsage{input: 100, output: 50, cost: decimal.RequireFromString("0.40")}
	for name, tc := range map[string]struct {
		limits harness.Limits
		want   harness.Limits
		usedUp string
	}{
		"no limits":      {},
		"tokens left":    {limits: harness.Limits{InputTokens: 150, OutputTokens: 51}, want: harness.Limits{InputTokens: 50, OutputTokens: 1}},
		"input used up":  {limits: harness.Limits{InputTokens: 100}, usedUp: "inputTokens"},
		"output used up": {limits: harness.Limits{OutputTokens: 20}, want: harness.Limits{OutputTokens: -30}, usedUp: "outputTokens"},
		"money left":     {limits: harness.Limits{CostUSD: decimal.RequireFromString("0.50")}, want: harness.Limits{CostUSD: decimal.RequireFromString("0.1")}},
		"money used up":  {limits: harness.Limits{CostUSD: decimal.RequireFromString("0.40")}, usedUp: "costUSD"},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.limits
			if usedUp := b.remaining(&got); usedUp != tc.usedUp {
				t.Errorf("used up is %q, want %q", usedUp, tc.usedUp)
			}
			if diff := cmp.Diff(tc.want, got, cmp.Comparer(decimal.Decimal.Equal)); diff != "" {
				t.Errorf("limits (-want +got):\n%s", diff)
			}
		})
	}
}

// What the status says of a stop depends on who asked for it.
func TestReasonOf(t *testing.T) {
	for want, cause := range map[string]error{
		v1alpha1.ReasonSuspended: errSuspended, v1alpha1.ReasonCancelled: errCancelled,
		v1alpha1.ReasonInterrupted: errCutOff,
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if got := reasonOf(ctx, harness.Result{Reason: harness.Cancelled}); got != want {
			t.Errorf("%v gives %s, want %s", cause, got, want)
		}
		if got := reasonOf(ctx, harness.Result{Reason: harness.Completed}); got != v1alpha1.ReasonCompleted {
			t.Errorf("a run that completed as it was stopped gives %s", got)
		}
	}
}

// The message of a stop says what the reason says, also of a run that was
// stopped before it began.
func TestStopMessages(t *testing.T) {
	for want, cause := range map[string]error{
		"The run was stopped on request and can go on.":                          errSuspended,
		"The run was cancelled.":                                                 errCancelled,
		"The run was interrupted: the API server could not be reached for 3m0s.": errCutOff,
		"The run was interrupted: the task belongs to another pod.":              errFenced,
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		at := &v1alpha1.AgentTask{Spec: v1alpha1.AgentTaskSpec{Prompt: "x"}}
		p := &Runner{env: runner.TakeSecrets(&models.Registry{})}
		if got, _ := p.drive(ctx, &v1alpha1.Sandbox{}, at, &reporter{}, newAllowance(), cancel); got.Message != want || got.Reason != harness.Cancelled {
			t.Errorf("%v gives %+v, want %q", cause, got, want)
		}
	}
}
