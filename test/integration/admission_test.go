package integration

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// statusOf is what a runner applies.
func statusOf(namespace, name string, status map[string]any) runtime.ApplyConfiguration {
	u := &unstructured.Unstructured{Object: map[string]any{"status": status}}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("AgentTask"))
	u.SetNamespace(namespace)
	u.SetName(name)
	return client.ApplyConfigurationFromUnstructured(u)
}

// podUID is the UID of the pod of a name, in these tests.
func podUID(pod string) string { return "uid-of-" + pod }

// as gives a client that acts as somebody else. A pod's name and UID are what a
// bound token carries; "name@uid" gives another UID than the name's own.
func as(user string, pod string, groups ...string) client.Client {
	GinkgoHelper()
	c, err := client.New(impersonate(user, pod, groups...), client.Options{Scheme: api.Scheme, Mapper: api.Client.RESTMapper()})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// impersonate gives the configuration of such a client.
func impersonate(user, pod string, groups ...string) *rest.Config {
	config := rest.CopyConfig(api.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated")}
	if pod != "" {
		name, uid, other := strings.Cut(pod, "@")
		if !other {
			uid = podUID(name)
		}
		config.Impersonate.Extra = map[string][]string{
			"authentication.kubernetes.io/pod-name": {name}, "authentication.kubernetes.io/pod-uid": {uid},
		}
	}
	return config
}

// account acts as a ServiceAccount, from a pod or from none.
func account(namespace, name, pod string) client.Client {
	GinkgoHelper()
	return as("system:serviceaccount:"+namespace+":"+name, pod, "system:serviceaccounts", "system:serviceaccounts:"+namespace)
}

// everybodyMay grants everything, so that only admission is left to refuse.
func everybodyMay(ctx SpecContext) {
	GinkgoHelper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{GenerateName: "all-"},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{"sampan.dev"}, Resources: []string{"*"}, Verbs: []string{"*"}}}}
	Expect(api.Client.Create(ctx, role)).To(Succeed())
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{GenerateName: "all-"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:authenticated"}}}
	Expect(api.Client.Create(ctx, binding)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(api.Client.Delete(ctx, binding)).To(Succeed())
		Expect(api.Client.Delete(ctx, role)).To(Succeed())
	})
}

// runningTask makes a task whose first attempt runs in Pod x-1.
func runningTask(ctx SpecContext) *v1alpha1.AgentTask {
	GinkgoHelper()
	task := objects.MakeTask("x").Namespace(guardedNamespace(ctx)).Obj()
	task.Spec.Outputs = []v1alpha1.Output{{Name: "report", Path: "report"}}
	Expect(api.Client.Create(ctx, task)).To(Succeed())
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	task.Status = v1alpha1.AgentTaskStatus{
		ObservedGeneration: 1, Attempt: 1, PodName: "x-1", PodUID: podUID("x-1"), SandboxName: "x-1", StartTime: &now, AttemptStartTime: &now,
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonRunning, Message: "runs", LastTransitionTime: now}},
	}
	Expect(api.Client.Status().Update(ctx, task)).To(Succeed())
	return task
}

