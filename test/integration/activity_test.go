package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var _ = Describe("Who writes a Sandbox's status", Ordered, func() {
	var sb *v1alpha1.Sandbox
	patch := func(ctx SpecContext, c client.Client, status string) error {
		at := &v1alpha1.Sandbox{ObjectMeta: metav1.ObjectMeta{Namespace: sb.Namespace, Name: sb.Name}}
		return c.Status().Patch(ctx, at, client.RawPatch(types.MergePatchType, []byte(`{"status":`+status+`}`)))
	}
	forbidden := func(text string) OmegaMatcher {
		return MatchError(And(ContainSubstring("sampan-runner-activity"), ContainSubstring(text)))
	}
	runner := func(pod string) client.Client { return account(sb.Namespace, "sampan-runner", pod) }

	BeforeAll(func(ctx SpecContext) {
		everybodyMay(ctx)
		sb = objects.MakeSandbox("box").Namespace(guardedNamespace(ctx)).Obj()
		Expect(api.Client.Create(ctx, sb)).To(Succeed())
		now := metav1.NewTime(time.Date(2031, 1, 1, 12, 0, 0, 0, time.UTC))
		sb.Status = v1alpha1.SandboxStatus{
			ObservedGeneration: 1, PodName: "box-1", PodUID: podUID("box-1"), LastActivityTime: &now,
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Ready", LastTransitionTime: now}},
		}
		Expect(api.Client.Status().Update(ctx, sb)).To(Succeed())
		Eventually(func() error { // a policy takes a moment to hold
			return patch(ctx, runner("probe"), `{"lastActivityTime":"2031-01-01T12:00:00Z"}`)
		}).WithTimeout(time.Minute).Should(MatchError(ContainSubstring("sampan-runner-activity")))
	})

	It("lets the runner of its pod say that it is used, and nothing else", func(ctx SpecContext) {
		Expect(patch(ctx, runner("box-1"), `{"lastActivityTime":"2031-01-01T12:00:10Z"}`)).To(Succeed())
		Expect(api.Client.Get(ctx, client.ObjectKeyFromObject(sb), sb)).To(Succeed())
		Expect(sb.Status.LastActivityTime.UTC().Format(time.TimeOnly)).To(Equal("12:00:10"))
		for _, status := range []string{
			`{"podName":"other"}`, `{"podUID":"other"}`, `{"podIP":"192.0.2.1"}`, `{"nodeName":"other"}`, `{"restarts":7}`, `{"conditions":null}`,
			`{"observedGeneration":7}`, `{"taskRef":{"name":"x","uid":"u","attempt":1}}`,
		} {
			Expect(patch(ctx, runner("box-1"), status)).To(forbidden("only status.lastActivityTime"), status)
		}
		Expect(patch(ctx, runner("box-1"), `{"lastActivityTime":"2031-01-01T11:00:00Z"}`)).To(forbidden("does not go back"))
		Expect(patch(ctx, runner("box-1"), `{"lastActivityTime":null}`)).To(forbidden("does not go back"))
	})

	It("lets the runner of its pod say what it keeps, and of no other pod", func(ctx SpecContext) {
		keeps := func(uid string) string { return `{"checkpoint":{"podUID":"` + uid + `","state":"Complete"}}` }
		Expect(patch(ctx, runner("box-1"), keeps(podUID("box-1")))).To(Succeed())
		Expect(patch(ctx, runner("box-1"), keeps(podUID("box-2")))).To(forbidden("the runner's own pod"))
		Expect(patch(ctx, runner("box-1"), `{"checkpoint":null}`)).To(forbidden("the runner's own pod"))
		Expect(patch(ctx, runner("box-2"), keeps(podUID("box-2")))).To(forbidden("may be written only by the runner"))
		Expect(api.Client.Get(ctx, client.ObjectKeyFromObject(sb), sb)).To(Succeed())
		Expect(sb.Status.Checkpoint.State).To(Equal(v1alpha1.CheckpointComplete))
	})

	It("lets nobody else", func(ctx SpecContext) {
		later := `{"lastActivityTime":"2032-01-01T12:00:00Z"}`
		for what, c := range map[string]client.Client{
			"another pod": runner("box-2"), "one of its name": runner("box-1@later"), "no pod": runner(""),
			"another account":   account(sb.Namespace, "default", "box-1"),
			"another namespace": account("elsewhere", "sampan-runner", "box-1"),
		} {
			Expect(patch(ctx, c, later)).To(forbidden("may be written only by the runner"), what)
		}
	})
})
