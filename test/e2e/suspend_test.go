package e2e

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// execIn runs a command in the Sandbox by way of the API server, and gives the answer. It
// waits until the runner of the Sandbox's pod can be reached.
func (s *space) execIn(sandbox, shell string) string {
	GinkgoHelper()
	at := s.at(sandbox)
	Eventually(func() error { _, err := tryKubectl("", "get", "--raw", at+"/status"); return err }).Should(Succeed())
	return send("create", at+"/exec", `{"shell":"`+shell+`"}`)
}

// furnish leaves files of several kinds in the Sandbox, with a command that goes on.
func (s *space) furnish(sandbox string) {
	GinkgoHelper()
	Expect(s.execIn(sandbox, "mkdir -m 750 d && echo kept > d/notes && chmod 0755 d/notes && ln -s d/notes link && echo mine > ~/.noted")).
		To(ContainSubstring(`"exitCode":0`))
}

// expectFurnished expects what furnish has left.
func (s *space) expectFurnished(sandbox string) {
	GinkgoHelper()
	Expect(s.execIn(sandbox, "cat link ~/.noted; readlink link; stat -c '%A %n' d d/notes")).To(
		ContainSubstring(`kept\nmine\nd/notes\ndrwxr-x--- d\n-rwxr-xr-x d/notes\n`))
}

var _ = Describe("A named Sandbox whose workspace is ephemeral", func() {
	It("has its workspace back when it goes on after it was suspended, on another node", Serial, func() {
		sleep, argument := sleeper()
		s := scripted("turns: [{text: Done.}]")
		s.apply(box)
		s.furnish("box")
		Expect(send("create", s.at("box")+"/exec/stream", `{"shell":"(setsid `+sleep+` &); echo begun"}`)).To(ContainSubstring("begun"))
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
		s.expectFurnished("box")
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
		s.furnish("box")
		s.apply(task("first", inBox("prompt: Leave something.")))
		s.awaitEnd("first", "True Completed")
		s.awaitBox("False Idle")
		s.awaitNoPod("box-1")
		s.apply(task("second", inBox("prompt: Look.\nverify: [{name: there, command: 'grep -q kept link && grep -q task left'}]")))
		Expect(s.awaitEnd("second", "True Completed").Status.PodName).To(Equal("box-2"))
		s.expectFurnished("box")
	})

	It("loses nothing that was kept when its pod is deleted", func() {
		s := scripted("turns: [{text: Done.}]")
		s.apply(box)
		s.furnish("box")
		kubectl("-n", s.name, "delete", "pod", "box-1")
		Eventually(func() string {
			return kubectl("-n", s.name, "get", "sandbox", "box", "-o", "jsonpath={.status.podName}")
		}).Should(Equal("box-2"))
		s.awaitBox("True Ready")
		s.expectFurnished("box")
	})
})
