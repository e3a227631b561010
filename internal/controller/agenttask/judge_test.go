package agenttask

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var epoch = time.Unix(1_000_000, 0)

// runningFor is an attempt whose pod has been ready for a time, out of an hour.
func runningFor(d time.Duration) situation {
	task := objects.MakeTask("x").State(v1alpha1.TaskActive).Obj()
	start := metav1.NewTime(epoch.Add(-d))
	task.Status.Attempt, task.Status.SandboxName, task.Status.PodName = 1, "x-1", "x-1"
	task.Status.StartTime = &start
	return situation{
		task: task, now: epoch, sandboxFound: true, sandboxClaimed: true, podFound: true, podKnown: true,
		ready: readiness(metav1.ConditionTrue, v1alpha1.ReasonReady, d),
	}
}

func readiness(status metav1.ConditionStatus, reason string, since time.Duration) *metav1.Condition {
	return &metav1.Condition{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: reason + "!",
		LastTransitionTime: metav1.NewTime(epoch.Add(-since))}
}

func TestJudge(t *testing.T) {
	type want struct {
		kind    verdictKind
		reason  string
		blocked bool
		again   time.Duration
	}
	dead := func(f *situation, reason string, since time.Duration) {
		f.ready = readiness(metav1.ConditionFalse, reason, since)
	}
	result := func(reason string) func(*situation) {
		return func(f *situation) { f.result = &v1alpha1.TaskResult{Attempt: 1, Reason: reason} }
	}
	tests := map[string]struct {
		change func(*situation)
		want   want
	}{
		"runs":                           {func(*situation) {}, want{reason: "Running", again: 59*time.Minute + deadlineGrace}},
		"completed":                      {result("Completed"), want{kind: succeed, reason: "Completed"}},
		"completed, and the pod is lost": {func(f *situation) { result("Completed")(f); f.podFound = false; dead(f, "PodLost", 0) }, want{kind: succeed, reason: "Completed"}},
		"completed without proof": {func(f *situation) {
			result("Completed")(f)
			f.task.Spec.Verify = []v1alpha1.Verification{{Name: "tests", Command: "true"}}
		}, want{kind: fail, reason: "Internal"}},
		"completed against the proof": {func(f *situation) {
			result("Completed")(f)
			f.task.Spec.Verify = []v1alpha1.Verification{{Name: "tests", Command: "true"}}
			f.result.Verifications = []v1alpha1.VerificationStatus{{Name: "tests", Outcome: v1alpha1.VerificationFailed}}
		}, want{kind: fail, reason: "Internal"}},
		"completed with proof": {func(f *situation) {
			result("Completed")(f)
			f.task.Spec.Verify = []v1alpha1.Verification{{Name: "tests", Command: "true"}}
			f.result.Verifications = []v1alpha1.VerificationStatus{{Name: "tests", Outcome: v1alpha1.VerificationPassed}}
		}, want{kind: succeed, reason: "Completed"}},
		"completed, though cancelled":   {func(f *situation) { result("Completed")(f); f.task.Spec.State = v1alpha1.TaskCancelled }, want{kind: succeed, reason: "Completed"}},
		"out of turns":                  {result("MaxTurns"), want{kind: fail, reason: "MaxTurns"}},
		"an end that is not known here": {result("SomethingNew"), want{kind: fail, reason: "SomethingNew"}},
		"stopped by itself":             {result("Suspended"), want{kind: stop, reason: "Suspended"}},
		"cancelled by itself":           {result("Cancelled"), want{kind: stop, reason: "Suspended"}},
		"interrupted":                   {result("Interrupted"), want{kind: lose, reason: "PodLost"}},
		"interrupted by an eviction":    {func(f *situation) { result("Interrupted")(f); dead(f, "Evicted", 0) }, want{kind: lose, reason: "Evicted"}},
		"interrupted just now": {func(f *situation) {
			result("Interrupted")(f)
			f.task.Status.Progress.LastProgressTime = &metav1.Time{Time: epoch.Add(-4 * time.Second)}
		}, want{reason: "Retrying", again: 6 * time.Second}},
		"sandbox lost, and killed for memory":    {func(f *situation) { result("SandboxLost")(f); dead(f, "OOMKilled", 0) }, want{kind: lose, reason: "OOMKilled"}},
		"sandbox lost, as it never had a server": {func(f *situation) { result("SandboxLost")(f); dead(f, "SandboxServerMissing", 0) }, want{kind: fail, reason: "SandboxServerMissing"}},
		"no server, and the runner gave up":      {func(f *situation) { f.runnerEnded = true; dead(f, "SandboxServerMissing", 0) }, want{kind: fail, reason: "SandboxServerMissing"}},
		"Sandbox deleted":                        {func(f *situation) { f.sandboxFound, f.podFound, f.ready = false, false, nil }, want{kind: lose, reason: "PodLost"}},
		"Sandbox not made yet":                   {func(f *situation) { f.sandboxFound, f.podFound, f.podKnown, f.ready = false, false, false, nil }, want{reason: "Starting", again: 59 * time.Minute}},
		"named Sandbox deleted before its pod came": {func(f *situation) {
			f.sandboxFound, f.podKnown, f.podFound, f.ready = false, false, false, nil
			f.task.Spec.Sandbox.SandboxRef.Name = "dev"
		}, want{kind: lose, reason: "PodLost"}},
		"claim taken away":                          {func(f *situation) { f.sandboxClaimed = false }, want{kind: lose, reason: "PodLost"}},
		"pod gone":                                  {func(f *situation) { f.podFound = false }, want{kind: lose, reason: "PodLost"}},
		"pod gone by eviction":                      {func(f *situation) { f.podFound = false; dead(f, "Evicted", 0) }, want{kind: lose, reason: "Evicted"}},
		"runner ended without a word":               {func(f *situation) { f.runnerEnded = true; dead(f, "PodFinished", 0) }, want{kind: lose, reason: "RunnerCrashed"}},
		"runner ended by the kernel":                {func(f *situation) { f.runnerEnded = true; dead(f, "OOMKilled", 0) }, want{kind: lose, reason: "OOMKilled"}},
		"pod leaves":                                {func(f *situation) { f.podLeavingSince = epoch.Add(-30 * time.Second); dead(f, "PodLost", 0) }, want{reason: "Retrying", again: nodeGrace - 30*time.Second}},
		"pod never leaves":                          {func(f *situation) { f.podLeavingSince = epoch.Add(-nodeGrace); dead(f, "PodLost", 0) }, want{kind: lose, reason: "NodeLost"}},
		"sandbox container ended":                   {func(f *situation) { dead(f, "SandboxLost", 3*time.Second) }, want{reason: "Running", again: 7 * time.Second}},
		"sandbox container ended, runner is silent": {func(f *situation) { dead(f, "SandboxLost", reportGrace) }, want{kind: lose, reason: "SandboxLost"}},
		"pod starts":                                {func(f *situation) { dead(f, "PodPending", 0) }, want{reason: "Starting", again: 59 * time.Minute}},
		"image missing":                             {func(f *situation) { dead(f, "ImagePullFailed", 0) }, want{reason: "ImagePullFailed", blocked: true, again: 59 * time.Minute}},
		"image missing for too long":                {func(f *situation) { *f = runningFor(time.Hour); dead(f, "ImagePullFailed", 0) }, want{kind: fail, reason: "DeadlineExceeded"}},
		"time is up, runner's turn":                 {func(f *situation) { *f = runningFor(time.Hour + 5*time.Second) }, want{reason: "Running", again: 10 * time.Second}},
		"time is up":                                {func(f *situation) { *f = runningFor(time.Hour + deadlineGrace) }, want{kind: fail, reason: "DeadlineExceeded"}},
		"to be suspended":                           {func(f *situation) { f.task.Spec.State = v1alpha1.TaskSuspended }, want{reason: "Suspending", again: stopGrace}},
		"to be cancelled":                           {func(f *situation) { f.task.Spec.State = v1alpha1.TaskCancelled }, want{reason: "Cancelling", again: stopGrace}},
		"to be cancelled, runner is silent": {func(f *situation) {
			f.task.Spec.State = v1alpha1.TaskCancelled
			f.task.Status.StopRequestTime = &metav1.Time{Time: epoch.Add(-stopGrace)}
		}, want{kind: stop, reason: "Cancelled"}},
		"to be cancelled, not running": {func(f *situation) { f.task.Spec.State = v1alpha1.TaskCancelled; dead(f, "Unschedulable", 0) }, want{kind: stop, reason: "Cancelled"}},
		"to be suspended, not running": {func(f *situation) { f.task.Spec.State = v1alpha1.TaskSuspended; dead(f, "Unschedulable", 0) }, want{kind: stop, reason: "Suspended"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := runningFor(time.Minute)
			tt.change(&f)
			v := judge(f)
			got := want{v.kind, v.reason, v.blocked, v.again}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if v.kind == goOn && v.again <= 0 {
				t.Error("a task that goes on must be looked at again: nothing else may happen")
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	task := objects.MakeTask("x").Active(90).Obj()
	if got := waitUntil(task, epoch); !got.Equal(epoch.Add(90 * time.Second)) {
		t.Errorf("before it stalls, a task may wait until %v", got)
	}
	task.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, LastTransitionTime: metav1.NewTime(epoch.Add(-time.Minute))}}
	if got := waitUntil(task, epoch); !got.Equal(epoch.Add(30 * time.Second)) {
		t.Errorf("a stalled task may wait until %v", got)
	}
	task.Status.StartTime = &metav1.Time{Time: epoch}
	if got := waitUntil(task, epoch); !got.Equal(epoch.Add(90 * time.Second)) {
		t.Errorf("a started task may wait until %v", got)
	}
	if got := deadline(objects.MakeTask("x").With(func(t *v1alpha1.AgentTask) { t.Status.StartTime = &metav1.Time{Time: epoch} }).Obj()); !got.Equal(epoch.Add(defaultActive)) {
		t.Errorf("the default deadline is %v", got)
	}
}

func TestLosses(t *testing.T) {
	task := objects.MakeTask("x").Obj()
	for i, reason := range []string{"PodLost", "Suspended", "OOMKilled", "Suspended"} {
		task.Status.Attempts = append(task.Status.Attempts, v1alpha1.AttemptStatus{Number: int32(i + 1), Reason: reason})
	}
	if got := losses(task); got != 2 {
		t.Errorf("losses = %d, want 2: what the user stopped is no loss", got)
	}
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
	f.ready, f.sandboxFound, f.podFound, f.podKnown = nil, false, false, false
	f.task.Status.PodName = ""
	f.task.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionUnknown,
		Reason: v1alpha1.ReasonNameConflict, Message: "Sandbox x-1 exists"}}
	got := judge(f)
	if want := "stood at NameConflict: Sandbox x-1 exists"; got.kind != fail || !strings.HasSuffix(got.message, want) {
		t.Errorf("verdict is %+v, want a failure that ends with %q", got, want)
	}
}

