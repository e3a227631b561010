package e2e

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// ends are the reasons of a task's ended attempts.
func ends(at *v1alpha1.AgentTask) []string {
	reasons := make([]string, len(at.Status.Attempts))
	for i, a := range at.Status.Attempts {
		reasons[i] = a.Reason
	}
	return reasons
}

var _ = Describe("A Separate verification", func() {
	It("has the workspace, and nothing else that the agent left", func() {
		sleep, argument := sleeper()
		plant := strings.Join([]string{
			"mkdir -p ~/bin ~/.local/bin /tmp/bin",
			"for d in ~/bin ~/.local/bin /tmp/bin; do printf '#!/bin/sh\\nexit 0\\n' > $d/grep; chmod 755 $d/grep; done",
			"for f in ~/.bashrc ~/.profile ~/.bash_env; do echo 'PATH=/tmp/bin:$HOME/bin:$PATH' > $f; done",
			"git config --global alias.prove '!true'",
			"touch ~/planted /tmp/planted",
			"(setsid env -i /bin/sh -c '(exec " + sleep + ") & (exec " + sleep + ") &' >/dev/null 2>&1 </dev/null &)", // as proof is forged with
		}, "; ")
		s := newSpace()
		s.applyRegistry(registry)
		s.applyConfigMap("script", "script.yaml", `
turns:
- toolCalls: [{name: bash, arguments: {command: "eval \"$PLANT\"; echo wrong > answer; until test -e release; do sleep 0.1; done", timeout_seconds: 600}}]
- text: Done, I think.
- expectMatch: "(?s)verification \"apart\" failed \\(exit code 7\\).*It ran in a new sandbox.*The run goes on in a new container"
  toolCalls: [{name: bash, arguments: {command: "test -e ~/planted && echo at home again; eval \"$PLANT\"; echo right > answer", timeout_seconds: 600}}]
- expect: at home again
  text: Done.
`)
		s.apply(task("apart", fmt.Sprintf(`
prompt: Write the answer.
sandbox: {template: {env: [{name: PLANT, value: %q}]}}
verify:
- name: apart
  isolation: Separate
  timeoutSeconds: 120
  command: |
    grep -qs '[8]%s' /proc/[0-9]*/cmdline && exit 1
    for f in /tmp/planted /tmp/bin /home/agent/planted /home/agent/bin /home/agent/.local /home/agent/.bashrc /home/agent/.profile /home/agent/.bash_env /home/agent/.gitconfig; do
      test ! -e $f || { echo "there is $f"; exit 2; }
    done
    git prove 2>/dev/null && exit 3
    test "$(ls -A)" = "$(printf 'answer\nrelease')" || { ls -lA; exit 4; }
    echo dirt > dirt
    grep -qx right answer || exit 7
- name: beside
  command: test -e /tmp/planted && test -e /home/agent/planted && test ! -e dirt
outputs: [{name: answer, path: answer}]
`, plant, argument[1:])))
		awaitRunning(argument)
		s.exec("apart-1", "sandbox", "touch release")
		at := s.awaitEnd("apart", "True Completed")
		awaitGone(argument)
		Expect(ends(at)).To(Equal([]string{v1alpha1.ReasonVerificationPending, v1alpha1.ReasonVerificationRejected, v1alpha1.ReasonVerificationPending}))
		Expect(at.Status.PodName).To(Equal("apart-4"))
		Expect(at.Status.FailedAttempts).To(BeZero())
		Expect(at.Status.Progress.Turns).To(HaveValue(BeEquivalentTo(4)))
		Expect(at.Status.Result.Message).To(Equal("Done."))
		for _, m := range s.pod("apart-4").Spec.Containers[0].VolumeMounts {
			Expect(m.MountPath).NotTo(Equal(podapi.HomeDir), "the runner has no home to restore")
		}
		Expect(at.Status.Outputs).To(HaveLen(1))
		Expect(at.Status.Outputs[0].Proof).To(Equal(v1alpha1.OutputProven))
		Expect(kubectl("get", "--raw", strings.Replace(at.Status.Transcript.URI, "/transcript", "/outputs/answer", 1))).To(Equal("right\n"))
		text := transcriptOf(at)
		Expect(strings.Count(text, `"type":"run_started"`)).To(Equal(1), "one transcript has it all")
	})

	DescribeTable("is run again where its pod is lost",
		func(lose func(*space, *corev1.Pod), reasons ...any) {
			sleep, argument := sleeper()
			s := scripted(`
turns:
- toolCalls: [{name: bash, arguments: {command: "echo right > answer"}}]
- text: Done.
`)
			s.apply(task("lost", fmt.Sprintf(`
prompt: Write the answer.
verify:
- {name: first, isolation: Separate, command: grep -qx right answer}
- {name: second, isolation: Separate, command: "if [ $(uname -n) = lost-2 ]; then %s; fi; grep -qx right answer"}
`, sleep)))
			awaitRunning(argument)
			lose(s, s.pod("lost-2"))
			at := s.awaitEnd("lost", "True Completed")
			awaitGone(argument)
			Expect(at.Status.PodName).To(Equal("lost-3"))
			Expect(at.Status.Attempts).To(HaveLen(2))
			Expect(at.Status.Attempts[1].Reason).To(BeElementOf(reasons...), at.Status.Attempts[1].Message)
			Expect(at.Status.FailedAttempts).To(BeEquivalentTo(1))
			Expect(at.Status.Progress.Turns).To(HaveValue(BeEquivalentTo(2)), "the model is not asked again")
			Expect(strings.Count(transcriptOf(at), `"type":"verification"`)).To(Equal(3), "what the lost pod had proven is proven again")
		},
		Entry("when it is deleted", func(s *space, pod *corev1.Pod) {
			kubectl("-n", s.name, "delete", "pod", pod.Name, "--wait=false")
		}, v1alpha1.ReasonPodLost),
		Entry("when its runner is killed", func(_ *space, pod *corev1.Pod) { signalRunner("SIGKILL", pod) }, v1alpha1.ReasonRunnerCrashed),
	)

	It("proves what is pushed", func() {
		s := scripted(`
turns:
- toolCalls: [{name: bash, arguments: {command: "echo mended > mend"}}]
- text: It is mended.
`)
		s.serveGit("e2e", canary("password"))
		s.apply(task("fix", fromGit(`prompt: Mend it.
verify: [{name: mended, isolation: Separate, command: "grep -q mended mend && git log -1 --format=%s"}]
outputs:
- {name: change, patch: {}}
- {name: fix, branch: {ref: "sampan/{{task}}", message: Mend it}}`, "git-login")))
		at := s.awaitEnd("fix", "True Completed")
		Expect(ends(at)).To(Equal([]string{v1alpha1.ReasonVerificationPending}))
		for _, o := range at.Status.Outputs {
			Expect(o.Message).To(BeEmpty(), o.Name)
			Expect(o.Proof).To(Equal(v1alpha1.OutputProven), o.Name)
		}
		Expect(s.exec("git-server", "server", "git -C /srv/locked.git show sampan/fix:mend")).To(Equal("mended\n"))
	})
})
