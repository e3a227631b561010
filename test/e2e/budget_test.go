package e2e

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/shopspring/decimal"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// budget is the manifest of a Budget of a month.
func budget(costUSD string) string {
	return fmt.Sprintf("apiVersion: sampan.dev/v1alpha1\nkind: Budget\nmetadata: {name: monthly}\nspec: {period: Month, costUSD: %q}\n", costUSD)
}

var _ = Describe("A Budget", func() {
	It("pauses tasks that come to its end, with their work, until it is raised", func() {
		// A call may cost 0.0164 USD and its input; the first two do cost 0.0165 USD each.
		s := scripted(`
turns:
- toolCalls: [{name: bash, arguments: {command: "echo first > notes"}}]
  usage: {inputTokens: 1000, outputTokens: 8000}
- toolCalls: [{name: bash, arguments: {command: "echo second >> notes"}}]
  usage: {inputTokens: 1000, outputTokens: 8000}
- toolCalls: [{name: bash, arguments: {command: "cat notes"}}]
  usage: {inputTokens: 1000, outputTokens: 10}
- expectMatch: "first\nsecond"
  text: It is all here.
  usage: {inputTokens: 1000, outputTokens: 10}
`)
		s.apply(budget("0.04"))
		stands := func(name string) func() string {
			return func() string {
				c := meta.FindStatusCondition(s.get(name).Status.Conditions, v1alpha1.ConditionSucceeded)
				if c == nil {
					return ""
				}
				return string(c.Status) + " " + c.Reason
			}
		}
		s.apply(task("one", "prompt: Go on.\nverify: [{name: notes, command: \"test $(wc -l < notes) = 2\"}]"))
		Eventually(stands("one")).Should(Equal("Unknown BudgetSpent"))
		Eventually(func() int { return len(s.get("one").Status.Attempts) }).Should(Equal(1))
		Expect(s.get("one").Status.Progress.Turns).To(HaveValue(BeEquivalentTo(2)))
		get := func() string {
			return kubectl("-n", s.name, "get", "budget", "monthly", "-o", "jsonpath={.status.spentUSD} {.status.reservedUSD}")
		}
		Eventually(get).Should(Equal("0.033 0"))

		By("having another one wait")
		s.apply(task("two", "prompt: Go on."))
		Eventually(stands("two")).Should(Equal("Unknown BudgetSpent"))
		Expect(s.get("two").Status.Progress.Usage.CostUSD).To(BeElementOf("", "0"), "it has made no model call")
		Eventually(get).Should(Equal("0.033 0"))

		By("raising it")
		s.apply(budget("1"))
		for _, name := range []string{"one", "two"} {
			at := s.awaitEnd(name, "True Completed")
			Expect(at.Status.FailedAttempts).To(BeZero())
			Expect(at.Status.Progress.Turns).To(HaveValue(BeEquivalentTo(4)), "what was done before the pause is not done again")
		}
		sum := decimal.Zero
		for _, name := range []string{"one", "two"} {
			sum = sum.Add(decimal.RequireFromString(s.get(name).Status.Progress.Usage.CostUSD))
		}
		Eventually(get).Should(Equal(sum.String() + " 0"))
	})
})
