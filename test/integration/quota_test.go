package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// Once there is a quota on a resource, the API server admits only pods all of whose
// containers say how much of it they ask for or may have.
var _ = Describe("A quota on every resource", func() {
	quota := func(w *world, hard corev1.ResourceList) {
		GinkgoHelper()
		q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "team", Namespace: w.ns}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}
		w.create(q)
		q.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: corev1.ResourceList{}}
		for name := range hard {
			q.Status.Used[name] = resource.MustParse("0")
		}
		Expect(w.live.Status().Update(w.ctx, q)).To(Succeed()) // no controller does it here
	}
	given := func(t *v1alpha1.AgentTask) {
		t.Spec.Sandbox.Template.Resources = &corev1.ResourceRequirements{
			Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("1Gi")},
		}
	}
	DescribeTable("admits a pod", func(ctx SpecContext, change func(*v1alpha1.AgentTask)) {
		w := newWorld(ctx)
		quota(w, corev1.ResourceList{
			"requests.cpu": resource.MustParse("4"), "requests.memory": resource.MustParse("8Gi"),
			"limits.cpu": resource.MustParse("8"), "limits.memory": resource.MustParse("16Gi"),
			"requests.ephemeral-storage": resource.MustParse("1Gi"), "limits.ephemeral-storage": resource.MustParse("100Gi"),
			"pods": resource.MustParse("20"),
		})
		w.create(objects.MakeTask("x").With(change).Obj())
		w.settle()
		Expect(w.podList()).To(HaveLen(1))
	},
		Entry("that names its resources", given),
		Entry("that names none", func(*v1alpha1.AgentTask) {}),
	)
})
