package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

var _ = Describe("A task", func() {
	It("analyses and changes nothing", func() {
		s := scripted(`
turns:
- toolCalls: [{name: glob, arguments: {pattern: "**/*"}}]
- toolCalls: [{name: grep, arguments: {pattern: "nothing"}}]
- text: The workspace is empty.
`)
		s.apply(task("analyse", `
prompt: What is in the workspace?
tools: {allowed: [read_file, grep, glob]}
`))
		at := s.awaitEnd("analyse", "True Completed")
		Expect(at.Status.Result.Message).To(Equal("The workspace is empty."))
		Expect(*at.Status.Progress.Turns).To(BeEquivalentTo(3))
		Expect(*at.Status.Progress.ToolCalls).To(BeEquivalentTo(2))
		Expect(at.Status.Attempt).To(BeEquivalentTo(1))
		Expect(at.Status.Attempts).To(BeEmpty())
	})

	It("is refused a tool that it does not allow", func() {
		s := scripted(`
turns:
- toolCalls: [{name: bash, arguments: {command: "echo reached > proof"}}]
- expectMatch: "(?i)bash"
  text: I may not run commands.
`)
		s.apply(task("readonly", `
prompt: Run a command.
tools: {allowed: [read_file, glob]}
verify: [{name: untouched, command: test ! -e proof}]
`))
		at := s.awaitEnd("readonly", "True Completed")
		Expect(*at.Status.Progress.FailedToolCalls).To(BeEquivalentTo(1))
	})

	It("edits a file and proves it", func() {
		s := scripted(`
turns:
- toolCalls: [{name: write_file, arguments: {path: sum.py, content: "def add(a, b):\n    return a - b\n"}}]
- toolCalls: [{name: read_file, arguments: {path: sum.py}}]
- expect: return a - b
  toolCalls: [{name: edit_file, arguments: {path: sum.py, old_text: "a - b", new_text: "a + b"}}]
- text: Mended.
`)
		s.apply(task("edit", `
prompt: Mend add.
verify:
- {name: adds, command: "python3 -c 'from sum import add; assert add(2, 3) == 5'"}
- {name: one-file, command: "test \"$(ls *.py)\" = sum.py"}
`))
		at := s.awaitEnd("edit", "True Completed")
		Expect(at.Status.Result.Verifications).To(HaveLen(2))
		for _, v := range at.Status.Result.Verifications {
			Expect(v.Outcome).To(Equal(v1alpha1.VerificationPassed))
			Expect(*v.ExitCode).To(BeZero())
		}
	})

	It("recovers from a command that fails", func() {
		s := scripted(`
turns:
- toolCalls: [{name: bash, arguments: {command: "echo no such recipe >&2; exit 3"}}]
- expectMatch: "(?s)no such recipe.*exit code 3"
  toolCalls: [{name: bash, arguments: {command: "echo done > recipe"}}]
- text: It works now.
`)
		s.apply(task("recover", `
prompt: Make the recipe.
verify: [{name: recipe, command: grep -q done recipe}]
`))
		s.awaitEnd("recover", "True Completed")
	})

	It("goes on when a verification refutes it", func() {
		s := scripted(`
turns:
- text: Done, I think.
- expectMatch: "(?s)verification \"there\" failed \\(exit code 1\\)"
  toolCalls: [{name: bash, arguments: {command: "touch proof"}}]
- text: Done.
`)
		s.apply(task("refuted", `
prompt: Make the proof.
verify: [{name: there, command: test -e proof}]
`))
		at := s.awaitEnd("refuted", "True Completed")
		Expect(*at.Status.Progress.Turns).To(BeEquivalentTo(3))
	})

	It("ends at its limit of turns", func() {
		s := scripted(`
turns:
- repeat: 50
  toolCalls: [{name: bash, arguments: {command: "echo {{turn}}"}}]
`)
		s.apply(task("turns", `
prompt: Count.
limits: {turns: 4}
`))
		at := s.awaitEnd("turns", "False MaxTurns")
		Expect(*at.Status.Progress.Turns).To(BeEquivalentTo(4))
	})

	It("fails when a verification fails to the end, whatever the model says", func() {
		s := scripted(`
turns:
- repeat: 20
  text: It is all done, I promise.
`)
		s.apply(task("unproven", `
prompt: Prove it.
verify:
- {name: honest, command: "true"}
- {name: proof, command: "echo there is no proof; exit 7"}
`))
		at := s.awaitEnd("unproven", "False VerificationFailed")
		Expect(at.Status.Result.Verifications).To(HaveLen(2))
		Expect(at.Status.Result.Verifications[1].Outcome).To(Equal(v1alpha1.VerificationFailed))
		Expect(*at.Status.Result.Verifications[1].ExitCode).To(BeEquivalentTo(7))
		Expect(at.Status.Result.Verifications[1].Message).To(ContainSubstring("there is no proof"))
		Expect(at.Status.Attempt).To(BeEquivalentTo(1), "a failed verification is not retried")
	})

	It("ends at its budget", func() {
		s := scripted(`
turns:
- repeat: 50
  toolCalls: [{name: bash, arguments: {command: "echo {{turn}}"}}]
  usage: {inputTokens: 1000, outputTokens: 1000}
`)
		s.apply(task("budget", `
prompt: Spend.
limits: {costUSD: "0.005"}
`))
		at := s.awaitEnd("budget", "False BudgetExceeded")
		Expect(at.Status.Progress.Usage.CostUSD).To(HavePrefix("0.00"))
	})
})
