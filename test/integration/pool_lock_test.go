package integration

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var _ = Describe("Two tasks that have chosen the same Sandbox", func() {
	It("have one owner of it between them, whatever the cache shows", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 1)
		had := w.sandbox(w.waiting()[0])
		frozen := w.cache.Freeze("Sandbox")
		w.create(fromPool("a").Obj(), fromPool("b").Obj())
		old := func() { w.restartWith(w.writes.Client(frozen.Client(w.cache.Writer(w.operator)))) }
		owners := map[string]bool{}
		look := func() {
			if owner := metav1.GetControllerOf(w.sandbox(had.Name)); owner.Kind == "AgentTask" {
				owners[owner.Name] = true
			}
		}
		w.writes.After = func(_ string, obj client.Object) {
			if _, ok := obj.(*v1alpha1.Sandbox); ok {
				look()
			}
		}
		for _, name := range []string{"a", "b"} { // each chooses in a process of its own
			old()
			for range 3 {
				_, err := w.tasks.Reconcile(ctx, request(w.task(name)))
				Expect(err).NotTo(HaveOccurred())
				if w.task(name).Status.SandboxName != "" {
					break
				}
			}
			Expect(w.task(name).Status.Claim.SandboxUID).To(Equal(string(had.UID)))
		}
		old()
		for range 3 {
			for _, name := range []string{"a", "b"} {
				_, err := w.tasks.Reconcile(ctx, request(w.task(name)))
				Expect(err).NotTo(HaveOccurred())
				look()
			}
		}
		Expect(owners).To(HaveLen(1), "%v", owners)
	})
})

var _ = Describe("What a pool and its tasks add up to", func() {
	It("fits into a Sandbox of the task's own as into a warm one", func(ctx SpecContext) {
		w := newWorld(ctx)
		vars := func(prefix string, n int) (out []v1alpha1.EnvVar) {
			for i := range n {
				out = append(out, v1alpha1.EnvVar{Name: fmt.Sprintf("%s%d", prefix, i), Value: new("1")})
			}
			return out
		}
		pool := objects.MakePool("spare", 0)
		pool.Spec.Template.Env = vars("P", 65)
		pool.Namespace = w.ns
		Expect(w.live.Create(ctx, pool.DeepCopy())).To(MatchError(ContainSubstring("at most 64 variables")))
		pool.Spec.Template.Env = pool.Spec.Template.Env[:64]
		w.create(pool, fromPool("x").With(func(t *v1alpha1.AgentTask) { t.Spec.Sandbox.PoolRef.Env = vars("T", 64) }).Obj())
		w.settle()
		Expect(w.claimOf("x")).To(Equal("Miss PoolEmpty"))
		Expect(w.sandbox("x").Spec.Template.Env).To(HaveLen(128))
	})
})
