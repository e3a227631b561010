package integration

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/shopspring/decimal"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// pricedWorld has a model with a price, which a Budget needs.
func pricedWorld(ctx SpecContext) *world {
	w := emptyWorld(ctx)
	priced := strings.Replace(objects.RegistryDocument, "provider: gateway}", `provider: gateway, pricing: {inputPerMTok: "1", outputPerMTok: "3"}}`, 1)
	w.create(objects.MakeRegistry(w.ns, priced))
	return w
}

func budgetOf(name, costUSD string) *v1alpha1.Budget {
	return &v1alpha1.Budget{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec:       v1alpha1.BudgetSpec{Period: v1alpha1.BudgetDay, CostUSD: costUSD},
	}
}

// checkBudgets holds each Budget against its limit.
func (w *world) checkBudgets() {
	GinkgoHelper()
	for _, b := range w.budgetList() {
		if b.Status.SpentUSD == "" {
			continue
		}
		sum := usd(b.Status.SpentUSD).Add(usd(b.Status.ReservedUSD))
		Expect(sum.LessThanOrEqual(usd(b.Spec.CostUSD))).To(BeTrue(), "Budget %s has %s spent and %s reserved of %s", b.Name, b.Status.SpentUSD, b.Status.ReservedUSD, b.Spec.CostUSD)
	}
}

func usd(s string) decimal.Decimal { return decimal.RequireFromString(s) }

func (w *world) budget(name string) *v1alpha1.Budget {
	GinkgoHelper()
	var b v1alpha1.Budget
	Expect(w.live.Get(w.ctx, types.NamespacedName{Namespace: w.ns, Name: name}, &b)).To(Succeed())
	return &b
}

// runners play the runners of all tasks: they spend really, and say so in the status.
type runners struct {
	w *world
	r *rand.Rand
	// call is the most that a model call may cost, and calls how many a task needs.
	call  decimal.Decimal
	calls int
	// runs are the tasks by UID, spent is what they have really spent in the period.
	runs  map[types.UID]*playedRun
	spent decimal.Decimal
}

type playedRun struct {
	cost    decimal.Decimal
	calls   int
	attempt int32
}

func newRunners(w *world, call string, calls int) *runners {
	return &runners{w: w, r: rand.New(rand.NewPCG(1, 2)), call: usd(call), calls: calls, runs: map[types.UID]*playedRun{}} //nolint:gosec // a test that can be repeated
}

// play lets every runner do one thing, and says whether there was one.
func (p *runners) play() bool {
	GinkgoHelper()
	played := false
	for _, t := range p.w.taskList() {
		if !kit.Finished(&t) && kit.AttemptOpen(&t) && t.Status.Budget.GrantedUSD != "" && t.Status.Budget.GrantedUSD != "0" && t.Status.Result.Attempt != t.Status.Attempt {
			p.turn(&t)
			played = true
		}
	}
	return played
}

// turn makes a model call, or asks for it, or ends the run.
func (p *runners) turn(t *v1alpha1.AgentTask) {
	GinkgoHelper()
	run := p.runs[t.UID]
	if run == nil {
		run = &playedRun{}
		p.runs[t.UID] = run
	}
	upTo := run.cost.Add(p.call)
	switch {
	case run.calls == p.calls:
		p.report(t, run, "", v1alpha1.ReasonCompleted)
	case upTo.LessThanOrEqual(usd(t.Status.Budget.GrantedUSD)):
		cost := p.call.Mul(decimal.New(p.r.Int64N(101), -2))
		run.cost, run.calls = run.cost.Add(cost), run.calls+1
		p.spent = p.spent.Add(cost)
		if p.r.IntN(2) == 0 { // a report may come late
			p.report(t, run, "", "")
		}
	case t.Status.Budget.RefusedUSD == upTo.String():
		p.report(t, run, upTo.String(), v1alpha1.ReasonBudgetSpent)
	default:
		p.report(t, run, upTo.String(), "")
	}
}

func (p *runners) report(t *v1alpha1.AgentTask, run *playedRun, requested, reason string) {
	GinkgoHelper()
	attempt := int64(t.Status.Attempt)
	progress := map[string]any{"attempt": attempt, "turns": int64(run.calls), "usage": map[string]any{"costUSD": run.cost.String()}}
	if requested != "" {
		progress["requestedUSD"] = requested
	}
	status := map[string]any{"progress": progress, "transcript": map[string]any{"uri": podapi.TranscriptPath(t.Namespace, t.Name)}}
	if reason != "" {
		status["result"] = map[string]any{"attempt": attempt, "reason": reason, "message": "the runner's own words"}
	}
	p.w.applyStatus(t.Name, status)
}

var _ = Describe("A Budget", func() {
	It("is never overshot by fifty tasks at once, and all of them end", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		w.create(budgetOf("daily", "1"))
		w.settle()
		for i := range 50 {
			w.create(objects.MakeTask(fmt.Sprintf("t%d", i)).Obj())
		}
		runners := newRunners(w, "0.03", 3)
		limit, days, most := usd("1"), 0, decimal.Zero
		for round := 0; ; round++ {
			Expect(round).To(BeNumerically("<", 300), "the tasks do not come to an end")
			w.settle()
			if round%7 == 3 {
				w.restart()
			}
			if !runners.play() {
				if unfinished := w.unfinishedTasks(); len(unfinished) == 0 {
					break
				}
				for _, t := range w.unfinishedTasks() {
					Expect(w.stands(t)).To(Equal("Unknown BudgetSpent"))
				}
				days, runners.spent = days+1, decimal.Zero
				w.clock.SetTime(w.budget("daily").Status.ResetTime.Time)
			}
			most = decimal.Max(most, runners.spent)
			Expect(runners.spent.LessThanOrEqual(limit)).To(BeTrue(), "%s of %s USD were really spent", runners.spent, limit)
		}
		Expect(days).To(BeNumerically(">=", 1), "the Budget was enough for all")
		Expect(most.GreaterThan(usd("0.9"))).To(BeTrue(), "of 1 USD no more than %s were ever used", most)
		total := decimal.Zero
		for _, run := range runners.runs {
			Expect(run.calls).To(Equal(3))
			total = total.Add(run.cost)
		}
		Expect(w.budget("daily").Status.Reservations).To(BeEmpty())
		w.settle()
		Expect(usd(w.budget("daily").Status.SpentUSD).LessThanOrEqual(total)).To(BeTrue())
	}, SpecTimeout(10*time.Minute))
})

func (w *world) unfinishedTasks() []string {
	GinkgoHelper()
	var out []string
	for _, t := range w.taskList() {
		if !kit.Finished(&t) {
			out = append(out, t.Name)
		}
	}
	return out
}
