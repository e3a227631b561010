package e2e

import (
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	utilrand "k8s.io/apimachinery/pkg/util/rand"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// sleeper is a command that does not end by itself, and the argument by which
// its process is known on the node.
func sleeper() (command, argument string) {
	argument = fmt.Sprintf("86400.%06d", utilrand.Intn(1000000))
	return "sleep " + argument, argument
}

// sleepsAtFirst plays a command that never ends in the first attempt, and ends
// at once in later ones: the host's name is that of the attempt's pod.
func sleepsAtFirst(task, sleep string) string {
	return fmt.Sprintf(`
turns:
- text: I shall look.
  toolCalls: [{name: bash, arguments: {command: "pwd"}}]
- toolCalls: [{name: bash, arguments: {command: "if [ $HOSTNAME = %s-1 ]; then (%s & wait); fi; echo ran in $HOSTNAME", timeout_seconds: 600}}]
- expect: a new container
  toolCalls: [{name: bash, arguments: {command: "echo ran in $HOSTNAME"}}]
- expectMatch: "ran in %s-[2-9]"
  text: Done at last.
`, task, sleep, task)
}

var _ = Describe("Stopping a task", func() {
	It("cancels it while a command runs, and leaves no process", func() {
		sleep, argument := sleeper()
		s := scripted(sleepsAtFirst("cancel", sleep))
		s.apply(task("cancel", "prompt: Wait."))
		awaitRunning(argument)
		s.set("cancel", v1alpha1.TaskCancelled)
		at := s.awaitEnd("cancel", "False Cancelled")
		awaitGone(argument)
		Expect(*at.Status.Progress.Turns).To(BeEquivalentTo(2), "no finished turn is lost")
		Expect(at.Status.Attempt).To(BeEquivalentTo(1))
		Expect(transcriptOf(at)).To(ContainSubstring(`"reason":"Cancelled"`), "the record stays")
	})

	It("cancels it in a named Sandbox, whose pod goes on without the process", func() {
		sleep, argument := sleeper()
		s := scripted(fmt.Sprintf(`
turns:
- toolCalls: [{name: bash, arguments: {command: "(setsid %s &) ; %s", timeout_seconds: 600}}]
`, sleep, sleep))
		s.apply(box)
		s.apply(task("cancel", inBox("prompt: Wait.")))
		Eventually(func() int { return len(processesWith(argument)) }).Should(BeNumerically(">=", 2))
		uid := s.pod("box-1").UID
		s.set("cancel", v1alpha1.TaskCancelled)
		s.awaitEnd("cancel", "False Cancelled")
		awaitGone(argument)
		Expect(s.pod("box-1").UID).To(Equal(uid))
		Expect(s.exec("box-1", "sandbox", "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'")).NotTo(ContainSubstring(argument))
	})

	It("cancels it before it has started", func() {
		s := scripted("turns: [{text: Done.}]")
		s.apply(task("never", "prompt: Nothing.\nstate: Cancelled"))
		at := s.awaitEnd("never", "False Cancelled")
		Expect(at.Status.Attempt).To(BeZero())
		Expect(s.names("pods", "app.kubernetes.io/managed-by=sampan")).To(BeEmpty())
	})

	It("suspends it and goes on", func() {
		sleep, argument := sleeper()
		s := scripted(sleepsAtFirst("pause", sleep))
		s.apply(task("pause", "prompt: Wait."))
		awaitRunning(argument)
		s.set("pause", v1alpha1.TaskSuspended)
		at := s.awaitReason("pause", v1alpha1.ReasonSuspended)
		Expect(meta.FindStatusCondition(at.Status.Conditions, v1alpha1.ConditionReconciling)).To(BeNil())
		Expect(s.names("pods", "app.kubernetes.io/managed-by=sampan")).To(BeEmpty())
		awaitGone(argument)
		Consistently(func() string { return outcome(s.get("pause")) }).Should(Equal("Unknown Suspended"))

		s.set("pause", v1alpha1.TaskActive)
		at = s.awaitEnd("pause", "True Completed")
		Expect(at.Status.Attempt).To(BeEquivalentTo(2))
		Expect(at.Status.Attempts).To(HaveLen(1))
		Expect(at.Status.Attempts[0].Reason).To(Equal(v1alpha1.ReasonSuspended))
		Expect(*at.Status.Attempts[0].Turns).To(BeEquivalentTo(2))
		Expect(*at.Status.Progress.Turns).To(BeEquivalentTo(4), "the second attempt goes on where the first was")
	})

	It("ends it at its active deadline", func() {
		sleep, argument := sleeper()
		s := scripted(sleepsAtFirst("late", sleep))
		s.apply(task("late", "prompt: Wait.\nlimits: {activeSeconds: 8}"))
		awaitRunning(argument)
		at := s.awaitEnd("late", "False DeadlineExceeded")
		awaitGone(argument)
		took := at.Status.CompletionTime.Sub(at.Status.StartTime.Time)
		Expect(took).To(And(BeNumerically(">=", 7*time.Second), BeNumerically("<", patience)))
		Expect(*at.Status.Progress.Turns).To(BeEquivalentTo(2))
	})

	It("deletes it after its time to live", func() {
		s := scripted("turns: [{text: Done.}]")
		s.apply(task("brief", "prompt: Nothing.\nttlSecondsAfterFinished: 2"))
		Eventually(func() string {
			return kubectl("-n", s.name, "get", "agenttasks,sandboxes,pods", "--ignore-not-found", "-o", "name")
		}).Should(ContainSubstring("agenttask"))
		Eventually(func() string {
			return kubectl("-n", s.name, "get", "agenttasks,sandboxes,pods", "--ignore-not-found", "-o", "name")
		}).Should(BeEmpty())
		Expect(kubectl("-n", s.name, "get", "events", "-o", "jsonpath={.items[*].reason}")).To(ContainSubstring("Completed"))
	})

	It("is deleted while it runs, and leaves nothing", func() {
		sleep, argument := sleeper()
		s := scripted(sleepsAtFirst("gone", sleep))
		s.apply(task("gone", "prompt: Wait."))
		awaitRunning(argument)
		ofTask := func(kinds string) []string {
			return slices.DeleteFunc(s.names(kinds, podspec.LabelManagedBy+"=sampan"), func(name string) bool {
				return !strings.Contains(name, "gone")
			})
		}
		const all = "pods,sandboxes,serviceaccounts,roles,rolebindings,configmaps"
		Expect(ofTask(all)).To(ContainElements("pod/gone-1", "sandbox.sampan.dev/gone"))
		kubectl("-n", s.name, "delete", "agenttask", "gone", "--timeout=60s")
		Eventually(func() []string { return ofTask(all) }).Should(BeEmpty(), "the garbage collector sees to it")
		awaitGone(argument)
	})
})
