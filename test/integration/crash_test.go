package integration

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/faults"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// ownSandbox is the life of a task that loses its first pod, from its creation
// to its deletion.
func ownSandbox(w *world) {
	GinkgoHelper()
	w.create(objects.MakeTask("x").Obj())
	w.settle()
	w.run("x-1")
	w.lose("x-1")
	Expect(w.task("x").Status.PodName).To(Equal("x-2"))
	w.run("x-2")
	w.report("x", v1alpha1.ReasonCompleted)
	w.exit("x-2", 0, "")
	Expect(w.stands("x")).To(Equal("True Completed"))
	t := w.task("x")
	Expect(t.Status.Attempt).To(BeEquivalentTo(2))
	Expect(t.Status.Attempts).To(HaveLen(1))
	Expect(w.names(w.podList())).To(Equal([]string{"x-2"}))
	w.delete(t)
	w.settle()
	Expect(w.taskList()).To(BeEmpty())
	Expect(w.sandboxList()).To(BeEmpty())
	Expect(w.podList()).To(BeEmpty())
	Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1", "x-2"}))
	Expect(w.made["v1alpha1.Sandbox"]).To(Equal([]string{"x"}))
}

// namedSandbox is two tasks one after the other in one Sandbox, of which the
// first is cancelled.
func namedSandbox(w *world) {
	GinkgoHelper()
	w.create(objects.MakeSandbox("dev").Obj(), objects.MakeTask("a").In("dev").Obj())
	w.settle()
	w.run("dev-1")
	w.create(objects.MakeTask("b").In("dev").Obj())
	w.settle()
	Expect(w.stands("b")).To(Equal("Unknown SandboxBusy"))
	a := w.task("a")
	w.change(a, func() { a.Spec.State = v1alpha1.TaskCancelled })
	w.settle()
	w.report("a", v1alpha1.ReasonCancelled)
	Expect(w.stands("a")).To(Equal("False Cancelled"))
	Expect(w.stands("b")).To(Equal("Unknown Running"))
	w.report("b", v1alpha1.ReasonCompleted)
	Expect(w.stands("b")).To(Equal("True Completed"))
	for _, name := range []string{"a", "b"} {
		Expect(w.task(name).Status.Attempt).To(BeEquivalentTo(1))
		Expect(w.task(name).Status.Attempts).To(BeEmpty())
	}
	Expect(w.sandbox("dev").Status.TaskRef).To(BeZero())
	Expect(w.made["v1.Pod"]).To(Equal([]string{"dev-1"}))
}

// keptSandbox is a Restricted and persistent Sandbox that becomes idle between
// two tasks, and whose policy somebody deletes.
func keptSandbox(w *world) {
	GinkgoHelper()
	w.create(objects.MakeSandbox("dev").With(restricted).With(persistent).With(idleAfter(600)).Obj(), objects.MakeTask("a").In("dev").Obj())
	w.settle()
	w.run("dev-1")
	claim := w.claim("dev").UID
	w.report("a", v1alpha1.ReasonCompleted)
	Expect(w.stands("a")).To(Equal("True Completed"))
	w.pass(601 * time.Second)
	Expect(w.ready("dev")).To(Equal("False Idle"))
	Expect(w.podList()).To(BeEmpty())
	w.delete(w.policy("sampan-sandbox-dev"))
	w.create(objects.MakeTask("b").In("dev").Attempts(1).Obj())
	w.settle()
	w.run("dev-2")
	Expect(w.stands("b")).To(Equal("Unknown Running"))
	w.report("b", v1alpha1.ReasonCompleted)
	Expect(w.stands("b")).To(Equal("True Completed"))
	Expect(w.claim("dev").UID).To(Equal(claim))
	Expect(w.made["v1.Pod"]).To(Equal([]string{"dev-1", "dev-2"}))
	Expect(w.made["v1.PersistentVolumeClaim"]).To(Equal([]string{"dev"}))
	Expect(w.made["v1.NetworkPolicy"]).To(ConsistOf("sampan-sandboxes", "sampan-sandbox-dev", "sampan-sandbox-dev"))
}

var stories = map[string]func(*world){
	"own": ownSandbox, "named": namedSandbox, "kept": keptSandbox, "pooled": pooledSandbox, "separate": separateTold, "no": probedModels,
}

// everyWrite tells a story again and again, each time failing another write of the
// controllers, until there is none left to fail. Some are told at once.
func everyWrite(ctx SpecContext, mode faults.Mode, tell func(*world)) {
	const atOnce = 3
	var next, last atomic.Int64
	last.Store(math.MaxInt64)
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			defer GinkgoRecover()
			for k := next.Add(1); k <= last.Load(); k = next.Add(1) {
				w := unwatchedWorld(ctx)
				w.writes.Mode, w.writes.FailAt = mode, int(k)
				told := false
				defer func() {
					if !told {
						fmt.Fprintf(GinkgoWriter, "failing write %d, all writes:\n%s\n", k, strings.Join(w.writes.Log, "\n"))
					}
				}()
				tell(w)
				told = true
				if !w.writes.Hit() {
					last.Store(min(last.Load(), k-1))
				}
			}
		})
	}
	all.Wait()
}

var _ = Describe("A failing write", func() {
	modes := map[string]faults.Mode{"refused": faults.Refused, "unheard": faults.Unheard, "crash": faults.Crash}
	for story, tell := range stories {
		for name, mode := range modes {
			It(fmt.Sprintf("changes nothing of the end, whichever it is: %s Sandbox, %s", story, name), func(ctx SpecContext) {
				everyWrite(ctx, mode, tell)
			}, SpecTimeout(10*time.Minute))

			It(fmt.Sprintf("changes nothing of the end, though every other does: %s Sandbox, %s", story, name), func(ctx SpecContext) {
				w := newWorld(ctx)
				w.writes.Mode, w.writes.FailOften = mode, true
				tell(w)
			})
		}
	}
})

var _ = Describe("A cache that lags", func() {
	for story, tell := range stories {
		for _, kinds := range []string{"AgentTask", "Sandbox", "Pod", "AgentTask Sandbox Pod NetworkPolicy PersistentVolumeClaim"} {
			It(fmt.Sprintf("makes nothing twice: %s Sandbox, %s", story, kinds), func(ctx SpecContext) {
				for _, n := range []int{5} {
					By(fmt.Sprintf("lagging %d changes", n))
					w := newWorld(ctx)
					w.lag(n, strings.Fields(kinds)...)
					tell(w)
				}
			})
		}
	}
})
