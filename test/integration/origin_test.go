package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// from is task x, which goes on from another.
func from(ref v1alpha1.OriginTaskReference) *objects.Task {
	return objects.MakeTask("x").With(func(t *v1alpha1.AgentTask) { t.Spec.From.TaskRef = ref })
}

// keeps plays the runner of a task that has kept a checkpoint.
func (w *world) keeps(name string, turn int32) {
	GinkgoHelper()
	task := w.task(name)
	w.changeStatus(task, func() { task.Status.Checkpoint.Turn = &turn })
}

var _ = Describe("A task that goes on from another", func() {
	It("waits for it, and keeps to the one that it has found", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(from(v1alpha1.OriginTaskReference{Name: "source"}).Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown OriginNotFound"))
		Expect(w.podList()).To(BeEmpty())

		w.create(objects.MakeTask("source").State(v1alpha1.TaskSuspended).Obj())
		w.pass(6 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown OriginNotReady"))
		Expect(w.task("x").Status.FromUID).To(BeEmpty())
		w.keeps("source", 0)
		w.pass(6 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.task("x").Status.FromUID).To(Equal(string(w.task("source").UID)))

		first := w.task("x").Status.FromUID
		w.delete(w.task("source"))
		w.settle()
		w.create(objects.MakeTask("source").State(v1alpha1.TaskSuspended).Obj())
		w.run("x-1")
		w.lose("x-1")
		w.settle()
		Expect(w.task("x").Status.Attempt).To(BeEquivalentTo(2))
		Expect(w.task("source").UID).NotTo(BeEquivalentTo(first))
		Expect(w.task("x").Status.FromUID).To(Equal(first), "a later task of the name is another one")
	})

	It("waits for the turn", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("source").Obj(), from(v1alpha1.OriginTaskReference{Name: "source"}).With(func(t *v1alpha1.AgentTask) { t.Spec.From.Turn = new(int32(7)) }).Obj())
		w.settle()
		w.run("source-1")
		Expect(w.stands("x")).To(Equal("Unknown OriginNotReady"))
		w.keeps("source", 6)
		w.pass(6 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown OriginNotReady"))
		Expect(meta.FindStatusCondition(w.task("x").Status.Conditions, v1alpha1.ConditionSucceeded).Message).To(ContainSubstring("no checkpoint of turn 7 yet; the last one is of turn 6"))
		w.keeps("source", 7)
		w.pass(6 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.task("x").Status.FromUID).To(BeEquivalentTo(w.task("source").UID))
	})

	DescribeTable("does not wait for what will not come", func(ctx SpecContext, source *objects.Task, do func(w *world)) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj(), source.Obj())
		w.settle()
		do(w)
		w.create(from(v1alpha1.OriginTaskReference{Name: "source"}).Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
	},
		Entry("of a task that has ended", objects.MakeTask("source"), func(w *world) {
			w.run("source-1")
			w.report("source", v1alpha1.ReasonCompleted)
			w.settle()
		}),
		Entry("of a task in a named Sandbox", objects.MakeTask("source").In("dev"), func(*world) {}),
	)

	It("may be one that was deleted, by its UID", func(ctx SpecContext) {
		const uid = "5f1c4e1a-0000-4000-8000-000000000001"
		w := newWorld(ctx)
		w.create(from(v1alpha1.OriginTaskReference{Name: "x", UID: uid}).Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.task("x").Status.FromUID).To(Equal(uid))
	})

	It("ends with the reason that its runner has", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("source").State(v1alpha1.TaskSuspended).Obj(), from(v1alpha1.OriginTaskReference{Name: "source"}).Obj())
		w.keeps("source", 3)
		w.pass(6 * time.Second)
		w.run("x-1")
		w.reportWords("x", v1alpha1.ReasonCheckpointNotFound, "AgentTask source has no checkpoint of turn 7; there are those of turns 0-3")
		w.settle()
		Expect(w.stands("x")).To(Equal("False CheckpointNotFound"))
	})

	It("names one that can be", func(ctx SpecContext) {
		w := newWorld(ctx)
		for _, name := range []string{"Source", "a/b", "../source", "a b"} {
			obj := from(v1alpha1.OriginTaskReference{Name: name}).Namespace(w.ns).Obj()
			Expect(api.Client.Create(ctx, obj, client.DryRunAll)).To(MatchError(ContainSubstring("spec.from.taskRef.name")), name)
		}
		Expect(api.Client.Create(ctx, from(v1alpha1.OriginTaskReference{Name: "a.b-c"}).Namespace(w.ns).Obj(), client.DryRunAll)).To(Succeed())
	})

	It("cannot be changed", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(from(v1alpha1.OriginTaskReference{Name: "source"}).Obj(), objects.MakeTask("y").Obj())
		for _, name := range []string{"x", "y"} {
			before := w.task(name)
			after := before.DeepCopy()
			after.Spec.From = v1alpha1.TaskOrigin{TaskRef: v1alpha1.OriginTaskReference{Name: "other"}}
			Expect(api.Client.Patch(ctx, after, client.MergeFrom(before))).To(MatchError(ContainSubstring("from is immutable")))
		}
	})
})

var _ = Describe("Who has a task go on from another", Ordered, func() {
	mayRead := func(subresource string, names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{"subresources.sampan.dev"}, Resources: []string{"agenttasks/" + subresource}, ResourceNames: names, Verbs: []string{"get"}}
	}

	It("must be allowed to read its transcript and its checkpoints", func(ctx SpecContext) {
		const tenant = "forker"
		ns := guardedNamespace(ctx)
		dry := func(name string) error {
			return as(tenant, "").Create(ctx, from(v1alpha1.OriginTaskReference{Name: name}).Namespace(ns).Obj(), client.DryRunAll)
		}
		refused := func(what string) OmegaMatcher {
			return MatchError(And(ContainSubstring("'sampan-origins'"), ContainSubstring("you may not get agenttasks/"+what), ContainSubstring("ask for the right")))
		}
		grant(ctx, tenant, ns, rule("sampan.dev", "*"))
		Eventually(func() error { return dry("source") }).WithTimeout(patience).Should(refused("transcript of source"))
		grant(ctx, tenant, ns, mayRead("transcript", "source"))
		Eventually(func() error { return dry("source") }).WithTimeout(patience).Should(refused("checkpoints of source"))
		grant(ctx, tenant, ns, mayRead("checkpoints", "source"))
		Eventually(func() error { return dry("source") }).WithTimeout(patience).Should(Succeed())
		Expect(dry("other")).To(refused("transcript of other"))

		By("changing what an administrator has created")
		obj := from(v1alpha1.OriginTaskReference{Name: "other"}).Namespace(ns).Obj()
		Expect(api.Client.Create(ctx, obj)).To(Succeed())
		before := obj.DeepCopy()
		obj.Spec.State = v1alpha1.TaskCancelled
		Expect(as(tenant, "").Patch(ctx, obj, client.MergeFrom(before))).To(Succeed())
	})
})
