package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/shopspring/decimal"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/budget"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/faults"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// pricedWorld has a model with a price, which a Budget needs.
func pricedWorld(ctx SpecContext) *world {
	w := emptyWorld(ctx)
	w.create(pricedRegistry(w.ns))
	return w
}

func pricedRegistry(namespace string) *corev1.ConfigMap {
	return objects.MakeRegistry(namespace, strings.Replace(objects.RegistryDocument, "provider: gateway}", `provider: gateway, pricing: {inputPerMTok: "1", outputPerMTok: "3"}}`, 1))
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
	day   time.Time
	spent decimal.Decimal
	// most is the most that they have spent in one.
	most decimal.Decimal
}

type playedRun struct {
	cost  decimal.Decimal
	calls int
}

// spend counts what was really spent, and holds it against the limit of every Budget of a
// day.
func (p *runners) spend(cost decimal.Decimal) {
	GinkgoHelper()
	if day := p.w.clock.Now().UTC().Truncate(24 * time.Hour); !day.Equal(p.day) {
		p.day, p.spent = day, decimal.Zero
	}
	p.spent = p.spent.Add(cost)
	p.most = decimal.Max(p.most, p.spent)
	for _, b := range p.w.budgetList() {
		Expect(p.spent.LessThanOrEqual(usd(b.Spec.CostUSD))).To(BeTrue(), "%s of %s USD were really spent", p.spent, b.Spec.CostUSD)
	}
}

