package integration

import (
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var _ = Describe("A pool whose Sandboxes do not last", func() {
	It("makes them less and less often, and says why all the time", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakePool("spare", 1))
		w.settle()
		for range 60 { // ten minutes in which each of them crashes once it has run
			for _, p := range w.podList() {
				if p.Spec.NodeName == "" && p.DeletionTimestamp == nil {
					w.run(p.Name)
					w.podStatus(p.Name, func(st *corev1.PodStatus) { w.terminate(st, podapi.SandboxContainer, 1, "Error", "") })
					w.settle()
				}
			}
			Expect(w.fill("spare")).To(Equal("0/1 False SandboxLost"))
			w.pass(10 * time.Second)
		}
		Expect(len(w.made["v1alpha1.Sandbox"])).To(BeNumerically("~", 8, 3))
		Expect(strings.Count(w.eventLog(), "Warning SandboxLost")).To(Equal(1))
		pool := w.pool("spare")
		w.change(pool, func() { pool.Spec.Template.Image = "tools:2" })
		w.settle()
		w.warmUp()
		Expect(w.fill("spare")).To(Equal("1/1 True Ready"), "another template is tried at once")
	})

	It("replaces one that was suspended, and one whose node is lost", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 2)
		before := w.waiting()
		one := w.sandbox(before[0])
		w.change(one, func() { one.Spec.State = v1alpha1.SandboxSuspended })
		w.podStatus(before[1]+"-1", func(st *corev1.PodStatus) { st.Phase, st.Reason = corev1.PodFailed, "NodeLost" })
		w.settle()
		Expect(slices.DeleteFunc(w.waiting(), func(name string) bool { return slices.Contains(before, name) })).To(HaveLen(2))
	})

	It("does not wait for Sandboxes of an earlier registry, which nobody can claim", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 3)
		before := w.waiting()
		reg := objects.MakeRegistry(w.ns, "")
		w.change(reg, func() { reg.Data["models.yaml"] += "- {id: other, provider: gateway}\n" })
		w.settle()
		Expect(w.fill("spare")).To(Equal("0/3 False Filling"))
		for _, name := range before {
			Expect(w.waiting()).NotTo(ContainElement(name))
		}
	})

	It("is emptied where the feature is off, and filled where it is on again", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 2)
		pool := w.pool("spare")
		w.pools.Disabled = true
		_, err := w.pools.Reconcile(ctx, request(pool))
		Expect(err).NotTo(HaveOccurred())
		w.settle()
		Expect(w.fill("spare")).To(Equal("0/0 False Disabled"))
		Expect(w.sandboxList()).To(BeEmpty())
		w.restart()
		w.settle()
		w.warmUp()
		Expect(w.fill("spare")).To(Equal("2/2 True Ready"))
	})
})
