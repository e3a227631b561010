package e2e

import (
	"encoding/json"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// shellBody is the body of a request that runs a command.
func shellBody(shell string) string {
	GinkgoHelper()
	body, err := json.Marshal(map[string]any{"shell": shell, "timeoutSeconds": 30})
	Expect(err).NotTo(HaveOccurred())
	return string(body)
}

// succeedIn runs a command in the Sandbox box by way of the API server, once its runner can
// be reached, and expects it to succeed.
func (s *space) succeedIn(shell string) {
	GinkgoHelper()
	Eventually(func() error { _, err := tryKubectl("", "get", "--raw", s.at("box")+"/status"); return err }).Should(Succeed())
	Expect(send("create", s.at("box")+"/exec", shellBody(shell))).To(ContainSubstring(`"exitCode":0`))
}

// furnish leaves files of several kinds in the workspace and the home, and expectFurnished
// expects them there.
func (s *space) furnish() {
	GinkgoHelper()
	s.succeedIn("mkdir -m 750 d && echo kept > d/notes && chmod 0755 d/notes && ln -s d/notes link && echo mine > ~/.noted")
}

func (s *space) expectFurnished() {
	GinkgoHelper()
	s.succeedIn(`test "$(cat link ~/.noted | tr '\n' ' ')" = "kept mine " && test "$(readlink link)" = d/notes && ` +
		`test "$(stat -c %a d d/notes | tr '\n' ' ')" = "750 755 "`)
}

var _ = Describe("A named Sandbox whose workspace is ephemeral", func() {
	It("has its workspace back when it goes on after it was suspended, on another node", Serial, func() {
		sleep, argument := sleeper()
		s := scripted("turns: [{text: Done.}]")
		s.apply(box)
		s.furnish()
		go func() { // it is cut off when the Sandbox is suspended
			_, _ = tryKubectl(`{"shell":"`+sleep+`"}`, "create", "--raw", s.at("box")+"/exec/stream", "-f", "-")
		}()
		awaitRunning(argument)
		node := s.pod("box-1").Spec.NodeName
		s.setBox(v1alpha1.SandboxSuspended)
		s.awaitBox("False Suspended")
		s.awaitNoPod("box-1")
		awaitGone(argument)
		_, err := tryKubectl("", "get", "--raw", s.at("box")+"/status")
		Expect(errText(err)).To(ContainSubstring("Suspended"))
		message := kubectl("-n", s.name, "get", "sandbox", "box", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].message} {.status.checkpoint.files}`)
		Expect(message).To(And(ContainSubstring("kept as of"), HaveSuffix(" 1")))

		left := leaveNode(node)
		s.setBox(v1alpha1.SandboxRunning)
		s.expectFurnished()
		if left {
			Expect(s.pod("box-2").Spec.NodeName).NotTo(Equal(node))
		}
		s.apply(task("later", inBox("prompt: Look.\nverify: [{name: there, command: grep -q kept link}]")))
		s.awaitEnd("later", "True Completed")
	})

	It("has its workspace back after it was idle, and what a task has left", func() {
		s := scripted(`
turns:
- toolCalls: [{name: bash, arguments: {command: "echo by a task > left"}}]
- text: Done.
`)
		s.apply(strings.Replace(box, "spec: {}", "spec: {idleSeconds: 10}", 1))
		s.furnish()
		s.apply(task("first", inBox("prompt: Leave something.")))
		s.awaitEnd("first", "True Completed")
		s.awaitBox("False Idle")
		s.awaitNoPod("box-1")
		s.apply(task("second", inBox("prompt: Look.\nverify: [{name: there, command: 'grep -q kept link && grep -q task left'}]")))
		Expect(s.awaitEnd("second", "True Completed").Status.PodName).To(Equal("box-2"))
		s.expectFurnished()
	})

	It("loses nothing that was kept when its pod is deleted", func() {
		s := scripted("turns: [{text: Done.}]")
		s.apply(box)
		s.furnish()
		kubectl("-n", s.name, "delete", "pod", "box-1")
		Eventually(func() string {
			return kubectl("-n", s.name, "get", "sandbox", "box", "-o", "jsonpath={.status.podName}")
		}).Should(Equal("box-2"))
		s.awaitBox("True Ready")
		s.expectFurnished()
	})
})