func newRunners(w *world, call string, calls int) *runners {
	return &runners{w: w, r: rand.New(rand.NewPCG(1, 2)), call: usd(call), calls: calls, runs: map[types.UID]*playedRun{}}
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
		p.spend(cost)
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
	// cmd/manager's test has fifty, on the manager as it is.
	It("is never overshot by twenty tasks at once, and all of them end", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		w.create(budgetOf("daily", "1"))
		w.settle()
		for i := range 20 {
			w.create(objects.MakeTask(fmt.Sprintf("t%d", i)).Obj())
		}
		runners := newRunners(w, "0.05", 2)
		days := 0
		for round := 0; ; round++ {
			Expect(round).To(BeNumerically("<", 300), "the tasks do not come to an end")
			w.settle()
			if round%7 == 3 {
				w.restart()
			}
			if runners.play() {
				continue
			}
			unfinished := w.unfinishedTasks()
			if len(unfinished) == 0 {
				break
			}
			for _, t := range unfinished {
				Expect(w.stands(t)).To(Equal("Unknown BudgetSpent"))
			}
			days++
			w.clock.SetTime(w.budget("daily").Status.ResetTime.Time)
		}
		Expect(days).To(BeNumerically(">=", 1), "the Budget was enough for all")
		Expect(runners.most.GreaterThan(usd("0.9"))).To(BeTrue(), "of 1 USD no more than %s were ever used", runners.most)
		for _, run := range runners.runs {
			Expect(run.calls).To(Equal(2))
		}
		Expect(w.budget("daily").Status.Reservations).To(BeEmpty())
	}, SpecTimeout(10*time.Minute))

	It("counts every cent of tasks that end by themselves, and no more", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		w.create(budgetOf("daily", "1"), objects.MakeTask("a").Obj(), objects.MakeTask("b").Obj())
		runners := newRunners(w, "0.05", 4)
		for w.settle(); runners.play(); w.settle() {
		}
		Expect(w.unfinishedTasks()).To(BeEmpty())
		st := w.budget("daily").Status
		Expect([]string{st.SpentUSD, st.ReservedUSD}).To(Equal([]string{runners.spent.String(), "0"}))
	})

	It("holds whatever fails, is lost, is deleted or comes at midnight", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		w.create(budgetOf("daily", "1"), budgetOf("another", "2"))
		w.settle()
		runners := newRunners(w, "0.06", 6)
		chance := func(n int) bool { return runners.r.IntN(n) == 0 }
		w.writes.FailIf = func() (faults.Mode, bool) { return faults.Mode(runners.r.IntN(3)), chance(12) }
		w.lag(1, "AgentTask", "Budget")
		for round := range 60 {
			if name := fmt.Sprintf("t%d", runners.r.IntN(10)); len(w.unfinishedTasks()) < 8 && !slices.Contains(w.names(w.taskList()), name) {
				w.create(objects.MakeTask(name).With(func(t *v1alpha1.AgentTask) { t.Spec.Limits.ActiveSeconds = 604800 }).Obj())
			}
			if tasks := w.taskList(); len(tasks) > 0 && chance(4) {
				w.delete(&tasks[runners.r.IntN(len(tasks))])
			}
			if pods := w.podList(); len(pods) > 0 && chance(4) {
				w.delete(&pods[runners.r.IntN(len(pods))], client.GracePeriodSeconds(0))
			}
			if round%8 == 7 {
				w.clock.Step(7 * time.Hour)
			}
			w.settle()
			runners.play()
		}
		Expect(runners.most.GreaterThan(usd("0.3"))).To(BeTrue(), "of 1 USD no more than %s were ever used", runners.most)
	}, SpecTimeout(10*time.Minute))

	It("lets a task wait that finds nothing left, until it is raised", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		w.create(budgetOf("daily", "0.10"), objects.MakeTask("first").Obj())
		w.settle()
		w.spend("first", "0", "0.10", "")
		w.create(objects.MakeTask("second").Obj())
		w.settle()
		Expect(w.stands("second")).To(Equal("Unknown BudgetSpent"))
		c := meta.FindStatusCondition(w.task("second").Status.Conditions, v1alpha1.ConditionSucceeded)
		Expect(c.Message).To(And(ContainSubstring("Budget daily"), ContainSubstring(w.budget("daily").Status.ResetTime.UTC().Format(time.RFC3339)), ContainSubstring("spec.costUSD")))
		Expect(meta.IsStatusConditionTrue(w.task("second").Status.Conditions, v1alpha1.ConditionStalled)).To(BeFalse())
		Expect(w.task("second").Status.Attempt).To(BeZero())
		Expect(reasonOf(w.budget("daily"))).To(Equal(v1alpha1.ReasonBudgetSpent))

		w.restart()
		b := w.budget("daily")
		w.change(b, func() { b.Spec.CostUSD = "0.20" })
		w.settle()
		Expect(w.stands("second")).To(Equal("Unknown Starting"))
		Expect(reasonOf(w.budget("daily"))).To(Equal(v1alpha1.ReasonBudgetAvailable))
	})

	It("pauses a task that comes to its end, until the next period, at no cost of active time", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		monthly := budgetOf("monthly", "0.10")
		monthly.Spec.Period = v1alpha1.BudgetMonth
		w.create(monthly, objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		w.spend("x", "0", "0.09", "")
		Expect(w.task("x").Status.Budget.GrantedUSD).To(Equal("0.09"))
		w.spend("x", "0.08", "0.15", "")
		Expect(w.task("x").Status.Budget).To(Equal(v1alpha1.TaskBudget{GrantedUSD: "0.09", RefusedUSD: "0.15"}))
		w.spend("x", "0.08", "0.15", v1alpha1.ReasonBudgetSpent)
		Expect(w.stands("x")).To(Equal("Unknown BudgetSpent"))
		Expect(w.budget("monthly").Status.SpentUSD).To(Equal("0.08"), "what is left of the grant was given back")
		Expect(w.podList()).To(BeEmpty(), "nothing runs meanwhile")
		active := w.task("x").Status.ActiveSeconds

		w.restart()
		reset := w.budget("monthly").Status.ResetTime.Time
		for w.clock.Now().Before(reset.Add(-50 * time.Hour)) {
			w.pass(49 * time.Hour)
			Expect(w.stands("x")).To(Equal("Unknown BudgetSpent"), "no wait for a Budget is too long")
		}
		Expect(w.task("x").Status.ActiveSeconds).To(Equal(active))
		w.clock.SetTime(reset)
		w.settle()
		Expect(w.stands("x")).To(starting)
		Expect(w.task("x").Status.Attempt).To(Equal(int32(2)))
		Expect(w.task("x").Status.FailedAttempts).To(BeZero())
		Expect(w.names(w.podList())).To(ContainElement("x-2"))
		Expect(usd(w.task("x").Status.Budget.GrantedUSD).GreaterThanOrEqual(usd("0.15"))).To(BeTrue(), "it was granted what it waited for")
	})

	It("holds together with each other one of the namespace", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		w.create(budgetOf("large", "10"), budgetOf("small", "0.10"), objects.MakeTask("x").Obj())
		w.settle()
		w.spend("x", "0", "0.11", "")
		Expect(w.task("x").Status.Budget.RefusedUSD).To(Equal("0.11"))
		Expect(w.budget("large").Status.ReservedUSD).To(Equal(w.budget("small").Status.ReservedUSD), "what one refuses the other does not reserve")
	})

	It("counts all that a task was granted whose end nobody has seen, also for another of its name", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		w.create(budgetOf("daily", "0.10"), objects.MakeTask("x").Obj())
		w.settle()
		for range 3 {
			w.spend("x", "0", "0.03", "")
			w.delete(w.task("x"))
			w.settle()
			w.create(objects.MakeTask("x").Obj())
			w.settle()
		}
		Expect(w.budget("daily").Status.SpentUSD).To(Equal("0.09"))
		w.spend("x", "0", "0.03", "")
		Expect(w.task("x").Status.Budget.RefusedUSD).To(Equal("0.03"))
	})

	It("counts all that an attempt was granted which was lost without a record, and goes on where there is one", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		w.create(budgetOf("daily", "1"), objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		w.spend("x", "0.05", "0.20", "")
		w.lose("x-1")
		w.pass(11 * time.Second)
		Expect(w.task("x").Status.Attempt).To(Equal(int32(2)))
		Expect(w.budget("daily").Status.SettledUSD).To(Equal("0"), "the record knows what was spent")

		task := w.task("x")
		w.run("x-2")
		w.applyStatus("x", map[string]any{
			"progress":   map[string]any{"attempt": int64(2), "turns": 1, "usage": map[string]any{"costUSD": "0.05"}},
			"transcript": map[string]any{"uri": logOf(w.ns, "x-2")},
		})
		w.settle()
		granted := usd(w.task("x").Status.Budget.GrantedUSD)
		w.lose("x-2")
		w.pass(11 * time.Second)
		Expect(w.task("x").Status.Attempt).To(Equal(int32(3)))
		Expect(w.task("x").UID).To(Equal(task.UID))
		Expect(usd(w.budget("daily").Status.SettledUSD).Equal(granted)).To(BeTrue())
	})

	It("counts what a task held that its user suspends or cancels", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		w.create(budgetOf("daily", "1"), objects.MakeTask("cancelled").Obj(), objects.MakeTask("suspended").Obj())
		w.settle()
		for name, state := range map[string]v1alpha1.TaskState{"cancelled": v1alpha1.TaskCancelled, "suspended": v1alpha1.TaskSuspended} {
			w.spend(name, "0.01", "0.20", "")
			t := w.task(name)
			w.change(t, func() { t.Spec.State = state })
			w.settle()
		}
		w.pass(time.Minute)
		Expect(w.stands("cancelled")).To(Equal("False Cancelled"))
		Expect(w.stands("suspended")).To(Equal("Unknown Suspended"))
		Expect(w.budget("daily").Status.Reservations).To(BeEmpty())
		Expect(w.budget("daily").Status.SpentUSD).To(Equal("0.4"), "neither runner has said how it ended")
	})

	It("keeps no room for a task that waits for something else", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		w.create(budgetOf("daily", "1"), objects.MakeSandbox("dev").Obj(), objects.MakeTask("holder").In("dev").Obj())
		w.settle()
		w.spend("holder", "0", "0.985", "")
		w.create(objects.MakeTask("queued").In("dev").Obj())
		w.settle()
		Expect(w.stands("queued")).To(Equal("Unknown SandboxBusy"))
		w.create(objects.MakeTask("x").Obj())
		_, err := w.tasks.Reconcile(ctx, request(w.task("x")))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
	})

	It("lets go those that it bounds when it is deleted", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		w.create(budgetOf("daily", "0.10"), objects.MakeTask("x").Obj())
		w.settle()
		w.spend("x", "0", "0.10", "")
		w.create(objects.MakeTask("y").Obj())
		w.settle()
		Expect(w.stands("y")).To(Equal("Unknown BudgetSpent"))
		w.delete(w.budget("daily"))
		w.settle()
		Expect(w.stands("y")).To(Equal("Unknown Starting"))
		Expect(w.task("y").Status.Budget).To(BeZero())
		w.spend("x", "0", "0.50", "")
		Expect(w.task("x").Status.Budget).To(BeZero())
	})

	It("knows what the tasks that run when it is made were granted by others", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		w.create(budgetOf("daily", "0.10"), objects.MakeTask("x").Obj())
		w.settle()
		w.spend("x", "0.01", "0.09", "")
		w.delete(w.budget("daily"))
		w.create(budgetOf("daily", "0.10"), budgetOf("another", "0.20"))
		w.settle()
		for _, name := range []string{"daily", "another"} {
			Expect(w.budget(name).Status.ReservedUSD).To(Equal("0.08"), name)
		}
		w.spend("x", "0.08", "0.30", "")
		Expect(w.task("x").Status.Budget.RefusedUSD).To(Equal("0.30"))
		w.spend("x", "0.08", "0.30", v1alpha1.ReasonCompleted)
		for _, name := range []string{"daily", "another"} {
			st := w.budget(name).Status
			Expect([]string{st.SpentUSD, st.ReservedUSD}).To(Equal([]string{"0.07", "0"}), name)
		}
	})

	It("lets tasks that hold all of it, and whose pods were lost, find out what they have spent", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		w.create(budgetOf("daily", "0.10"), objects.MakeTask("a").Obj(), objects.MakeTask("b").Obj())
		w.settle()
		for _, name := range []string{"a", "b"} {
			w.run(name + "-1")
			w.spend(name, "0", "0.05", "")
		}
		for _, name := range []string{"a", "b"} {
			w.spend(name, "0.01", "0.06", "")
			Expect(w.task(name).Status.Budget.RefusedUSD).To(Equal("0.06"))
			w.lose(name + "-1")
		}
		w.pass(11 * time.Second)
		for _, name := range []string{"a", "b"} {
			Expect(w.task(name).Status.Attempt).To(Equal(int32(2)), w.stands(name))
			Expect(w.task(name).Status.Budget).To(Equal(v1alpha1.TaskBudget{GrantedUSD: "0.05"}))
		}
		w.spend("a", "0.02", "0.06", "")
		Expect(w.task("a").Status.Budget.RefusedUSD).To(Equal("0.06"))
		w.spend("a", "0.02", "0.06", v1alpha1.ReasonBudgetSpent)
		w.spend("b", "0.02", "0.06", "")
		Expect(w.task("b").Status.Budget.GrantedUSD).To(Equal("0.06"), "the other one has given back what it had not spent")
	})

	It("lets a Separate verification run, which asks no model, when all is spent, and the agent wait after it", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		withRecord(w)
		w.create(budgetOf("daily", "0.10"), objects.MakeTask("x").VerifySeparately("v", "true").Obj())
		w.settle()
		w.run("x-1")
		w.spend("x", "0", "0.10", "")
		w.spend("x", "0.10", "0.11", v1alpha1.ReasonVerificationPending)
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.task("x").Status.Attempt).To(Equal(int32(2)))
		Expect(w.task("x").Status.Budget).To(BeZero())
		Expect(w.budget("daily").Status.Reservations).To(BeEmpty())
		w.run("x-2")
		w.spend("x", "0.10", "0.11", v1alpha1.ReasonVerificationRejected)
		Expect(w.stands("x")).To(Equal("Unknown BudgetSpent"))
		Expect(w.budget("daily").Status.SpentUSD).To(Equal("0.1"))
	})

	It("has no models without a price among its candidates", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(budgetOf("daily", "1"), objects.MakeTask("x").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown ModelNotFound"))
		c := meta.FindStatusCondition(w.task("x").Status.Conditions, v1alpha1.ConditionSucceeded)
		Expect(c.Message).To(ContainSubstring("has no pricing, so a cost limit cannot be kept"))
	})

	DescribeTable("is refused", func(ctx SpecContext, change func(*v1alpha1.Budget), message string) {
		b := budgetOf("daily", "1")
		b.Namespace = newNamespace(ctx)
		change(b)
		Expect(api.Client.Create(ctx, b)).To(MatchError(ContainSubstring(message)))
	},
		Entry("without a limit", func(b *v1alpha1.Budget) { b.Spec.CostUSD = "" }, "spec.costUSD"),
		Entry("with nothing to spend", func(b *v1alpha1.Budget) { b.Spec.CostUSD = "0.00" }, "costUSD must be more than 0"),
		Entry("with another period", func(b *v1alpha1.Budget) { b.Spec.Period = "Week" }, "Month"),
		Entry("with a limit that is no amount", func(b *v1alpha1.Budget) { b.Spec.CostUSD = "1e3" }, "spec.costUSD"),
	)

	It("keeps its period", func(ctx SpecContext) {
		w := pricedWorld(ctx)
		b := budgetOf("daily", "1")
		w.create(b)
		b.Spec.Period = v1alpha1.BudgetMonth
		Expect(w.live.Update(ctx, b)).To(MatchError(ContainSubstring("period is immutable")))
	})
})

