package e2e

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

const box = `
apiVersion: sampan.dev/v1alpha1
kind: Sandbox
metadata: {name: box}
spec: {}
`

// inBox runs a task in the named Sandbox.
func inBox(spec string) string { return spec + "\nsandbox: {sandboxRef: {name: box}}" }

var _ = Describe("A named Sandbox", func() {
	It("runs two tasks one after the other in the same pod", func() {
		s := scripted(`
cases:
- match: first
  turns:
  - toolCalls: [{name: bash, arguments: {command: "echo left by the first > note; until test -e release; do sleep 0.1; done", timeout_seconds: 600}}]
  - text: First done.
- match: second
  turns:
  - toolCalls: [{name: read_file, arguments: {path: note}}]
  - expect: left by the first
    text: Second done.
`)
		By("waiting for a Sandbox that is not there yet")
		s.apply(task("first", inBox("prompt: Be the first.")))
		s.awaitReason("first", v1alpha1.ReasonSandboxNotFound)
		s.apply(box)
		s.awaitExec("box-1", "sandbox", "grep first note")
		uid := s.pod("box-1").UID

		By("letting the second wait for its turn")
		s.apply(task("second", inBox("prompt: Be the second.")))
		s.awaitReason("second", v1alpha1.ReasonSandboxBusy)
		Consistently(func() string { return outcome(s.get("second")) }).Should(Equal("Unknown SandboxBusy"))

		s.exec("box-1", "sandbox", "touch release")
		first, second := s.awaitEnd("first", "True Completed"), s.awaitEnd("second", "True Completed")
		Expect(first.Status.Result.Message).To(Equal("First done."))
		Expect(second.Status.Result.Message).To(Equal("Second done."))
		Expect(transcriptOf(first)).NotTo(ContainSubstring("Second done."))
		Expect(transcriptOf(second)).To(ContainSubstring("Second done."))
		Expect(second.Status.StartTime.Before(first.Status.CompletionTime)).To(BeFalse())
		Expect(s.pod("box-1").UID).To(Equal(uid))
		Expect(kubectl("-n", s.name, "get", "sandbox", "box", "-o", "jsonpath={.status.taskRef}")).To(BeEmpty(), "it is given back")
	})

	It("outlives the tasks that ran in it, also one that is deleted", func() {
		sleep, argument := sleeper()
		s := scripted(`
cases:
- match: sleep
  turns:
  - toolCalls: [{name: bash, arguments: {command: "` + sleep + `", timeout_seconds: 600}}]
- match: speak
  turns:
  - text: I am here.
`)
		s.apply(box, task("sleeps", inBox("prompt: Go to sleep.")))
		awaitRunning(argument)
		kubectl("-n", s.name, "delete", "agenttask", "sleeps", "--timeout=60s")
		awaitGone(argument)
		s.apply(task("speaks", inBox("prompt: Please speak.")))
		s.awaitEnd("speaks", "True Completed")
	})

	It("gets another pod when the runner hangs and does not stop", func() {
		sleep, argument := sleeper()
		s := scripted(fmt.Sprintf(`
cases:
- match: hang
  turns:
  - toolCalls: [{name: bash, arguments: {command: %q, timeout_seconds: 600}}]
- match: go on
  turns: [{text: It answers.}]
`, sleep))
		s.apply(box)
		s.apply(task("hung", inBox("prompt: Please hang.")))
		awaitRunning(argument)
		signalRunner("SIGSTOP", s.pod("box-1"))
		s.apply(task("next", inBox("prompt: Please go on.")))
		s.awaitReason("next", v1alpha1.ReasonSandboxBusy)
		s.set("hung", v1alpha1.TaskCancelled)
		s.awaitEnd("hung", "False Cancelled")
		at := s.awaitEnd("next", "True Completed")
		Expect(at.Status.PodName).To(Equal("box-2"))
		awaitGone(argument)
	})
})
