package integration

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/faults"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// freeze takes, after each write, a cache that stays as it is then. Kinds that
// are not named are read live.
func (w *world) freeze(kinds ...string) *[]*faults.Cache {
	frozen := &[]*faults.Cache{}
	take := func() { *frozen = append(*frozen, w.cache.Freeze(kinds...)) }
	after := w.writes.After
	w.writes.After = func(verb string, obj client.Object) {
		after(verb, obj)
		take()
	}
	take()
	return frozen
}

// summary is all that a stale controller must not change.
func (w *world) summary() string {
	var b strings.Builder
	for _, t := range w.taskList() {
		fmt.Fprintf(&b, "%s: %s, attempt %d in %s, %d lost\n", t.Name, w.stands(t.Name), t.Status.Attempt, t.Status.PodName, len(t.Status.Attempts))
	}
	for _, sb := range w.sandboxList() {
		ready := meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionReady)
		fmt.Fprintf(&b, "Sandbox %s: %s, pod %s, held by %s/%d, deleted %v\n", sb.Name, ready.Reason, sb.Status.PodName, sb.Status.TaskRef.Name, sb.Status.TaskRef.Attempt, sb.DeletionTimestamp != nil)
	}
	for _, p := range w.podList() {
		fmt.Fprintf(&b, "Pod %s, deleted %v\n", p.Name, p.DeletionTimestamp != nil)
	}
	for _, p := range w.policyList() {
		fmt.Fprintf(&b, "NetworkPolicy %s opens %v\n", p.Name, opens(&p))
	}
	// Where one kind is old and the other is not, a start may be shown again for a
	// moment: the next event mends it, and nothing acts on it.
	return strings.NewReplacer("Unknown Starting", "Unknown Running", "PodPending", "Ready").Replace(b.String())
}

// wake lets a controller that has slept since each of those caches was taken
// reconcile everything that is or was there.
func (w *world) wake(frozen []*faults.Cache) {
	GinkgoHelper()
	want, made := w.summary(), fmt.Sprint(w.made)
	w.writes.After = func(verb string, obj client.Object) { // only what must not be
		if verb == "create" {
			made += fmt.Sprintf(" %T %s", obj, obj.GetName())
		}
	}
	before := made
	for age, cache := range frozen {
		c := w.writes.Client(cache.Client(w.cache.Writer(w.operator)))
		w.restartWith(c)
		tasks, sandboxes := w.tasks, w.sandboxes
		_, err := w.pools.Reconcile(w.ctx, request(objects.MakeTask("spare").Namespace(w.ns).Obj()))
		Expect(err).NotTo(HaveOccurred())
		for _, name := range append(w.names(w.sandboxList()), "x", "x-1", "x-2", "dev") {
			req := request(objects.MakeTask(name).Namespace(w.ns).Obj())
			_, err := tasks.Reconcile(w.ctx, req)
			Expect(err).NotTo(HaveOccurred())
			_, err = sandboxes.Reconcile(w.ctx, req)
			Expect(err).NotTo(HaveOccurred())
		}
		Expect(made).To(Equal(before), "the cache of write %d", age)
		Expect(w.summary()).To(Equal(want), "the cache of write %d", age)
	}
}

