package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// pullSecrets are those of a pod.
func pullSecrets(pod *corev1.Pod) []string {
	var out []string
	for _, ref := range pod.Spec.ImagePullSecrets {
		out = append(out, ref.Name)
	}
	return out
}

var _ = Describe("The runners' ServiceAccount", func() {
	account := func(secrets ...string) *corev1.ServiceAccount {
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "sampan-runner", Namespace: "default"}}
		for _, name := range secrets {
			sa.ImagePullSecrets = append(sa.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
		}
		return sa
	}

	It("may have been made beforehand, by anybody", func(ctx SpecContext) {
		w := newWorld(ctx)
		sa := account("regcred")
		w.create(sa, objects.MakeTask("x").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.podList()).To(HaveLen(1))
		pod := w.podList()[0]
		Expect(pullSecrets(&pod)).To(Equal([]string{"regcred"}))
		Expect(pod.Spec.AutomountServiceAccountToken).To(HaveValue(BeFalse()), "the account does not say so")
		version := sa.ResourceVersion
		Expect(w.live.Get(ctx, key(sa), sa)).To(Succeed())
		Expect(sa.ResourceVersion).To(Equal(version), "it is not ours to change")
	})

	It("gives the next pod what was patched onto it", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("a").Obj())
		w.settle()
		Expect(pullSecrets(w.pod("a-1"))).To(BeEmpty())
		sa := account()
		sa.Namespace = w.ns
		w.change(sa, func() { sa.ImagePullSecrets = account("regcred").ImagePullSecrets })
		w.create(objects.MakeSandbox("b").Obj())
		w.settle()
		Expect(pullSecrets(w.pod("b-1"))).To(Equal([]string{"regcred"}))
	})
})
