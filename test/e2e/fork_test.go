package e2e

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

var _ = Describe("A task that goes on from another", func() {
	It("has its conversation and its workspace of a turn", func() {
		s := scripted(`
models:
  scripted:
    turns:
    - toolCalls: [{name: bash, arguments: {command: "echo first > one"}}]
    - toolCalls: [{name: bash, arguments: {command: "echo second > two"}}]
    - toolCalls: [{name: bash, arguments: {command: "echo third > three"}}]
    - text: Done.
  other:
    turns:
    - {text: It was asked for an earlier turn., repeat: 2}
    - expectMatch: "(?s)goes on from turn 2 of the task source.*Do it otherwise."
      toolCalls: [{name: bash, arguments: {command: "cat one two; ls; echo $HOSTNAME"}}]
    - expectMatch: "(?s)^first\nsecond\none\ntwo\nfork-1"
      text: It is done otherwise.
`)
		s.applyRegistry(registry + "- {id: other, provider: scripted, contextWindow: 200000, pricing: {inputPerMTok: \"0.50\", outputPerMTok: \"2.00\"}}\n")
		s.apply(task("source", "prompt: Do it."))
		source := s.awaitEnd("source", "True Completed")
		s.apply(task("fork", `
from: {taskRef: {name: source}, turn: 2}
prompt: Do it otherwise.
model: {name: other}
verify: [{name: workspace, command: "test -e one && test -e two && test ! -e three"}]
`))
		at := s.awaitEnd("fork", "True Completed")
		Expect(at.Status.FromUID).To(Equal(string(source.UID)))
		Expect(at.Status.Result.Message).To(Equal("It is done otherwise."))
		Expect(at.Status.Progress.Turns).To(HaveValue(BeEquivalentTo(2)), "the turns before are the other task's")
		Expect(meta.IsStatusConditionTrue(at.Status.Conditions, v1alpha1.ConditionRecorded)).To(BeTrue())

		By("asking for a turn that there is not")
		s.apply(task("late", "from: {taskRef: {name: source}, turn: 9}"))
		late := s.awaitEnd("late", "False CheckpointNotFound")
		Expect(late.Status.Result.Message).To(ContainSubstring("AgentTask source has no checkpoint of turn 9; there are those of turns 0-3"))

		By("deleting the other task")
		kubectl("-n", s.name, "delete", "agenttask", "source")
		first, _, _ := strings.Cut(transcriptOf(at), "\n")
		Expect(first).To(And(ContainSubstring(`"from":{"task":"source"`), ContainSubstring("echo second"), Not(ContainSubstring("echo third"))))
	})
})
