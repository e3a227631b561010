package e2e

import (
	"context"
	"os"
	"os/exec"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// at is where the subresources of a Sandbox are.
func (s *space) at(sandbox string) string {
	return "/apis/subresources.sampan.dev/v1alpha1/namespaces/" + s.name + "/sandboxes/" + sandbox
}

// send gives a body to a path of the API, by kubectl create or replace.
func send(verb, path, body string) string {
	GinkgoHelper()
	out, err := tryKubectl(body, verb, "--raw", path, "-f", "-")
	Expect(err).NotTo(HaveOccurred())
	return out
}

var _ = Describe("A Sandbox by way of the API server", func() {
	It("runs commands and holds files for whoever may have it do so", func() {
		s := scripted("turns: [{text: Done.}]")
		s.apply(box)
		at := s.at("box")
		Eventually(func() error { _, err := tryKubectl("", "get", "--raw", at+"/status"); return err }).Should(Succeed())
		exec := func(shell string) string { return send("create", at+"/exec", `{"shell":"`+shell+`"}`) }
		Expect(exec("hostname; id -u; exit 7")).To(ContainSubstring(`"exitCode":7`))
		send("replace", at+"/files/notes%20of%20mine.md", "written from outside\n")
		Expect(kubectl("get", "--raw", at+"/files/notes%20of%20mine.md")).To(Equal("written from outside\n"))
		Expect(send("create", at+"/exec/stream", `{"shell":"cat notes*"}`)).To(And(
			ContainSubstring("event: stdout"), ContainSubstring("event: exit")))
		Expect(kubectl("get", "--raw", at+"/processes")).To(ContainSubstring("cat notes"))
		_, err := tryKubectl("", "get", "--raw", at+"/files/none")
		Expect(err).To(MatchError(ContainSubstring("no such file")))

		By("denying what a role does not have, route by route")
		for verb, paths := range map[string][]string{
			"get":     {"/status", "/files/notes%20of%20mine.md", "/processes", "/backup"},
			"create":  {"/exec", "/exec/stream"},
			"replace": {"/files/x", "/backup"},
			"delete":  {"/files/x", "/processes/x"},
		} {
			for _, path := range paths {
				args := []string{"--as", "system:serviceaccount:" + s.name + ":default", verb, "--raw", at + path}
				if verb == "create" || verb == "replace" {
					args = append(args, "-f", "-")
				}
				_, err := tryKubectl("{}", args...)
				Expect(err).To(MatchError(ContainSubstring("forbidden")), "%s %s", verb, path)
			}
		}

		By("keeping them for a task that comes later")
		s.apply(task("later", inBox("prompt: Look.\nverify: [{name: there, command: 'grep -q outside notes*'}]")))
		s.awaitEnd("later", "True Completed")
		Expect(exec("ls")).To(ContainSubstring(`"exitCode":0`))

		By("saying why it cannot be reached")
		kubectl("-n", s.name, "patch", "sandbox", "box", "--type=merge", "-p", `{"spec":{"state":"Suspended"}}`)
		Eventually(func() string { _, err := tryKubectl("", "get", "--raw", at+"/status"); return errText(err) }).Should(
			ContainSubstring("Suspended"))
	})

	It("conforms to what tools rely on, as far as that can be asked for from outside", func() {
		s := scripted("turns: [{text: Done.}]")
		s.apply(box)
		Eventually(func() error { _, err := tryKubectl("", "get", "--raw", s.at("box")+"/status"); return err }).Should(Succeed())
		ctx, cancel := context.WithTimeout(suiteContext(), 2*commandTimeout)
		defer cancel()
		out, err := exec.CommandContext(ctx, agentRunner, "conformance", "--kubeconfig", os.Getenv("KUBECONFIG"),
			"--namespace", s.name, "--sandbox", "box").CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)
		Expect(string(out)).To(And(MatchRegexp(`(?m)^ok +process/resume `), MatchRegexp(`(?m)^ok +backup `)), "%s", out)
	})

	It("lets nobody change what a verify command has proven", func() {
		sleep, argument := sleeper()
		s := scripted("turns: [{text: Done.}]")
		s.apply(task("proof", "prompt: Be done.\nverify: [{name: slow, command: '"+sleep+" & until test -e /tmp/never -o -e go; do sleep 0.1; done'}]\nlimits: {activeSeconds: 120}"))
		awaitRunning(argument)
		Eventually(func() error { // the runner may not be connected yet
			_, err := tryKubectl("forged", "replace", "--raw", s.at("proof")+"/files/go", "-f", "-")
			if err == nil {
				StopTrying("a file was written beside a verify command").Now()
			}
			return err
		}).Should(MatchError(ContainSubstring("verification is running")))
		s.exec("proof-1", "sandbox", "touch /workspace/go")
		s.awaitEnd("proof", "True Completed")
	})
})

func errText(err error) string {
	if err == nil {
		return ""
	}
	return strings.TrimSpace(err.Error())
}
