package integration

import (
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/warm"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/faults"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

func (w *world) pool(name string) *v1alpha1.SandboxPool {
	GinkgoHelper()
	var pool v1alpha1.SandboxPool
	Expect(w.live.Get(w.ctx, types.NamespacedName{Namespace: w.ns, Name: name}, &pool)).To(Succeed())
	return &pool
}

// full makes a pool whose Sandboxes run.
func (w *world) full(name string, replicas int32) *v1alpha1.SandboxPool {
	GinkgoHelper()
	w.create(objects.MakePool(name, replicas))
	w.settle()
	w.warmUp()
	Expect(w.fill(name)).To(Equal(fmt.Sprintf("%d/%d True Ready", replicas, replicas)))
	return w.pool(name)
}

// warmUp plays scheduler and kubelet for all pods that wait for them, until no pool makes
// another.
func (w *world) warmUp() {
	GinkgoHelper()
	for {
		pods := slices.DeleteFunc(w.podList(), func(p corev1.Pod) bool { return p.Spec.NodeName != "" || p.DeletionTimestamp != nil })
		if len(pods) == 0 {
			return
		}
		w.run(pods[0].Name)
	}
}

// fill is "ready/waiting status reason" of a pool.
func (w *world) fill(name string) string {
	GinkgoHelper()
	pool := w.pool(name)
	c := meta.FindStatusCondition(pool.Status.Conditions, v1alpha1.ConditionReady)
	Expect(c).NotTo(BeNil())
	return fmt.Sprintf("%d/%d %s %s", *pool.Status.ReadyReplicas, *pool.Status.Replicas, c.Status, c.Reason)
}

// waiting are the names of the Sandboxes that wait in some pool.
func (w *world) waiting() []string {
	GinkgoHelper()
	out := []string{}
	for _, sb := range w.sandboxList() {
		if podapi.OwnerPool(&sb) != nil {
			out = append(out, sb.Name)
		}
	}
	return out
}

// claim is "outcome reason" of a task's claim.
func (w *world) claimOf(name string) string {
	GinkgoHelper()
	c := w.task(name).Status.Claim
	return fmt.Sprintf("%s %s", c.Outcome, c.Reason)
}

func fromPool(name string) *objects.Task { return objects.MakeTask(name).From("spare") }

// pooledSandbox is the life of a task that claims a warm Sandbox, loses its pod, goes on in
// another one of the same Sandbox, and is deleted; and what the pool does meanwhile.
func pooledSandbox(w *world) {
	GinkgoHelper()
	w.full("spare", 1)
	had := w.waiting()[0]
	w.create(fromPool("x").Obj())
	w.settle()
	Expect(w.claimOf("x")).To(Equal("Hit Warm"))
	Expect(w.stands("x")).To(Equal("Unknown Running"), "its pod ran before")
	first := w.task("x").Status.SandboxName
	w.warmUp()
	Expect(w.fill("spare")).To(Equal("1/1 True Ready"))
	w.lose(w.task("x").Status.PodName)
	Expect(w.task("x").Status).To(And(HaveField("Attempt", BeEquivalentTo(2)), HaveField("SandboxName", first), HaveField("PodName", first+"-2")))
	w.run(first + "-2")
	w.report("x", v1alpha1.ReasonCompleted)
	w.exit(first+"-2", 0, "")
	Expect(w.stands("x")).To(Equal("True Completed"))
	w.delete(w.task("x"))
	w.settle()
	Expect(w.sandboxList()).To(HaveLen(1))
	Expect(w.waiting()).To(HaveLen(1))
	Expect(w.waiting()[0]).NotTo(Equal(first), "it is not used again")
	Expect(w.made["v1alpha1.Sandbox"]).To(HaveLen(2))
	Expect(w.made["v1.Pod"]).To(HaveLen(3))
	Expect(had).To(Equal(first))
}

var _ = Describe("A pool", func() {
	It("makes so many Sandboxes, a few at a time, and says how far it is", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakePool("spare", 7))
		w.settle()
		Expect(w.fill("spare")).To(Equal("0/4 False Filling"))
		w.run(w.podList()[0].Name)
		Expect(w.fill("spare")).To(Equal("1/5 False Filling"))
		w.warmUp()
		Expect(w.fill("spare")).To(Equal("7/7 True Ready"))
		Expect(w.made["v1alpha1.Sandbox"]).To(HaveLen(7))
		for _, p := range w.podList() {
			Expect(p.Labels).To(HaveKeyWithValue("sampan.dev/pool", "spare"))
			Expect(p.Labels).NotTo(HaveKey("sampan.dev/task"))
		}
		Expect(w.pool("spare").Status.Selector).To(Equal("sampan.dev/pool=spare"))
	})

	It("gives a task a Sandbox that runs, and fills up again", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 1)
		sb := w.sandbox(w.waiting()[0])
		w.create(fromPool("x").Obj())
		w.settle()
		Expect(w.claimOf("x")).To(Equal("Hit Warm"))
		Expect(w.task("x").Status).To(And(HaveField("SandboxName", sb.Name), HaveField("PodName", sb.Name+"-1"), HaveField("PodUID", sb.Status.PodUID)))
		claimed := w.sandbox(sb.Name)
		Expect(claimed.OwnerReferences).To(HaveLen(1))
		Expect(metav1.IsControlledBy(claimed, w.task("x"))).To(BeTrue())
		Expect(claimed.Labels).To(And(HaveKeyWithValue("sampan.dev/task", "x"), Not(HaveKey("sampan.dev/pool"))))
		Expect(w.waiting()).To(HaveLen(1))
		Expect(w.waiting()).NotTo(ContainElement(sb.Name))
	})

	It("costs a claim at most six writes, to the first report of the runner", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 1)
		had := w.waiting()[0]
		var wrote []string
		w.writes.After = func(verb string, obj client.Object) {
			if obj.GetName() == "x" || obj.GetName() == had {
				wrote = append(wrote, fmt.Sprintf("%s %T", verb, obj))
			}
		}
		w.create(fromPool("x").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		Expect(w.claimOf("x")).To(Equal("Hit Warm"))
		Expect(len(wrote)).To(BeNumerically("<=", 5), "%v, and the report itself", wrote)
		AddReportEntry("writes", strings.Join(wrote, ", "))
	})

	It("is bounded, scaled, and refused with a persistent workspace", func(ctx SpecContext) {
		w := newWorld(ctx)
		kept := objects.MakePool("spare", 1)
		kept.Namespace, kept.Spec.Template.Workspace.Persistence = w.ns, v1alpha1.WorkspacePersistent
		Expect(w.live.Create(ctx, kept)).To(MatchError(ContainSubstring("ephemeral workspaces")))
		many := objects.MakePool("spare", 1001)
		many.Namespace = w.ns
		Expect(w.live.Create(ctx, many)).To(MatchError(ContainSubstring("1000")))
		both := fromPool("x").Image("tools:1").Obj()
		both.Namespace = w.ns
		Expect(w.live.Create(ctx, both)).To(MatchError(ContainSubstring("spec.sandbox")))
		pool := w.full("spare", 1)
		scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 2}}
		Expect(w.live.SubResource("scale").Update(ctx, pool, client.WithSubResourceBody(scale))).To(Succeed())
		Expect(w.cache.Refresh(ctx, "SandboxPool", client.ObjectKeyFromObject(pool))).To(Succeed())
		w.settle()
		w.warmUp()
		Expect(w.fill("spare")).To(Equal("2/2 True Ready"))
	})

	It("has a task that finds it empty start in a Sandbox of its own", func(ctx SpecContext) {
		w := newWorld(ctx)
		pool := objects.MakePool("spare", 0)
		pool.Spec.Template.Image = "tools:1"
		w.create(pool, fromPool("x").Obj())
		w.settle()
		Expect(w.fill("spare")).To(Equal("0/0 True Ready"))
		Expect(w.claimOf("x")).To(Equal("Miss PoolEmpty"))
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.sandbox("x").Spec.Template.Image).To(Equal("tools:1"))
		w.run("x-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("is as good as empty where the feature is off", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 1)
		w.tasks.Surroundings = nil
		w.create(fromPool("x").Obj())
		w.settle()
		Expect(w.claimOf("x")).To(Equal("Miss Disabled"))
		w.run("x-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("has a task that begins with another one's work go on in a warm Sandbox", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 1)
		w.create(objects.MakeTask("source").Obj())
		w.settle()
		w.run("source-1")
		w.report("source", v1alpha1.ReasonCompleted)
		w.create(from(v1alpha1.OriginTaskReference{Name: "source"}).From("spare").Obj())
		w.settle()
		Expect(w.claimOf("x")).To(Equal("Hit Warm"))
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("has a task that finds none ready start in a Sandbox of its own", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakePool("spare", 1))
		w.settle()
		w.create(fromPool("x").Obj())
		w.settle()
		Expect(w.claimOf("x")).To(Equal("Miss NoneReady"))
		w.run("x-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("gives one Sandbox to one of two tasks", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 1)
		w.create(fromPool("a").Obj(), fromPool("b").Obj())
		w.settle()
		Expect([]string{w.claimOf("a"), w.claimOf("b")}).To(ConsistOf("Hit Warm", "Miss PoolEmpty"))
		Expect(w.task("a").Status.SandboxName).NotTo(Equal(w.task("b").Status.SandboxName))
	})

	It("gives one Sandbox to one of two tasks, also where the second sees it wait still", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 1)
		had := w.waiting()[0]
		frozen := w.freeze("Sandbox")
		w.create(fromPool("a").Obj())
		w.settle()
		Expect(w.task("a").Status.SandboxName).To(Equal(had))
		w.create(fromPool("b").Obj())
		w.restartWith(w.writes.Client((*frozen)[0].Client(w.live)))
		_, err := w.tasks.Reconcile(ctx, request(w.task("b")))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.task("b").Status.SandboxName).To(Equal(had), "it has chosen the same")
		Expect(metav1.IsControlledBy(w.sandbox(had), w.task("a"))).To(BeTrue())
		w.restart()
		w.settle()
		Expect(metav1.IsControlledBy(w.sandbox(had), w.task("a"))).To(BeTrue())
		Expect(w.claimOf("b")).To(HavePrefix("Miss"))
		Expect(w.task("b").Status.PodName).To(Equal("b-1"))
		w.warmUp()
		Expect(w.stands("a")).To(Equal("Unknown Running"))
		Expect(w.stands("b")).To(Equal("Unknown Running"))
	})

	It("removes nothing that a task claims at the same moment", func(ctx SpecContext) {
		w := newWorld(ctx)
		pool := w.full("spare", 1)
		sb := w.sandbox(w.waiting()[0])
		task := fromPool("x").State(v1alpha1.TaskSuspended).Obj()
		w.create(task)
		w.change(pool, func() { pool.Spec.Replicas = new(int32(0)) })
		w.writes.FailIf = func() (faults.Mode, bool) { // after it was counted, before it is deleted
			w.writes.FailIf = nil
			w.change(sb, func() { warm.Claim(sb, w.task("x")) })
			return faults.Refused, false
		}
		_, err := w.pools.Reconcile(ctx, request(pool))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.sandbox(sb.Name).DeletionTimestamp).To(BeNil())
		w.settle()
		Expect(w.fill("spare")).To(Equal("0/0 True Ready"))
	})

	It("is emptied when it is scaled to 0", func(ctx SpecContext) {
		w := newWorld(ctx)
		pool := w.full("spare", 3)
		w.change(pool, func() { pool.Spec.Replicas = new(int32(0)) })
		w.settle()
		Expect(w.sandboxList()).To(BeEmpty())
		Expect(w.podList()).To(BeEmpty())
		Expect(w.fill("spare")).To(Equal("0/0 True Ready"))
	})

	It("replaces what has an earlier template, one by one", func(ctx SpecContext) {
		w := newWorld(ctx)
		pool := w.full("spare", 2)
		before := w.waiting()
		w.change(pool, func() { pool.Spec.Template.Image = "tools:2" })
		w.settle()
		Expect(w.waiting()).To(HaveLen(3), "one more than its replicas")
		Expect(w.waiting()).To(ContainElements(before))
		Expect(w.fill("spare")).To(Equal("2/3 False Updating"))
		w.warmUp()
		Expect(w.fill("spare")).To(Equal("2/2 True Ready"))
		Expect(w.waiting()).NotTo(ContainElements(before[0]))
		Expect(w.waiting()).NotTo(ContainElements(before[1]))
		Expect(w.made["v1alpha1.Sandbox"]).To(HaveLen(4))
	})

	It("prefers what has the newest template, and does with what has not", func(ctx SpecContext) {
		w := newWorld(ctx)
		pool := w.full("spare", 2)
		w.change(pool, func() { pool.Spec.Template.Image = "tools:2" })
		w.settle()
		for _, p := range w.podList() {
			if p.Spec.NodeName == "" {
				w.start(p.Name, "node")
			}
		}
		w.create(fromPool("x").Obj())
		w.settle()
		Expect(w.claimOf("x")).To(Equal("Hit Warm"))
		Expect(w.sandbox(w.task("x").Status.SandboxName).Spec.Template.Image).To(Equal("tools:2"))
		w.create(fromPool("y").Obj())
		w.settle()
		Expect(w.claimOf("y")).To(Equal("Hit Warm"))
		Expect(w.sandbox(w.task("y").Status.SandboxName).Spec.Template.Image).To(BeEmpty())
	})

	It("gives no Sandbox of an earlier template to a task that names the credentials of the newest", func(ctx SpecContext) {
		w := newWorld(ctx)
		pool := w.full("spare", 1)
		credentials := v1alpha1.SecretReference{Name: "new"}
		w.change(pool, func() {
			pool.Spec.Template.Workspace.Git = v1alpha1.GitSource{URL: "https://git.example/a.git", CredentialsSecretRef: credentials}
		})
		w.create(fromPool("x").With(func(t *v1alpha1.AgentTask) {
			t.Spec.Sandbox.PoolRef.Git = v1alpha1.GitSource{URL: "https://git.example/b.git", CredentialsSecretRef: credentials}
		}).Obj())
		_, err := w.tasks.Reconcile(ctx, request(w.task("x")))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.claimOf("x")).To(HavePrefix("Miss"))
		Expect(w.sandbox("x").Spec.Template.Workspace.Git.URL).To(Equal("https://git.example/b.git"))
	})

	It("replaces what has an earlier registry, which nobody gets meanwhile", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 1)
		before := w.waiting()[0]
		reg := objects.MakeRegistry(w.ns, "")
		w.change(reg, func() { reg.Data["models.yaml"] += "- {id: other, provider: gateway}\n" })
		w.create(fromPool("x").Model("other").Obj())
		w.settle()
		Expect(w.claimOf("x")).To(Equal("Miss NotUpdated"))
		w.warmUp()
		Expect(w.waiting()).NotTo(ContainElement(before))
		Expect(w.fill("spare")).To(Equal("1/1 True Ready"))
	})

	It("replaces what another policy of the administrator would have made otherwise", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 1)
		before := w.waiting()[0]
		w.newPolicy("version: 1\ndefaults: {runner: {resources: {limits: {memory: 1Gi}}}}\n")
		w.create(fromPool("x").Obj())
		w.settle()
		Expect(w.claimOf("x")).To(Equal("Miss NotUpdated"))
		w.warmUp()
		Expect(w.waiting()).NotTo(ContainElement(before))
		Expect(w.fill("spare")).To(Equal("1/1 True Ready"))
	})

	It("is deleted with what waits in it, and not with what was claimed", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 2)
		w.create(fromPool("x").Obj())
		w.settle()
		w.delete(w.pool("spare"))
		w.settle()
		Expect(w.names(w.sandboxList())).To(Equal([]string{w.task("x").Status.SandboxName}))
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		w.lose(w.task("x").Status.PodName)
		w.warmUp()
		Expect(w.stands("x")).To(Equal("Unknown Running"), "the next attempt needs no pool")
		w.report("x", v1alpha1.ReasonCompleted)
		Expect(w.stands("x")).To(Equal("True Completed"))
		w.delete(w.task("x"))
		w.settle()
		Expect(w.sandboxList()).To(BeEmpty())
		Expect(w.podList()).To(BeEmpty())
	})

	It("replaces a Sandbox whose pod is lost while it waits", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 1)
		before := w.waiting()[0]
		w.lose(before + "-1")
		w.warmUp()
		Expect(w.fill("spare")).To(Equal("1/1 True Ready"))
		Expect(w.waiting()).NotTo(ContainElement(before))
		w.create(fromPool("x").Obj())
		w.settle()
		Expect(w.claimOf("x")).To(Equal("Hit Warm"))
		Expect(w.task("x").Status.Attempt).To(BeEquivalentTo(1))
	})

	It("gives nobody a Sandbox whose pod has just gone", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 1)
		w.delete(w.pod(w.waiting()[0] + "-1"))
		w.create(fromPool("x").Obj())
		_, err := w.tasks.Reconcile(w.ctx, request(w.task("x")))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.claimOf("x")).To(Equal("Miss NoneReady"))
	})

	It("is not what a task gets another Sandbox from whose own was deleted under it", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 2)
		w.create(fromPool("x").Obj())
		w.settle()
		w.warmUp()
		w.delete(w.sandbox(w.task("x").Status.SandboxName))
		w.settle()
		Expect(w.task("x").Status.Attempts).To(HaveLen(1), "the loss is told")
		Expect(w.claimOf("x")).To(Equal("Miss LaterAttempt"))
		w.run("x-2")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("cannot be used by the name of one of its Sandboxes", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 1)
		w.create(objects.MakeTask("x").In(w.waiting()[0]).Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown SandboxNotShared"))
		Expect(w.sandbox(w.waiting()[0]).Status.TaskRef).To(BeZero())
	})

	DescribeTable("has a task that needs a pod of its own start in one", func(ctx SpecContext, field string, change func(*v1alpha1.SandboxPool, *v1alpha1.AgentTask)) {
		w := newWorld(ctx)
		pool, task := objects.MakePool("spare", 1), fromPool("x").Obj()
		pool.Spec.Template.Workspace.Git = v1alpha1.GitSource{URL: "https://git.example/a.git", CredentialsSecretRef: v1alpha1.SecretReference{Name: "own"}}
		change(pool, task)
		w.create(pool, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "words", Namespace: w.ns}, Data: map[string]string{"prompt": "Do it."}})
		w.settle()
		w.warmUp()
		w.create(task)
		w.settle()
		c := w.task("x").Status.Claim
		if field == "" {
			Expect(c.Outcome).To(Equal(v1alpha1.ClaimHit), c.Message)
			return
		}
		Expect(w.claimOf("x")).To(Equal("Miss NeedsOwnPod"))
		Expect(c.Message).To(HaveSuffix(" " + field))
		w.run("x-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	},
		Entry("promptFrom", "spec.promptFrom", func(_ *v1alpha1.SandboxPool, t *v1alpha1.AgentTask) {
			t.Spec.Prompt, t.Spec.PromptFrom.ConfigMapKeyRef = "", v1alpha1.KeyReference{Name: "words", Key: "prompt"}
		}),
		Entry("other credentials", "spec.sandbox.poolRef.git.credentialsSecretRef", func(_ *v1alpha1.SandboxPool, t *v1alpha1.AgentTask) {
			t.Spec.Sandbox.PoolRef.Git = v1alpha1.GitSource{URL: "https://git.example/a.git", CredentialsSecretRef: v1alpha1.SecretReference{Name: "other"}}
		}),
		Entry("another repository of a Restricted pool", "spec.sandbox.poolRef.git.url", func(p *v1alpha1.SandboxPool, t *v1alpha1.AgentTask) {
			p.Spec.Template.Network.Egress = v1alpha1.EgressRestricted
			t.Spec.Sandbox.PoolRef.Git = v1alpha1.GitSource{URL: "https://git.example/b.git"}
		}),
		Entry("credentials to push with", "spec.outputs[0].branch.credentialsSecretRef", func(_ *v1alpha1.SandboxPool, t *v1alpha1.AgentTask) {
			t.Spec.Outputs = []v1alpha1.Output{{Name: "o", Branch: v1alpha1.BranchOutput{Ref: "work", CredentialsSecretRef: v1alpha1.SecretReference{Name: "push"}}}}
		}),
		Entry("but not for another repository, another branch and more variables", "", func(_ *v1alpha1.SandboxPool, t *v1alpha1.AgentTask) {
			t.Spec.Sandbox.PoolRef.Git = v1alpha1.GitSource{URL: "https://git.example/b.git", Ref: "work"}
			t.Spec.Sandbox.PoolRef.Env = []v1alpha1.EnvVar{{Name: "CI", Value: new("true")}}
		}),
	)

	It("gives a Sandbox of a task's own what the task brings, and no credentials to another repository", func(ctx SpecContext) {
		w := newWorld(ctx)
		pool, task := objects.MakePool("spare", 0), fromPool("x").Obj()
		pool.Spec.Template.Workspace.Git = v1alpha1.GitSource{URL: "https://git.example/a.git", CredentialsSecretRef: v1alpha1.SecretReference{Name: "own"}}
		pool.Spec.Template.Env = []v1alpha1.EnvVar{{Name: "A", Value: new("1")}, {Name: "B", Value: new("2")}}
		task.Spec.Sandbox.PoolRef.Git.URL = "https://git.example/b.git"
		task.Spec.Sandbox.PoolRef.Env = []v1alpha1.EnvVar{{Name: "B", Value: new("3")}}
		w.create(pool, task)
		w.settle()
		t := w.sandbox("x").Spec.Template
		Expect(t.Workspace.Git).To(Equal(v1alpha1.GitSource{URL: "https://git.example/b.git"}))
		Expect(t.Env).To(Equal([]v1alpha1.EnvVar{{Name: "A", Value: new("1")}, {Name: "B", Value: new("3")}}))
	})

	It("has a task start in what the template is when its Sandbox is made", func(ctx SpecContext) {
		w := newWorld(ctx)
		pool := objects.MakePool("spare", 0)
		w.create(pool)
		w.refuse("Sandbox", func() error { return refusals["403"].err })
		w.create(fromPool("x").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown SandboxRefused"))
		w.change(pool, func() { pool.Spec.Template.Image = "tools:2" })
		w.restart()
		w.settle()
		Expect(w.sandbox("x").Spec.Template.Image).To(Equal("tools:2"))
		w.run("x-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("says what keeps it from being filled", func(ctx SpecContext) {
		w := newWorld(ctx)
		pool := objects.MakePool("spare", 1)
		pool.Spec.Template.Metadata.Labels = map[string]string{"team": "a"}
		w.create(pool)
		w.settle()
		Expect(w.fill("spare")).To(Equal("0/0 False PolicyViolation"))
		Expect(w.eventLog()).To(ContainSubstring("Warning PolicyViolation"))
		w.change(pool, func() { pool.Spec.Template = v1alpha1.SandboxTemplate{} })
		w.settle()
		w.podStatus(w.podList()[0].Name, func(st *corev1.PodStatus) {
			setContainer(st, "sandbox", corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "Back-off"}})
		})
		w.settle()
		Expect(w.fill("spare")).To(Equal("0/1 False ImagePullFailed"))
	})
})
