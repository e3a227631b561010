package e2e

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

var _ = Describe("The record of a task", func() {
	It("is there when the pod is not", func() {
		s := scripted(`
turns:
- toolCalls: [{name: bash, arguments: {command: "echo kept for good"}}]
- text: Done.
`)
		s.apply(task("kept", "prompt: Say it."))
		at := s.awaitEnd("kept", "True Completed")
		Expect(meta.IsStatusConditionTrue(at.Status.Conditions, v1alpha1.ConditionRecorded)).To(BeTrue())
		Expect(at.Status.Checkpoint.Turn).To(HaveValue(BeEquivalentTo(1)))
		kubectl("-n", s.name, "delete", "pod", "kept-1")
		Expect(transcriptOf(at)).To(ContainSubstring("kept for good"))
		turn := kubectl("get", "--raw", at.Status.Transcript.URI+"?turn=1")
		Expect(turn).To(And(ContainSubstring("kept for good"), Not(ContainSubstring("run_started"))))
		checkpoints := kubectl("get", "--raw", strings.Replace(at.Status.Transcript.URI, "/transcript", "/checkpoints", 1))
		Expect(checkpoints).To(And(ContainSubstring(`"turn":0`), ContainSubstring(`"turn":1`)))
	})

	It("brings the workspace and the conversation to another pod", func() {
		sleep, argument := sleeper()
		s := scripted(fmt.Sprintf(`
turns:
- toolCalls: [{name: bash, arguments: {command: "mkdir -m 750 d && echo first > d/notes && ln -s d/notes link && chmod +x d/notes && echo mine > ~/.noted"}}]
- toolCalls: [{name: bash, arguments: {command: "if [ $HOSTNAME = back-1 ]; then echo half > half; (%s & wait); fi", timeout_seconds: 600}}]
- expectMatch: "(?s)Unknown: .*as it was after turn 1"
  toolCalls: [{name: bash, arguments: {command: "cat link; stat -c '%%A %%n' d d/notes; ls; cat ~/.noted; echo $HOSTNAME"}}]
- expectMatch: "(?s)^first\n.*drwxr-x--- d\n-rwxr-xr-x d/notes\nd\nlink\nmine\nback-2"
  text: It is all here.
`, sleep))
		s.apply(task("back", "prompt: Go on.\nverify: [{name: notes, command: grep -q first link && test ! -e half}]"))
		awaitRunning(argument)
		Eventually(func() *int32 { return s.get("back").Status.Checkpoint.Turn }).Should(HaveValue(BeEquivalentTo(1)))
		signalRunner("SIGKILL", s.pod("back-1"))
		at := s.awaitEnd("back", "True Completed")
		awaitGone(argument)
		Expect(at.Status.Attempt).To(BeEquivalentTo(2))
		Expect(at.Status.Progress.Turns).To(HaveValue(BeEquivalentTo(4)))
		text := transcriptOf(at)
		Expect(strings.Count(text, `"type":"run_started"`)).To(Equal(1), "one transcript has it all")
		Expect(text).To(ContainSubstring(`"type":"run_resumed"`))
	})

	It("outlives the node on another, and what was done is pushed in the end", Serial, func() {
		sleep, argument := sleeper()
		s := scripted(fmt.Sprintf(`
turns:
- toolCalls: [{name: bash, arguments: {command: "echo mended > mend; mkdir out; echo '{}' > out/report.json"}}]
- toolCalls: [{name: bash, arguments: {command: "if [ $HOSTNAME = fix-1 ]; then (%s & wait); fi", timeout_seconds: 600}}]
- expect: a new container
  toolCalls: [{name: bash, arguments: {command: "cat mend treasure"}}]
- expectMatch: "mended\nKept under lock and key."
  text: It is mended.
`, sleep))
		s.serveGit("e2e", canary("password"))
		s.apply(task("fix", fromGit(`prompt: Mend it.
verify: [{name: mended, command: grep -q mended mend}]
outputs:
- {name: change, patch: {}}
- {name: report, path: out/report.json}
- {name: fix, branch: {ref: "sampan/{{task}}", message: Mend it}}`, "git-login")))
		awaitRunning(argument)
		Eventually(func() *int32 { return s.get("fix").Status.Checkpoint.Turn }).Should(HaveValue(BeEquivalentTo(1)))
		node := s.pod("fix-1").Spec.NodeName
		left := leaveNode(node)
		silenceNode(node, 20*time.Second)
		evictAsLost(s, "fix-1")
		at := s.awaitEnd("fix", "True Completed")
		awaitGone(argument)
		Expect(at.Status.Attempts).To(HaveLen(1))
		Expect(at.Status.Attempts[0].Reason).To(Equal(v1alpha1.ReasonNodeLost))
		Expect(at.Status.FailedAttempts).To(BeZero(), "the loss of a node costs no attempt")
		Expect(at.Status.Progress.Turns).To(HaveValue(BeEquivalentTo(4)))
		if left {
			Expect(s.pod("fix-2").Spec.NodeName).NotTo(Equal(node), "the second pod is on another node")
		}

		outputs := map[string]v1alpha1.OutputStatus{}
		for _, o := range at.Status.Outputs {
			Expect(o.Message).To(BeEmpty())
			Expect(o.Proof).To(Equal(v1alpha1.OutputProven))
			outputs[o.Name] = o
		}
		Expect(outputs).To(HaveLen(3))
		git := func(args string) string { return s.exec("git-server", "server", "git -C /srv/locked.git "+args) }
		Expect(strings.TrimSpace(git("rev-parse sampan/fix"))).To(Equal(outputs["fix"].Commit))
		Expect(git("show sampan/fix:mend")).To(Equal("mended\n"))
		Expect(git("log --format=%s sampan/fix")).To(Equal("Mend it\nHide the treasure\n"))
		read := func(name string) string {
			return kubectl("get", "--raw", strings.Replace(at.Status.Transcript.URI, "/transcript", "/outputs/"+name, 1))
		}
		Expect(read("change")).To(ContainSubstring("+mended"))
		Expect(read("report")).To(Equal("{}\n"))
	})
})