var _ = Describe("A controller that wakes up with an old cache", func() {
	for _, kinds := range []string{"AgentTask", "Sandbox", "Pod", "Sandbox Pod", "AgentTask Sandbox SandboxPool Pod NetworkPolicy PersistentVolumeClaim"} {
		It("changes nothing of a task that runs its second attempt: "+kinds, func(ctx SpecContext) {
			w := newWorld(ctx)
			frozen := w.freeze(strings.Fields(kinds)...)
			w.create(objects.MakeTask("x").Obj())
			w.settle()
			w.run("x-1")
			w.lose("x-1")
			w.run("x-2")
			Expect(w.stands("x")).To(Equal("Unknown Running"))
			w.wake(*frozen)
		})

		It("changes nothing of a task that has claimed a Sandbox, nor of the pool: "+kinds, func(ctx SpecContext) {
			w := newWorld(ctx)
			frozen := w.freeze(strings.Fields(kinds)...)
			w.full("spare", 2)
			w.create(objects.MakeTask("x").From("spare").Obj())
			w.settle()
			w.warmUp()
			Expect(w.stands("x")).To(Equal("Unknown Running"))
			w.wake(*frozen)
		})

		It("changes nothing of a named Sandbox that has its second pod: "+kinds, func(ctx SpecContext) {
			w := newWorld(ctx)
			frozen := w.freeze(strings.Fields(kinds)...)
			reg := objects.MakeRegistry(w.ns, "")
			w.change(reg, func() { reg.Data["models.yaml"] = servedBy("http://10.1.2.3/v1") })
			w.create(objects.MakeSandbox("dev").With(restricted).With(persistent).Obj())
			w.settle()
			w.run("dev-1")
			w.change(reg, func() { reg.Data["models.yaml"] = servedBy("http://10.9.9.9/v1") })
			w.lose("dev-1")
			w.run("dev-2")
			w.create(objects.MakeTask("x").In("dev").Obj())
			w.settle()
			Expect(w.stands("x")).To(Equal("Unknown Running"))
			w.wake(*frozen)
		})

		It("changes nothing of a Sandbox that was idle, and has a task again: "+kinds, func(ctx SpecContext) {
			w := newWorld(ctx)
			frozen := w.freeze(strings.Fields(kinds)...)
			w.create(objects.MakeSandbox("dev").With(restricted).With(persistent).With(idleAfter(600)).With(goneAfter(1200)).Obj())
			w.settle()
			w.run("dev-1")
			w.pass(601 * time.Second)
			Expect(w.ready("dev")).To(Equal("False Idle"))
			w.create(objects.MakeTask("x").In("dev").Obj())
			w.settle()
			w.run("dev-2")
			Expect(w.stands("x")).To(Equal("Unknown Running"))
			w.clock.Step(30 * time.Minute)
			w.wake(*frozen)
		})

		It("makes nothing for a task, or a Sandbox, that is gone: "+kinds, func(ctx SpecContext) {
			w := newWorld(ctx)
			frozen := w.freeze(strings.Fields(kinds)...)
			sb := objects.MakeSandbox("x").With(restricted).Obj()
			w.create(objects.MakeTask("x").With(func(t *v1alpha1.AgentTask) { t.Spec.Sandbox.Template = sb.Spec.Template }).Obj())
			w.create(objects.MakeSandbox("dev").With(restricted).With(persistent).Obj())
			w.settle()
			w.run("x-1")
			w.delete(w.task("x"))
			w.delete(w.sandbox("dev"))
			w.settle()
			Expect(w.taskList()).To(BeEmpty())
			Expect(w.sandboxList()).To(BeEmpty())
			w.collect("x")
			w.collect("dev")
			w.wake(*frozen)
		})
	}
})

var _ = Describe("A Sandbox that says to be held by an attempt that never was", func() {
	It("is put right, and not looked at for ever", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		sb := w.sandbox("x")
		w.changeStatus(sb, func() { sb.Status.TaskRef.Attempt = 7 })
		w.settle()
		Expect(w.sandbox("x").Status.TaskRef.Attempt).To(BeEquivalentTo(1))
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})
})

var _ = Describe("A Sandbox that is seen before its task's attempt", func() {
	It("is looked at again, since no event need tell of a first attempt", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		early := w.freeze("AgentTask")
		_, err := w.tasks.Reconcile(w.ctx, request(w.task("x")))
		Expect(err).NotTo(HaveOccurred())
		w.restartWith(w.writes.Client((*early)[0].Client(w.live)))
		again, err := w.sandboxes.Reconcile(w.ctx, request(w.sandbox("x")))
		Expect(err).NotTo(HaveOccurred())
		Expect(again.RequeueAfter).To(BeNumerically(">", 0))
		Expect(w.sandbox("x").Status.Conditions).To(BeEmpty(), "nothing false is said")
	})
})
