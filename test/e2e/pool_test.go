package e2e

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// pool is the manifest of a SandboxPool.
func pool(replicas int) string {
	return fmt.Sprintf("apiVersion: sampan.dev/v1alpha1\nkind: SandboxPool\nmetadata: {name: spare}\nspec: {replicas: %d}\n", replicas)
}

// awaitPool waits until so many Sandboxes of the pool are ready, as `kubectl get` shows it.
func (s *space) awaitPool(ready string) {
	GinkgoHelper()
	Eventually(func() string {
		return kubectl("-n", s.name, "get", "boxpool", "spare", "-o", `jsonpath={.status.readyReplicas} {.status.replicas} {.status.conditions[?(@.type=="Ready")].reason}`)
	}).Should(Equal(ready))
}

// waiting are the Sandboxes that wait in the pool.
func (s *space) waiting() string {
	GinkgoHelper()
	return kubectl("-n", s.name, "get", "sandboxes", "-l", "sampan.dev/pool=spare", "-o", "jsonpath={.items[*].metadata.name}")
}

var _ = Describe("A SandboxPool", func() {
	It("gives a task the key of now, in a pod that has waited since before it was changed", func() {
		s := newSpace()
		s.serveModel(justDone, "the-first-key")
		s.apply(pool(1))
		s.awaitPool("1 1 Ready")
		had := s.waiting()
		key := func() string { return s.exec(had+"-1", "runner", "cat "+podapi.InputDir+"/"+podapi.KeyDir+"/*") }
		Expect(key()).To(Equal("the-first-key"))
		kubectl("-n", s.name, "delete", "pod", "model-server", "--wait=true")
		s.serveModel(justDone, "the-second-key")
		Eventually(key).WithTimeout(3 * time.Minute).Should(Equal("the-second-key")) // kubelet looks once a minute or so
		s.apply(task("warm", "prompt: Run.\nsandbox: {poolRef: {name: spare}}"))
		at := s.awaitEnd("warm", "True Completed")
		Expect(at.Status.Claim.Outcome).To(Equal(v1alpha1.ClaimHit), at.Status.Claim.Message)
		Expect(at.Status.SandboxName).To(Equal(had))
	})

	It("gives a task a Sandbox that runs, once, and fills up again", func() {
		s := scripted(`
cases:
- match: claim
  turns:
  - toolCalls: [{name: bash, arguments: {command: "test ! -e note && echo \"$BROUGHT\" > note; cat note"}}]
  - expect: by the task
    text: Done.
`)
		s.apply(pool(1))
		s.awaitPool("1 1 Ready")
		had := s.waiting()
		uid := s.pod(had + "-1").UID

		By("claiming it")
		s.apply(task("warm", `
prompt: claim it
sandbox: {poolRef: {name: spare, env: [{name: BROUGHT, value: by the task}]}}
verify: [{name: note, command: "grep 'by the task' note && test \"$BROUGHT\" = 'by the task'"}]`))
		at := s.awaitEnd("warm", "True Completed")
		Expect(at.Status.Claim.Outcome).To(Equal(v1alpha1.ClaimHit), at.Status.Claim.Message)
		Expect(at.Status.SandboxName).To(Equal(had))
		Expect(at.Status.Attempt).To(BeEquivalentTo(1))
		Expect(s.pod(at.Status.PodName).UID).To(Equal(uid), "it is the pod that waited")
		sb := &v1alpha1.Sandbox{}
		Expect(cluster.Get(suiteContext(), types.NamespacedName{Namespace: s.name, Name: had}, sb)).To(Succeed())
		Expect(metav1.IsControlledBy(sb, at)).To(BeTrue())

		By("filling up")
		s.awaitPool("1 1 Ready")
		Expect(s.waiting()).NotTo(Equal(had))

		By("deleting what was claimed with its task, and nothing else")
		kubectl("-n", s.name, "delete", "agenttask", "warm", "--timeout=2m")
		Eventually(func() string {
			return kubectl("-n", s.name, "get", "sandbox,pod", "--ignore-not-found", "-o", "name")
		}).Should(And(Not(ContainSubstring(had)), ContainSubstring(s.waiting())))

		By("scaling to 0")
		kubectl("-n", s.name, "scale", "sandboxpool", "spare", "--replicas=0")
		s.awaitPool("0 0 Ready")
		Eventually(s.waiting).Should(BeEmpty())

		By("starting a task that finds it empty")
		s.apply(task("cold", `
prompt: claim it
sandbox: {poolRef: {name: spare, env: [{name: BROUGHT, value: by the task}]}}`))
		at = s.awaitEnd("cold", "True Completed")
		Expect(at.Status.Claim).To(And(HaveField("Outcome", v1alpha1.ClaimMiss), HaveField("Reason", v1alpha1.ClaimPoolEmpty)))
		Expect(at.Status.SandboxName).To(Equal("cold"))
	})

	It("has more tasks at once than Sandboxes run, each in one of its own", func() {
		s := scripted(`
turns:
- toolCalls: [{name: bash, arguments: {command: "test ! -e note && echo x > note && cat note"}}]
- expect: x
  text: Done.
`)
		s.apply(pool(2))
		s.awaitPool("2 2 Ready")
		var tasks []string
		for i := range 4 {
			tasks = append(tasks, task(fmt.Sprintf("t-%d", i), "prompt: Go.\nsandbox: {poolRef: {name: spare}}"))
		}
		s.apply(tasks...)
		hits, boxes := 0, map[string]bool{}
		for i := range tasks {
			at := s.awaitEnd(fmt.Sprintf("t-%d", i), "True Completed")
			boxes[at.Status.SandboxName] = true
			if at.Status.Claim.Outcome == v1alpha1.ClaimHit {
				hits++
			}
		}
		Expect(hits).To(BeNumerically(">=", 2))
		Expect(boxes).To(HaveLen(4))
		s.awaitPool("2 2 Ready")
	})
})
