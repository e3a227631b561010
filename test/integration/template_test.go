package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// everything asks for all that a template can have, but for what needs a node.
func everything(sb *v1alpha1.Sandbox) {
	t := &sb.Spec.Template
	t.Metadata = v1alpha1.PodMetadata{Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"karpenter.sh/do-not-disrupt": "true"}}
	t.Image, t.ImagePullPolicy = "debian:12", corev1.PullAlways
	t.ImagePullSecrets = []v1alpha1.SecretReference{{Name: "mine"}}
	t.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{"cpu": resource.MustParse("1500m")}}
	t.Runner.Resources = &corev1.ResourceRequirements{Requests: corev1.ResourceList{"memory": resource.MustParse("1Gi")}}
	t.Env = []v1alpha1.EnvVar{{Name: "A", Value: new("")}}
	t.CABundle = v1alpha1.KeyReference{Name: "corporate", Key: "ca.crt"}
	t.Proxy = v1alpha1.Proxy{HTTPSProxy: "http://proxy.example.com:3128", NoProxy: []v1alpha1.NoProxyEntry{".example.com"}}
	t.RootFilesystem = v1alpha1.RootFilesystemWritable
	t.Volumes = []v1alpha1.Volume{{Name: "data", MountPath: "/data", EmptyDir: &corev1.EmptyDirVolumeSource{}}}
	t.Scheduling = v1alpha1.Scheduling{NodeSelector: map[string]string{"pool": "a"}, Tolerations: []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}}}
}

const letsEverything = `version: 1
metadata: {labels: [team]}
network: {proxies: ["http://proxy.example.com:3128"]}
caBundles: [corporate]
writableRootFilesystem: true
scheduling: {tolerations: [dedicated]}
defaults:
  metadata: {labels: {cost-center: "7"}}
  imagePullSecrets: [{name: theirs}]
`

// A pod that an operator made, and ended before it recorded it, is taken for ours by
// each of its fields: the API server must leave them as they are.
var _ = Describe("A pod with all that a template can have", func() {
	DescribeTable("is ours as it was made", func(ctx SpecContext, platformUser bool) {
		w := newWorld(ctx)
		w.sandboxes.Options.PlatformUser = platformUser
		w.newPolicy(letsEverything)
		w.create(objects.MakeSandbox("bench").With(everything).Obj())
		w.settle()
		pod := w.pod("bench-1")
		Expect(pod.Labels).To(And(HaveKeyWithValue("team", "a"), HaveKeyWithValue("cost-center", "7")))
		Expect(pullSecrets(pod)).To(Equal([]string{"mine", "theirs"}))
		Expect(pod.Spec.SecurityContext.RunAsUser == nil).To(Equal(platformUser))

		sb := w.sandbox("bench")
		before := sb.DeepCopy()
		sb.Status.PodName, sb.Status.PodUID = "", ""
		Expect(w.live.Status().Patch(w.ctx, sb, client.MergeFrom(before))).To(Succeed())
		w.settle()
		Expect(w.eventLog()).NotTo(ContainSubstring("PodNotOurs"))
		Expect(w.made["v1.Pod"]).To(Equal([]string{"bench-1"}))
		Expect(w.sandbox("bench").Status.PodUID).To(Equal(string(pod.UID)))
	},
		Entry("of our user", false),
		Entry("of the platform's", true),
	)

	It("runs a task whose own Sandbox it is", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.newPolicy(letsEverything)
		w.create(objects.MakeTask("x").With(func(t *v1alpha1.AgentTask) {
			t.Spec.Sandbox.Template = objects.MakeSandbox("").With(everything).Obj().Spec.Template
		}).Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.podList()).To(HaveLen(1))
	})
})