var _ = Describe("Who writes a task's status", Ordered, func() {
	var task *v1alpha1.AgentTask
	var report map[string]any
	apply := func(ctx SpecContext, c client.Client, status map[string]any) error {
		return c.SubResource("status").Apply(ctx, statusOf(task.Namespace, task.Name, status), client.FieldOwner("agent-runner"), client.ForceOwnership)
	}
	forbidden := func(text string) OmegaMatcher {
		return MatchError(And(ContainSubstring("sampan-runner-status"), ContainSubstring(text)))
	}

	BeforeAll(func(ctx SpecContext) {
		everybodyMay(ctx)
		task = runningTask(ctx)
		Eventually(func() error { // a policy takes a moment to hold
			return apply(ctx, account(task.Namespace, "sampan-runner", "probe"), map[string]any{"progress": map[string]any{"turns": int64(0)}})
		}).WithTimeout(time.Minute).Should(MatchError(ContainSubstring("sampan-runner-status")))
	})
	BeforeEach(func(ctx SpecContext) {
		task = runningTask(ctx)
		report = map[string]any{
			"progress":   map[string]any{"turns": int64(1)},
			"transcript": map[string]any{"uri": logOf(task.Namespace, "x-1")},
			"outputs":    []any{map[string]any{"name": "report", "attempt": int64(1), "proof": "Proven"}},
			"result":     map[string]any{"attempt": int64(1), "reason": "Completed"},
		}
	})

	DescribeTable("has no outputs but the task's", func(ctx SpecContext, output map[string]any) {
		report["outputs"] = []any{output}
		Expect(apply(ctx, account(task.Namespace, "sampan-runner", "x-1"), report)).To(forbidden("status.outputs"))
	},
		Entry("one that it does not name", map[string]any{"name": "other", "attempt": int64(1), "proof": "Proven"}),
		Entry("one of an attempt to come", map[string]any{"name": "report", "attempt": int64(2), "proof": "Proven"}),
		Entry("a commit of a file", map[string]any{"name": "report", "attempt": int64(1), "proof": "Proven", "commit": strings.Repeat("a", 40)}),
	)

	DescribeTable("points at no log but its own", func(ctx SpecContext, uri string) {
		report["transcript"] = map[string]any{"uri": strings.ReplaceAll(uri, "NS", task.Namespace)}
		Expect(apply(ctx, account(task.Namespace, "sampan-runner", "x-1"), report)).To(forbidden("transcript.uri"))
	},
		Entry("another pod's", "/api/v1/namespaces/NS/pods/x-2/log?container=runner&limitBytes=10"),
		Entry("a pod whose name begins with ours", "/api/v1/namespaces/NS/pods/x-10/log?container=runner&limitBytes=10"),
		Entry("another namespace's", "/api/v1/namespaces/kube-system/pods/x-1/log?container=runner&limitBytes=10"),
		Entry("the sandbox container's", "/api/v1/namespaces/NS/pods/x-1/log?container=sandbox&limitBytes=10"),
		Entry("something of the pod", "/api/v1/namespaces/NS/pods/x-1/exec?container=runner"),
		Entry("a way out", "/api/v1/namespaces/NS/pods/x-1/log/../../../secrets"),
		Entry("another query", "/api/v1/namespaces/NS/pods/x-1/log?container=runner&limitBytes=10&follow=true"),
		Entry("a Secret", "/api/v1/namespaces/NS/secrets/model-keys"),
		Entry("another server", "https://evil.example/api/v1/namespaces/NS/pods/x-1/log?container=runner&limitBytes=10"),
		Entry("a second line", "/api/v1/namespaces/NS/pods/x-1/log?container=runner&limitBytes=10\n"),
		Entry("another task's record", "/apis/subresources.sampan.dev/v1alpha1/namespaces/NS/agenttasks/y/transcript"),
		Entry("another namespace's record", "/apis/subresources.sampan.dev/v1alpha1/namespaces/kube-system/agenttasks/x/transcript"),
		Entry("a part of its record", "/apis/subresources.sampan.dev/v1alpha1/namespaces/NS/agenttasks/x/transcript?turn=1"),
	)

	It("points at the record of its task", func(ctx SpecContext) {
		report["transcript"] = map[string]any{"uri": podapi.TranscriptPath(task.Namespace, task.Name)}
		report["checkpoint"] = map[string]any{"turn": int64(1)}
		Expect(apply(ctx, account(task.Namespace, "sampan-runner", "x-1"), report)).To(Succeed())
	})

	It("is its pod's runner", func(ctx SpecContext) {
		Expect(apply(ctx, account(task.Namespace, "sampan-runner", "x-1"), report)).To(Succeed())
		Expect(api.Client.Get(ctx, key(task), task)).To(Succeed())
		Expect(task.Status.Result.Reason).To(Equal("Completed"))
		Expect(task.Status.Conditions).To(HaveLen(1))
	})

	DescribeTable("is nobody else", func(ctx SpecContext, who func() client.Client) {
		Expect(apply(ctx, who(), report)).To(forbidden("only by the runner of the pod"))
	},
		Entry("another pod's runner", func() client.Client { return account(task.Namespace, "sampan-runner", "x-2") }),
		Entry("a later pod of that name", func() client.Client { return account(task.Namespace, "sampan-runner", "x-1@another") }),
		Entry("a token that is bound to no pod", func() client.Client { return account(task.Namespace, "sampan-runner", "") }),
		Entry("a pod of that name in another namespace", func() client.Client { return account("elsewhere", "sampan-runner", "x-1") }),
		Entry("an account whose namespace begins with ours", func() client.Client { return account(task.Namespace+"x", "sampan-runner", "x-1") }),
	)

	It("is nobody before it has a pod", func(ctx SpecContext) {
		task.Status.PodName = ""
		Expect(api.Client.Status().Update(ctx, task)).To(Succeed())
		Expect(apply(ctx, account(task.Namespace, "sampan-runner", "x-1"), report)).To(forbidden("only by the runner of the pod"))
	})

	It("is nobody's runner after the end", func(ctx SpecContext) {
		meta.SetStatusCondition(&task.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionFalse, Reason: "MaxTurns", Message: "m"})
		Expect(api.Client.Status().Update(ctx, task)).To(Succeed())
		Expect(apply(ctx, account(task.Namespace, "sampan-runner", "x-1"), report)).To(forbidden("has ended"))
	})

	It("is not a runner with another attempt's result", func(ctx SpecContext) {
		Expect(apply(ctx, account(task.Namespace, "sampan-runner", "x-1"), map[string]any{
			"result": map[string]any{"attempt": int64(2), "reason": "Completed"}})).To(forbidden("result.attempt"))
	})

	DescribeTable("writes nothing of the operator's", func(ctx SpecContext, field string, change func(*v1alpha1.AgentTaskStatus)) {
		before := task.DeepCopy()
		change(&task.Status)
		err := account(task.Namespace, "sampan-runner", "x-1").Status().Patch(ctx, task, client.MergeFrom(before))
		Expect(err).To(forbidden("only status.progress"), field)
	},
		Entry(nil, "conditions", func(st *v1alpha1.AgentTaskStatus) { st.Conditions[0].Status = metav1.ConditionTrue }),
		Entry(nil, "no conditions", func(st *v1alpha1.AgentTaskStatus) { st.Conditions = nil }),
		Entry(nil, "attempt", func(st *v1alpha1.AgentTaskStatus) { st.Attempt = 2 }),
		Entry(nil, "attemptKind", func(st *v1alpha1.AgentTaskStatus) { st.AttemptKind = v1alpha1.AttemptVerification }),
		Entry(nil, "attempts", func(st *v1alpha1.AgentTaskStatus) {
			st.Attempts = []v1alpha1.AttemptStatus{{Number: 1, Reason: "PodLost"}}
		}),
		Entry(nil, "podName", func(st *v1alpha1.AgentTaskStatus) { st.PodName = "x-9" }),
		Entry(nil, "podUID", func(st *v1alpha1.AgentTaskStatus) { st.PodUID = "x-9" }),
		Entry(nil, "budget", func(st *v1alpha1.AgentTaskStatus) { st.Budget.GrantedUSD = "1000" }),
		Entry(nil, "fromUID", func(st *v1alpha1.AgentTaskStatus) { st.FromUID = "another" }),
		Entry(nil, "claim", func(st *v1alpha1.AgentTaskStatus) {
			st.Claim = v1alpha1.ClaimStatus{Outcome: v1alpha1.ClaimHit, Reason: v1alpha1.ClaimWarm, TemplateHash: "another"}
		}),
		Entry(nil, "sandboxName", func(st *v1alpha1.AgentTaskStatus) { st.SandboxName = "x-9" }),
		Entry(nil, "observedGeneration", func(st *v1alpha1.AgentTaskStatus) { st.ObservedGeneration = 9 }),
		Entry(nil, "startTime", func(st *v1alpha1.AgentTaskStatus) { st.StartTime = nil }),
		Entry(nil, "attemptStartTime", func(st *v1alpha1.AgentTaskStatus) { st.AttemptStartTime = &metav1.Time{Time: time.Unix(1, 0)} }),
		Entry(nil, "stopRequestTime", func(st *v1alpha1.AgentTaskStatus) { st.StopRequestTime = &metav1.Time{Time: time.Unix(1, 0)} }),
		Entry(nil, "completionTime", func(st *v1alpha1.AgentTaskStatus) { st.CompletionTime = &metav1.Time{Time: time.Unix(1, 0)} }),
	)

	It("is the operator", func(ctx SpecContext) {
		before := task.DeepCopy()
		task.Status.Conditions[0].Reason, task.Status.Attempt = "Starting", 2
		Expect(account("sampan-system", "sampan-controller-manager", "manager-0").Status().Patch(ctx, task, client.MergeFrom(before))).To(Succeed())
	})

	It("is any account that has the operator's ClusterRole", func(ctx SpecContext) {
		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{GenerateName: "other-operator-"},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "sampan-manager"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "agents", Name: "anything"}}}
		Expect(api.Client.Create(ctx, binding)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(api.Client.Delete(ctx, binding)).To(Succeed()) })
		Eventually(func() error {
			before := task.DeepCopy()
			task.Status.Attempt++
			return account("agents", "anything", "").Status().Patch(ctx, task, client.MergeFrom(before))
		}).WithTimeout(patience).Should(Succeed())
	})

	It("is not the operator's account of another namespace", func(ctx SpecContext) {
		Expect(apply(ctx, account(task.Namespace, "sampan-controller-manager", "manager-0"), report)).To(forbidden("only by the runner of the pod"))
	})

	It("may be an administrator", func(ctx SpecContext) {
		before := task.DeepCopy()
		task.Status.Conditions[0].Reason = "Mended"
		Expect(as("jane", "", "admins").Status().Patch(ctx, task, client.MergeFrom(before))).To(Succeed())
	})

	It("is not asked about the spec", func(ctx SpecContext) {
		before := task.DeepCopy()
		task.Spec.State = v1alpha1.TaskSuspended
		Expect(account("ci", "deployer", "").Patch(ctx, task, client.MergeFrom(before))).To(Succeed())
	})
})
