package integration

import (
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var _ = Describe("A Sandbox that says it is of a pool", func() {
	It("is neither claimed nor counted where its owner is of another API group", func(ctx SpecContext) {
		w := newWorld(ctx)
		pool := w.full("spare", 1)
		mine := w.sandbox(w.waiting()[0])
		w.create(objects.MakeSandbox("forged").Image("theirs:1").With(func(sb *v1alpha1.Sandbox) {
			sb.Labels = mine.Labels
			sb.OwnerReferences = []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "SandboxPool", Name: pool.Name, UID: pool.UID, Controller: new(true)}}
		}).Obj())
		w.settle()
		w.warmUp()
		Expect(w.ready("forged")).To(HavePrefix("True"))
		Expect(w.fill("spare")).To(Equal("1/1 True Ready"))
		w.create(fromPool("a").Obj(), fromPool("b").Obj())
		w.settle()
		Expect([]string{w.claimOf("a"), w.claimOf("b")}).To(ConsistOf("Hit Warm", "Miss PoolEmpty"))
		Expect(w.sandbox("forged").OwnerReferences[0].Kind).To(Equal("SandboxPool"))
	})

	It("is of the template that it has, whatever its label says", func(ctx SpecContext) {
		w := newWorld(ctx)
		pool := w.full("spare", 2)
		before := w.waiting()
		w.change(pool, func() { pool.Spec.Template.Image = "tools:2" })
		w.settle()
		newest := slices.DeleteFunc(w.waiting(), func(name string) bool { return slices.Contains(before, name) })
		Expect(newest).To(HaveLen(1))
		for _, name := range before {
			old := w.sandbox(name)
			w.change(old, func() { old.Labels[podspec.LabelTemplate] = w.sandbox(newest[0]).Labels[podspec.LabelTemplate] })
		}
		w.start(newest[0]+"-1", "node")
		Expect(w.waiting()).To(ContainElement(newest[0]), "it came in the stead of one of before")
		w.create(fromPool("x").Obj())
		w.settle()
		Expect(w.task("x").Status.SandboxName).To(Equal(newest[0]))
		w.warmUp()
		for _, name := range w.waiting() {
			Expect(w.sandbox(name).Spec.Template.Image).To(Equal("tools:2"))
		}
	})
})