// Of a Sandbox that is being deleted its finalizer keeps what is left for a
// while: that, and not what the runner knows of it, is the cause.
func TestADeletedSandboxIsSaid(t *testing.T) {
	tests := map[string]struct {
		change func(*situation)
		want   string
	}{
		"the runner was told to stop": {func(f *situation) {
			f.result = &v1alpha1.TaskResult{Attempt: 1, Reason: v1alpha1.ReasonInterrupted, Message: "The run was cancelled."}
		}, "PodLost: Sandbox x-1 was deleted"},
		"the runner said nothing":   {func(f *situation) { f.runnerEnded = true }, "PodLost: Sandbox x-1 was deleted"},
		"the pod is gone":           {func(f *situation) { f.podFound = false }, "PodLost: Sandbox x-1 was deleted"},
		"after it had lost its pod": {func(f *situation) { f.podFound = false; f.ready = readiness(metav1.ConditionFalse, "OOMKilled", 0) }, "OOMKilled: OOMKilled!"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := runningFor(time.Minute)
			f.sandboxLeaving = true
			f.task.Status.Progress.LastProgressTime = &metav1.Time{Time: epoch}
			tt.change(&f)
			v := judge(f)
			if got := v.reason + ": " + v.message; v.kind != lose || got != tt.want {
				t.Errorf("verdict is %+v, want a loss by %s", v, tt.want)
			}
		})
	}
}