var _ = Describe("Who accounts for a Budget", Ordered, func() {
	const mallory = "mallory"
	var ns string
	status := func(ctx SpecContext, c client.Client, obj client.Object, status string) error {
		return c.Status().Patch(ctx, obj, client.RawPatch(types.MergePatchType, []byte(`{"status":`+status+`}`)))
	}
	refused := MatchError(And(ContainSubstring("'sampan-budgets'"), ContainSubstring("written by the operator")))
	daily := func() *v1alpha1.Budget {
		b := budgetOf("daily", "1")
		b.Namespace = ns
		return b
	}
	task := func() *v1alpha1.AgentTask { return objects.MakeTask("x").Namespace(ns).Obj() }

	BeforeAll(func(ctx SpecContext) {
		everybodyMay(ctx)
		ns = guardedNamespace(ctx)
		Expect(api.Client.Create(ctx, daily())).To(Succeed())
		Expect(api.Client.Create(ctx, task())).To(Succeed())
		awaitPolicy("sampan-budgets", func() error { return status(ctx, as(mallory, ""), daily(), `{"settledUSD":"0"}`) })
	})

	It("is nobody who may do anything else in the namespace", func(ctx SpecContext) {
		for what, c := range map[string]client.Client{"a person": as(mallory, ""), "a runner": account(ns, "sampan-runner", "x-1"), "an account": account(ns, "default", "")} {
			Expect(status(ctx, c, daily(), `{"settledUSD":"0"}`)).To(refused, what)
		}
		for _, s := range []string{`{"budget":{"grantedUSD":"100"}}`, `{"progress":{"turns":1,"usage":{"costUSD":"0"}}}`, `{"result":{"attempt":1,"reason":"Completed"}}`,
			`{"attempt":1}`, `{"transcript":{"uri":"` + podapi.TranscriptPath(ns, "x") + `"}}`, `{"attempts":[{"number":1,"reason":"Suspended"}]}`,
			`{"attemptKind":"Verification"}`} {
			Expect(status(ctx, as(mallory, ""), task(), s)).To(refused, s)
		}
	})

	It("is the operator", func(ctx SpecContext) {
		w := guardedWorld(ctx)
		registry := objects.MakeRegistry(w.ns, "")
		w.change(registry, func() { registry.Data = pricedRegistry(w.ns).Data })
		w.create(budgetOf("daily", "1"), objects.MakeTask("x").Obj())
		w.settle()
		w.spend("x", "0.2", "0.3", v1alpha1.ReasonCompleted)
		Expect(w.stands("x")).To(Equal("True Completed"))
		Expect(w.budget("daily").Status.SpentUSD).To(Equal("0.2"))
	})

	It("gives those who edit or view a namespace the right to read it alone", func(ctx SpecContext) {
		for _, role := range []string{"sampan-edit", "sampan-view"} {
			var r rbacv1.ClusterRole
			Expect(api.Client.Get(ctx, types.NamespacedName{Name: role}, &r)).To(Succeed())
			var verbs []string
			for _, rule := range r.Rules {
				if slices.Contains(rule.Resources, "budgets") || slices.Contains(rule.Resources, "*") {
					verbs = append(verbs, rule.Verbs...)
				}
			}
			Expect(verbs).To(ConsistOf("get", "list", "watch"), role)
		}
	})
})

