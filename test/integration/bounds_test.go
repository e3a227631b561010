package integration

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// maxStatus is a status at every bound of the API. The conditions' messages are
// at the operator's own bound, which is the only one that writes them.
func maxStatus() v1alpha1.AgentTaskStatus {
	now := metav1.NewTime(time.Date(2030, 10, 10, 10, 10, 10, 0, time.UTC))
	text := func(n int) string { return strings.Repeat("x", n) }
	st := v1alpha1.AgentTaskStatus{
		ObservedGeneration: math.MaxInt64, FromUID: text(36), SandboxName: text(63), PodName: text(63), PodUID: text(36), Attempt: math.MaxInt32,
		AttemptStartTime: &now, StopRequestTime: &now, StartTime: &now, CompletionTime: &now,
		Progress: v1alpha1.TaskProgress{
			Model: text(253), Turns: new(int32(math.MaxInt32)), ToolCalls: new(int32(math.MaxInt32)), FailedToolCalls: new(int32(math.MaxInt32)),
			Activity: text(128), LastProgressTime: &now,
			Usage: v1alpha1.TaskUsage{InputTokens: new(int64(math.MaxInt64)), CachedInputTokens: new(int64(math.MaxInt64)),
				OutputTokens: new(int64(math.MaxInt64)), CostUSD: strings.Repeat("9", 32), Accuracy: v1alpha1.UsageEstimated},
		},
		Transcript: v1alpha1.TranscriptStatus{URI: text(256), Events: new(int64(math.MaxInt64)), Bytes: new(int64(math.MaxInt64)), Digest: text(71)},
		Result: v1alpha1.TaskResult{Attempt: math.MaxInt32, Reason: "X" + text(63), Message: text(2048),
			Truncated: []v1alpha1.TruncatedField{v1alpha1.TruncatedMessage, v1alpha1.TruncatedVerifications}},
	}
	for _, kind := range []string{v1alpha1.ConditionSucceeded, v1alpha1.ConditionReady, v1alpha1.ConditionStalled, v1alpha1.ConditionModelResolved} {
		st.Conditions = append(st.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionUnknown, ObservedGeneration: math.MaxInt64,
			LastTransitionTime: now, Reason: text(64), Message: text(512)})
	}
	for i := range 10 {
		st.Attempts = append(st.Attempts, v1alpha1.AttemptStatus{Number: math.MaxInt32 - int32(i), PodName: text(63), NodeName: text(80),
			StartTime: &now, CompletionTime: &now, Reason: text(32), Message: text(128), Turns: new(int32(math.MaxInt32))})
	}
	for i := range 16 {
		st.Result.Verifications = append(st.Result.Verifications, v1alpha1.VerificationStatus{Name: fmt.Sprintf("%02d", i) + text(61),
			Outcome: v1alpha1.VerificationPassed, ExitCode: new(int32(255)), Message: text(128)})
	}
	for i := range 16 {
		st.Outputs = append(st.Outputs, v1alpha1.OutputStatus{Name: fmt.Sprintf("%02d", i) + text(61), Attempt: math.MaxInt32, Proof: v1alpha1.OutputUnproven,
			MediaType: text(64), Size: new(int64(math.MaxInt64)), Digest: text(71), Ref: text(244), Commit: strings.Repeat("a", 64), Message: text(256)})
	}
	return st
}

var _ = Describe("The whole status of a task", func() {
	It("stays under 32 KiB at every bound", func(ctx SpecContext) {
		task := objects.MakeTask("x").Namespace(newNamespace(ctx)).Obj()
		Expect(api.Client.Create(ctx, task)).To(Succeed())
		task.Status = maxStatus()
		Expect(api.Client.Status().Update(ctx, task)).To(Succeed())
		data, err := json.Marshal(task.Status)
		Expect(err).NotTo(HaveOccurred())
		AddReportEntry("bytes", len(data))
		Expect(len(data)).To(BeNumerically("<=", 32<<10))
	})

	DescribeTable("is at the bounds: one more is refused", func(ctx SpecContext, more func(*v1alpha1.AgentTaskStatus)) {
		task := objects.MakeTask("x").Namespace(newNamespace(ctx)).Obj()
		Expect(api.Client.Create(ctx, task)).To(Succeed())
		task.Status = maxStatus()
		more(&task.Status)
		Expect(api.Client.Status().Update(ctx, task)).To(MatchError(ContainSubstring("status.")))
	},
		Entry("an attempt", func(st *v1alpha1.AgentTaskStatus) {
			st.Attempts = append(st.Attempts, v1alpha1.AttemptStatus{Number: 1, Reason: "x"})
		}),
		Entry("a byte of an attempt's message", func(st *v1alpha1.AgentTaskStatus) { st.Attempts[0].Message += "x" }),
		Entry("a byte of an attempt's pod", func(st *v1alpha1.AgentTaskStatus) { st.Attempts[0].PodName += "x" }),
		Entry("a byte of an attempt's node", func(st *v1alpha1.AgentTaskStatus) { st.Attempts[0].NodeName += "x" }),
		Entry("a byte of the pod", func(st *v1alpha1.AgentTaskStatus) { st.PodName += "x" }),
		Entry("a verification", func(st *v1alpha1.AgentTaskStatus) {
			st.Result.Verifications = append(st.Result.Verifications, v1alpha1.VerificationStatus{Name: "x", Outcome: "Passed"})
		}),
		Entry("a byte of a verification", func(st *v1alpha1.AgentTaskStatus) { st.Result.Verifications[0].Message += "x" }),
		Entry("a byte of the result", func(st *v1alpha1.AgentTaskStatus) { st.Result.Message += "x" }),
		Entry("an output", func(st *v1alpha1.AgentTaskStatus) {
			st.Outputs = append(st.Outputs, v1alpha1.OutputStatus{Name: "x", Attempt: 1, Proof: v1alpha1.OutputProven})
		}),
		Entry("a byte of an output's message", func(st *v1alpha1.AgentTaskStatus) { st.Outputs[0].Message += "x" }),
		Entry("a byte of an output's ref", func(st *v1alpha1.AgentTaskStatus) { st.Outputs[0].Ref += "x" }),
		Entry("a byte of the transcript", func(st *v1alpha1.AgentTaskStatus) { st.Transcript.URI += "x" }),
		Entry("a byte of the activity", func(st *v1alpha1.AgentTaskStatus) { st.Progress.Activity += "x" }),
		Entry("a byte of the model", func(st *v1alpha1.AgentTaskStatus) { st.Progress.Model += "x" }),
		Entry("a result with a reason that is no condition's", func(st *v1alpha1.AgentTaskStatus) { st.Result.Reason = "no reason" }),
	)
})
