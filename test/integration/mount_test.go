package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var _ = DescribeTable("What kubelet cannot mount is told by the pod's events alone, and named",
	func(ctx SpecContext, message, stands string) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.create(&corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Name: "x-1.1", Namespace: w.ns}, Type: corev1.EventTypeWarning, Reason: "FailedMount",
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: w.ns, Name: "x-1", UID: w.pod("x-1").UID}, Message: message,
		})
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"), "a pod has a moment to start")
		w.pass(10 * time.Second)
		Expect(w.stands("x")).To(Equal(stands))
		w.run("x-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	},
	Entry("a ConfigMap", `MountVolume.SetUp failed for volume "input" : configmap "script" not found`, "Unknown ConfigMapNotFound"),
	Entry("a Secret", `MountVolume.SetUp failed for volume "input" : secret "words" not found`, "Unknown SecretNotFound"),
	Entry("anything else", `MountVolume.SetUp failed for volume "workspace" : timed out`, "Unknown VolumeFailed"),
)