var _ = Describe("Two managers at once", func() {
	It("reserve no more of a Budget than there is", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		b := budgetOf("daily", "1")
		b.Namespace = ns
		Expect(api.Client.Create(ctx, b)).To(Succeed())
		managers := []*budget.Store{{Client: api.Client, APIReader: api.Client, Clock: clock.RealClock{}}, {Client: api.Client, APIReader: api.Client, Clock: clock.RealClock{}}}
		var granted atomic.Int64
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				defer GinkgoRecover()
				task := objects.MakeTask(fmt.Sprintf("t%d", i)).Namespace(ns).Obj()
				task.UID, task.Status.Attempt, task.Status.Progress.RequestedUSD = types.UID(task.Name), 1, "0.03"
				var refusal *budget.Refusal
				Eventually(func() (err error) {
					_, refusal, err = managers[i%2].Reserve(ctx, task, true, func(context.Context) error { return nil })
					return err
				}).WithTimeout(patience).Should(Succeed(), "conflicts pass")
				if refusal == nil {
					granted.Add(1)
				}
			})
		}
		all.Wait()
		Expect(granted.Load()).To(BeEquivalentTo(33))
		Expect(api.Client.Get(ctx, client.ObjectKeyFromObject(b), b)).To(Succeed())
		Expect(b.Status.ReservedUSD).To(Equal("0.99"))
		Expect(b.Status.Reservations).To(HaveLen(33))
	})
})

// reasonOf is the reason of a Budget's Ready, which is always True.
func reasonOf(b *v1alpha1.Budget) string {
	GinkgoHelper()
	c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
	Expect(c).NotTo(BeNil())
	Expect(c.Status).To(Equal(metav1.ConditionTrue))
	return c.Reason
}

// spend plays the runner of a task that is recorded: it has cost so much, and asks for
// more or ends.
func (w *world) spend(name, cost, requested, reason string) {
	GinkgoHelper()
	t := w.task(name)
	attempt := int64(t.Status.Attempt)
	status := map[string]any{
		"progress":   map[string]any{"attempt": attempt, "turns": 1, "usage": map[string]any{"costUSD": cost}, "requestedUSD": requested},
		"transcript": map[string]any{"uri": podapi.TranscriptPath(t.Namespace, t.Name)},
	}
	if reason != "" {
		status["result"] = map[string]any{"attempt": attempt, "reason": reason, "message": "the runner's own words"}
	}
	w.applyStatus(name, status)
	w.settle()
}

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
