package agenttask

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var epoch = time.Unix(1_000_000, 0)

// silent makes it an attempt whose runner has not reported.
func silent(f *attemptState) { f.spoke, f.podKnown = false, true; f.task.Status.RunningTime = nil }

// runningFor is an attempt whose runner has been running for a time, out of an hour.
func runningFor(d time.Duration) attemptState {
	task := objects.MakeTask("x").State(v1alpha1.TaskActive).Obj()
	start := metav1.NewTime(epoch.Add(-d))
	task.Status.Attempt, task.Status.SandboxName, task.Status.PodName = 1, "x-1", "x-1"
	task.Status.StartTime, task.Status.AttemptStartTime, task.Status.RunningTime = &start, &start, &start
	return attemptState{
		task: task, now: epoch, spoke: true, sandboxFound: true, sandboxClaimed: true, podFound: true, podKnown: true,
		ready: readiness(metav1.ConditionTrue, v1alpha1.ReasonReady, d),
	}
}

func readiness(status metav1.ConditionStatus, reason string, since time.Duration) *metav1.Condition {
	return &metav1.Condition{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: reason + "!",
		LastTransitionTime: metav1.NewTime(epoch.Add(-since))}
}

func TestDecide(t *testing.T) {
	type want struct {
		kind   decisionKind
		reason string
		wait   waitKind
		after  time.Duration
	}
	dead := func(f *attemptState, reason string, since time.Duration) {
		f.ready = readiness(metav1.ConditionFalse, reason, since)
	}
	result := func(reason string) func(*attemptState) {
		return func(f *attemptState) { f.result = &v1alpha1.TaskResult{Attempt: 1, Reason: reason} }
	}
	tests := map[string]struct {
		change func(*attemptState)
		want   want
	}{
		"runs":                           {func(*attemptState) {}, want{reason: "Running", after: 59*time.Minute + deadlineGrace}},
		"completed":                      {result("Completed"), want{kind: succeed, reason: "Completed"}},
		"completed, and the pod is lost": {func(f *attemptState) { result("Completed")(f); f.podFound = false; dead(f, "PodLost", 0) }, want{kind: succeed, reason: "Completed"}},
		"completed without proof": {func(f *attemptState) {
			result("Completed")(f)
			f.task.Spec.Verify = []v1alpha1.Verification{{Name: "tests", Command: "true"}}
		}, want{kind: fail, reason: "Internal"}},
		"completed against the proof": {func(f *attemptState) {
			result("Completed")(f)
			f.task.Spec.Verify = []v1alpha1.Verification{{Name: "tests", Command: "true"}}
			f.result.Verifications = []v1alpha1.VerificationStatus{{Name: "tests", Outcome: v1alpha1.VerificationFailed}}
		}, want{kind: fail, reason: "Internal"}},
		"completed with proof": {func(f *attemptState) {
			result("Completed")(f)
			f.task.Spec.Verify = []v1alpha1.Verification{{Name: "tests", Command: "true"}}
			f.result.Verifications = []v1alpha1.VerificationStatus{{Name: "tests", Outcome: v1alpha1.VerificationPassed}}
		}, want{kind: succeed, reason: "Completed"}},
		"completed, though cancelled":   {func(f *attemptState) { result("Completed")(f); f.task.Spec.State = v1alpha1.TaskCancelled }, want{kind: succeed, reason: "Completed"}},
		"out of turns":                  {result("MaxTurns"), want{kind: fail, reason: "MaxTurns"}},
		"an end that is not known here": {result("SomethingNew"), want{kind: fail, reason: "SomethingNew"}},
		"stopped by itself":             {result("Suspended"), want{kind: stop, reason: "Suspended"}},
		"cancelled by itself":           {result("Cancelled"), want{kind: stop, reason: "Suspended"}},
		"interrupted":                   {result("Interrupted"), want{kind: lose, reason: "PodLost"}},
		"interrupted by an eviction":    {func(f *attemptState) { result("Interrupted")(f); dead(f, "Evicted", 0) }, want{kind: lose, reason: "Evicted"}},
		"interrupted just now": {func(f *attemptState) {
			result("Interrupted")(f)
			f.task.Status.Progress.LastProgressTime = &metav1.Time{Time: epoch.Add(-4 * time.Second)}
		}, want{reason: "Retrying", after: 6 * time.Second}},
		"sandbox lost, and killed for memory":    {func(f *attemptState) { result("SandboxLost")(f); dead(f, "OOMKilled", 0) }, want{kind: lose, reason: "OOMKilled"}},
		"sandbox lost, as it never had a server": {func(f *attemptState) { result("SandboxLost")(f); dead(f, "SandboxImageUnusable", 0) }, want{kind: fail, reason: "SandboxImageUnusable"}},
		"no server, and the runner gave up":      {func(f *attemptState) { f.runnerEnded = true; dead(f, "SandboxImageUnusable", 0) }, want{kind: fail, reason: "SandboxImageUnusable"}},
		"Sandbox deleted":                        {func(f *attemptState) { f.sandboxFound, f.podFound, f.ready = false, false, nil }, want{kind: lose, reason: "PodLost"}},
		"Sandbox not made yet": {func(f *attemptState) {
			silent(f)
			f.sandboxFound, f.podFound, f.podKnown, f.ready = false, false, false, nil
		}, want{reason: "Starting", after: time.Minute}},
		"named Sandbox deleted before its pod came": {func(f *attemptState) {
			f.sandboxFound, f.podKnown, f.podFound, f.ready = false, false, false, nil
			f.task.Spec.Sandbox.SandboxRef.Name = "dev"
		}, want{kind: lose, reason: "PodLost"}},
		"claim taken away":                          {func(f *attemptState) { f.sandboxClaimed = false; f.task.Spec.Sandbox.SandboxRef.Name = "dev" }, want{kind: lose, reason: "PodLost"}},
		"pod gone":                                  {func(f *attemptState) { f.podFound = false }, want{kind: lose, reason: "PodLost"}},
		"pod gone by eviction":                      {func(f *attemptState) { f.podFound = false; dead(f, "Evicted", 0) }, want{kind: lose, reason: "Evicted"}},
		"runner ended without a word":               {func(f *attemptState) { f.runnerEnded = true; dead(f, "PodFinished", 0) }, want{kind: lose, reason: "RunnerCrashed"}},
		"runner ended, and nobody has said why yet": {func(f *attemptState) { f.runnerEnded, f.runnerEndedAt = true, f.now.Add(-time.Second) }, want{reason: "Running", after: 9 * time.Second}},
		"runner ended, and nobody says why":         {func(f *attemptState) { f.runnerEnded, f.runnerEndedAt = true, f.now.Add(-reportGrace) }, want{kind: lose, reason: "RunnerCrashed"}},
		"runner ended by the kernel":                {func(f *attemptState) { f.runnerEnded = true; dead(f, "OOMKilled", 0) }, want{kind: lose, reason: "OOMKilled"}},
		"pod leaves":                                {func(f *attemptState) { f.podTerminatingSince = epoch.Add(-30 * time.Second); dead(f, "PodLost", 0) }, want{reason: "Retrying", after: kit.NodeGrace - 30*time.Second}},
		"pod never leaves":                          {func(f *attemptState) { f.podTerminatingSince = epoch.Add(-kit.NodeGrace); dead(f, "PodLost", 0) }, want{kind: lose, reason: "NodeLost"}},
		"sandbox container ended":                   {func(f *attemptState) { dead(f, "SandboxLost", 3*time.Second) }, want{reason: "Running", after: 7 * time.Second}},
		"sandbox container ended, runner is silent": {func(f *attemptState) { dead(f, "SandboxLost", reportGrace) }, want{kind: lose, reason: "SandboxLost"}},
		"pod starts":                                {func(f *attemptState) { silent(f); dead(f, "PodPending", 0) }, want{reason: "Starting", after: time.Minute}},
		"no node has room":                          {func(f *attemptState) { silent(f); dead(f, "Unschedulable", 0) }, want{reason: "Unschedulable", after: time.Minute}},
		"no node has room for a day":                {func(f *attemptState) { *f = runningFor(24 * time.Hour); silent(f); dead(f, "Unschedulable", 0) }, want{kind: fail, reason: "DeadlineExceeded"}},
		"runner is silent":                          {func(f *attemptState) { silent(f); f.ready = readiness(metav1.ConditionTrue, "Ready", 59*time.Second) }, want{reason: "Starting", after: time.Second}},
		"runner is silent for a minute": {func(f *attemptState) {
			*f = runningFor(time.Hour)
			silent(f)
			f.ready = readiness(metav1.ConditionTrue, "Ready", 70*time.Second)
		}, want{reason: "RunnerSilent", after: 50 * time.Second}},
		"runner is silent for all of its time": {func(f *attemptState) {
			*f = runningFor(time.Hour)
			silent(f)
			f.task.Status.ActiveSeconds = 3600 - 45
			f.ready = readiness(metav1.ConditionTrue, "Ready", time.Minute)
		}, want{kind: fail, reason: "DeadlineExceeded"}},
		"runner is silent for too long": {func(f *attemptState) {
			*f = runningFor(time.Hour)
			silent(f)
			f.ready = readiness(metav1.ConditionTrue, "Ready", contactLimit)
		}, want{kind: lose, reason: "RunnerSilent"}},
		"image missing": {func(f *attemptState) { silent(f); f.sandboxStalled = true; dead(f, "ImagePullFailed", 0) }, want{reason: "ImagePullFailed", wait: stalls, after: time.Hour}},
		"image missing for too long": {func(f *attemptState) {
			silent(f)
			f.sandboxStalled = true
			dead(f, "ImagePullFailed", 0)
			f.task.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, LastTransitionTime: metav1.NewTime(epoch.Add(-time.Hour))}}
		}, want{kind: fail, reason: "DeadlineExceeded"}},
		"time was used up by earlier attempts": {func(f *attemptState) { f.task.Status.ActiveSeconds = 3600 }, want{kind: fail, reason: "DeadlineExceeded"}},
		"time is up, runner's turn":            {func(f *attemptState) { *f = runningFor(time.Hour + 5*time.Second) }, want{reason: "Running", after: 10 * time.Second}},
		"time is up, and outputs are taken": {func(f *attemptState) {
			*f = runningFor(time.Hour + deadlineGrace)
			f.task.Spec.Outputs = []v1alpha1.Output{{Name: "o", Path: "p"}}
		}, want{reason: "Running", after: v1alpha1.OutputsSeconds * time.Second}},
		"time is up":      {func(f *attemptState) { *f = runningFor(time.Hour + deadlineGrace) }, want{kind: fail, reason: "DeadlineExceeded"}},
		"to be suspended": {func(f *attemptState) { f.task.Spec.State = v1alpha1.TaskSuspended }, want{reason: "Suspending", after: stopGrace}},
		"to be cancelled": {func(f *attemptState) { f.task.Spec.State = v1alpha1.TaskCancelled }, want{reason: "Cancelling", after: stopGrace}},
		"to be cancelled, runner is silent": {func(f *attemptState) {
			f.task.Spec.State = v1alpha1.TaskCancelled
			f.task.Status.StopRequestTime = &metav1.Time{Time: epoch.Add(-stopGrace)}
		}, want{kind: stop, reason: "Cancelled"}},
		"to be cancelled, not running": {func(f *attemptState) {
			silent(f)
			f.task.Spec.State = v1alpha1.TaskCancelled
			dead(f, "Unschedulable", 0)
		}, want{kind: stop, reason: "Cancelled"}},
		"to be suspended, not running": {func(f *attemptState) {
			silent(f)
			f.task.Spec.State = v1alpha1.TaskSuspended
			dead(f, "Unschedulable", 0)
		}, want{kind: stop, reason: "Suspended"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := runningFor(time.Minute)
			tt.change(&f)
			v := decide(f)
			got := want{v.kind, v.reason, v.wait, v.requeueAfter}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if v.kind == goOn && v.requeueAfter <= 0 {
				t.Error("a task that goes on must be looked at after: nothing else may happen")
			}
		})
	}
}

