package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/faults"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var _ = Describe("A probe whose operator fails", func() {
	It("says why its pod ended while no operator ran, and leaves the log", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.probing("nightly")
		w.podStatus("nightly-probe", func(st *corev1.PodStatus) {
			st.Phase = corev1.PodFailed
			w.terminate(st, podapi.RunnerContainer, 1, "Error", "the registry is gone")
		})
		w.pass(time.Hour)
		Expect(w.complete("nightly")).To(Equal("False RunnerCrashed: Container runner ended with exit code 1: the registry is gone"))
		Expect(w.podList()).To(HaveLen(1))
	})

	DescribeTable("says why it gave up, and lets no pod run on, where a write of that fails", func(ctx SpecContext, mode faults.Mode, write int) {
		w := fleetWorld(ctx)
		w.create(objects.MakeProbe("nightly"))
		w.settle()
		w.bind("nightly-probe", "node")
		w.podStatus("nightly-probe", func(st *corev1.PodStatus) {
			setContainer(st, podapi.RunnerContainer, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}})
		})
		w.settle()
		w.writes.Mode, w.writes.FailAt = mode, len(w.writes.Log)+write
		w.pass(11 * time.Minute)
		Expect(w.writes.Hit()).To(BeTrue())
		Expect(w.complete("nightly")).To(And(HavePrefix("False ImagePullFailed: "), HaveSuffix("no such image")))
		Expect(w.podList()).To(BeEmpty())
	},
		Entry("the first is refused", faults.Refused, 1),
		Entry("the second is refused", faults.Refused, 2),
		Entry("it ends at the first", faults.Crash, 1),
		Entry("it ends at the second", faults.Crash, 2),
	)

	It("is not paid for twice where its first pod is gone before it was recorded", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.probing("nightly")
		w.delete(w.pod("nightly-probe"), client.GracePeriodSeconds(0))
		probe := w.probe("nightly")
		w.changeStatus(probe, func() {
			probe.Status.PodUID = ""
			probe.Status.Models = []v1alpha1.ProbedModel{w.result(fleet, "large", v1alpha1.ProbeFits, "Good")}
		})
		w.settle()
		Expect(w.complete("nightly")).To(Equal("False PodLost: Pod nightly-probe is gone; 1 of 2 models have a result"))
		Expect(w.made["v1.Pod"]).To(HaveLen(1))
	})
})
