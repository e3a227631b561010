package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var _ = DescribeTable("What keeps a pod from starting is told by its events alone, and named",
	func(ctx SpecContext, reason, message, stands string) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.take("x-1", reason, message)
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"), "a pod has a moment to start")
		w.pass(10 * time.Second)
		Expect(w.stands("x")).To(Equal(stands))
		Expect(meta.FindStatusCondition(w.task("x").Status.Conditions, v1alpha1.ConditionSucceeded).Message).To(ContainSubstring(message))
		w.run("x-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	},
	Entry("a ConfigMap", "FailedMount", `MountVolume.SetUp failed for volume "input" : configmap "script" not found`, "Unknown ConfigMapNotFound"),
	Entry("a Secret", "FailedMount", `MountVolume.SetUp failed for volume "input" : secret "words" not found`, "Unknown SecretNotFound"),
	Entry("any other volume", "FailedMount", `MountVolume.SetUp failed for volume "workspace" : timed out`, "Unknown VolumeFailed"),
	Entry("a volume that another node has", "FailedAttachVolume", `Multi-Attach error for volume "pvc-1"`, "Unknown VolumeFailed"),
	Entry("its network", "FailedCreatePodSandBox", "Failed to create pod sandbox: no IP addresses available", "Unknown PodNotStarted"),
	Entry("its node's network", "NetworkNotReady", "network is not ready: cni plugin not initialized", "Unknown PodNotStarted"),
	Entry("a large image", "Pulling", `Pulling image "large:1"`, "Unknown Starting"),
)

var _ = Describe("A pod that nothing is told of", func() {
	It("names the scheduler, then the node, then what its network did last", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		says := func(stands, message string) {
			GinkgoHelper()
			Expect(w.stands("x")).To(Equal(stands))
			Expect(meta.FindStatusCondition(w.task("x").Status.Conditions, v1alpha1.ConditionSucceeded).Message).To(Equal(message))
		}
		w.pass(61 * time.Second)
		says("Unknown Unschedulable", `The scheduler "default-scheduler" has not looked at Pod x-1 yet; see whether it runs`)
		w.bind("x-1", "node")
		w.pass(10 * time.Second)
		says("Unknown PodNotStarted", "Node node has not begun to start Pod x-1; see whether its kubelet runs")
		w.take("x-1", "FailedCreatePodSandBox", "no IP addresses available")
		w.pass(10 * time.Second)
		says("Unknown PodNotStarted", "no IP addresses available")
		w.tell(w.pod("x-1"), "Pod", "Created", "Container created")
		w.pass(10 * time.Second)
		says("Unknown Starting", "Pod x-1 is starting")
	})
})