func TestInterruptionPause(t *testing.T) {
	var got []time.Duration
	for n := range int32(9) {
		got = append(got, interruptionPause(n))
	}
	want := []time.Duration{5, 5, 10, 20, 40, 80, 160, 300, 300}
	for i := range want {
		want[i] *= time.Second
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := interruptionPause(1 << 30); d != maxInterruptionPause {
		t.Errorf("after very many the pause is %s", d)
	}
}

func TestMaxAttempts(t *testing.T) {
	task := objects.MakeTask("x").Obj()
	if got := maxAttempts(task); got != 3 {
		t.Errorf("maxAttempts = %d by default", got)
	}
	if got := maxAttempts(objects.MakeTask("x").Attempts(7).Obj()); got != 7 {
		t.Errorf("maxAttempts = %d, want 7", got)
	}
}

func TestTurnsOfAttempt(t *testing.T) {
	archived := func(first int32, turns ...int32) []v1alpha1.AttemptStatus {
		var out []v1alpha1.AttemptStatus
		for i, n := range turns {
			out = append(out, v1alpha1.AttemptStatus{Number: first + int32(i), Turns: new(n)})
		}
		return out
	}
	tests := map[string]struct {
		status v1alpha1.AgentTaskStatus
		want   *int32
	}{
		"no report":             {v1alpha1.AgentTaskStatus{}, nil},
		"the first":             {v1alpha1.AgentTaskStatus{Progress: v1alpha1.TaskProgress{Turns: new(int32(4))}}, new(int32(4))},
		"the third":             {v1alpha1.AgentTaskStatus{Progress: v1alpha1.TaskProgress{Turns: new(int32(9))}, Attempts: archived(1, 4, 2)}, new(int32(3))},
		"after dropped records": {v1alpha1.AgentTaskStatus{Progress: v1alpha1.TaskProgress{Turns: new(int32(9))}, Attempts: archived(2, 4, 2)}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, turnsOfAttempt(&tt.status)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A task whose time is up says what was in its way, not only that it was starting.
func TestDeadlineSaysWhatStood(t *testing.T) {
	f := runningFor(time.Hour)
	silent(&f)
	f.ready, f.sandboxFound, f.podFound, f.podKnown = nil, false, false, false
	f.task.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, LastTransitionTime: metav1.NewTime(epoch.Add(-time.Hour))}, {Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionUnknown,
		Reason: v1alpha1.ReasonNameConflict, Message: "Sandbox x-1 exists"}}
	got := decide(f)
	if want := "has waited for 1h0m0s at NameConflict: Sandbox x-1 exists"; got.kind != fail || !strings.HasSuffix(got.message, want) {
		t.Errorf("verdict is %+v, want a failure that ends with %q", got, want)
	}
}

// Of a Sandbox that is being deleted its finalizer keeps what is left for a
// while: that, and not what the runner knows of it, is the cause.
func TestADeletedSandboxIsSaid(t *testing.T) {
	tests := map[string]struct {
		change func(*attemptState)
		want   string
	}{
		"the runner was told to stop": {func(f *attemptState) {
			f.result = &v1alpha1.TaskResult{Attempt: 1, Reason: v1alpha1.ReasonInterrupted, Message: "The run was cancelled."}
		}, "PodLost: Sandbox x-1 was deleted"},
		"the runner said nothing":   {func(f *attemptState) { f.runnerEnded = true }, "PodLost: Sandbox x-1 was deleted"},
		"the pod is gone":           {func(f *attemptState) { f.podFound = false }, "PodLost: Sandbox x-1 was deleted"},
		"after it had lost its pod": {func(f *attemptState) { f.podFound = false; f.ready = readiness(metav1.ConditionFalse, "OOMKilled", 0) }, "OOMKilled: OOMKilled!"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := runningFor(time.Minute)
			f.sandboxTerminating = true
			f.task.Status.Progress.LastProgressTime = &metav1.Time{Time: epoch}
			tt.change(&f)
			v := decide(f)
			if got := v.reason + ": " + v.message; v.kind != lose || got != tt.want {
				t.Errorf("verdict is %+v, want a loss by %s", v, tt.want)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	verified := &v1alpha1.TaskResult{Verifications: make([]v1alpha1.VerificationStatus, 2)}
	for _, c := range []struct {
		turns int32
		res   *v1alpha1.TaskResult
		want  string
	}{
		{1, &v1alpha1.TaskResult{}, "The agent finished after 1 turn; the task has no verify command"},
		{2, verified, "The agent finished after 2 turns and 2 of 2 verify commands passed"},
	} {
		task := objects.MakeTask("x").Obj()
		task.Status.Progress.Turns = &c.turns
		if got := summary(task, c.res); got != c.want {
			t.Error(got)
		}
	}
}
