package integration

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/faults"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// bindings are the tasks that each Sandbox has ever belonged to, by UID.
type bindings map[types.UID]map[types.UID]bool

// note takes in a Sandbox as a write has left it.
func (b bindings) note(obj client.Object) {
	sb, ok := obj.(*v1alpha1.Sandbox)
	if !ok {
		return
	}
	if task := podapi.OwnerTask(sb); task != nil {
		if b[sb.UID] == nil {
			b[sb.UID] = map[types.UID]bool{}
		}
		b[sb.UID][task.UID] = true
	}
}

// killing is a pool and its tasks, whose writes, pods and Sandboxes fail and go at random.
type killing struct {
	*world
	random *rand.Rand
	bound  bindings
	// claims counts how they came out.
	claims map[string]int
}

func newKilling(ctx SpecContext, seed uint64) *killing {
	k := &killing{world: unwatchedWorld(ctx), random: rand.New(rand.NewPCG(seed, seed)), bound: bindings{}, claims: map[string]int{}}
	after := k.writes.After
	k.writes.After = func(verb string, obj client.Object) {
		after(verb, obj)
		k.bound.note(obj)
	}
	k.writes.FailIf = func() (faults.Mode, bool) { return faults.Mode(k.random.IntN(3)), k.random.IntN(20) == 0 }
	return k
}

// killWaiting kills some of what waits in the pool.
func (k *killing) killWaiting() {
	GinkgoHelper()
	for range k.random.IntN(3) {
		waiting := k.waiting()
		if len(waiting) == 0 {
			return
		}
		sb := k.sandbox(waiting[k.random.IntN(len(waiting))])
		if k.random.IntN(2) == 0 {
			k.delete(sb)
		} else if sb.Status.PodName != "" {
			k.kill(sb.Status.PodName)
		}
	}
}

// kill takes a pod away at once, if it is there.
func (k *killing) kill(pod string) {
	GinkgoHelper()
	k.delete(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: k.ns}}, client.GracePeriodSeconds(0))
}

// round has tasks claim Sandboxes and run, some of which lose their pods, and deletes them.
func (k *killing) round(tasks []string) {
	GinkgoHelper()
	k.warmUp()
	k.killWaiting()
	for _, name := range tasks {
		k.create(objects.MakeTask(name).From("spare").Obj())
	}
	k.settle()
	k.warmUp()
	for _, t := range k.taskList() {
		if k.random.IntN(10) == 0 {
			k.kill(t.Status.PodName)
		}
	}
	k.settle()
	k.warmUp()
	for _, t := range k.taskList() {
		k.claims[k.claimOf(t.Name)]++
		Expect(k.stands(t.Name)).To(Equal("Unknown Running"), t.Name)
		Expect(metav1.IsControlledBy(k.sandbox(t.Status.SandboxName), &t)).To(BeTrue(), t.Name)
		k.delete(&t)
	}
	k.settle()
}

// claims is how many are made; 1,000 take some minutes on two processors.
var claims = flag.Int("claims", 250, "how many warm Sandboxes are claimed under random kills")

var _ = Describe("Claims under random kills", func() {
	It("bind no Sandbox twice, use none again, and leave nothing", func(ctx SpecContext) {
		const seeds, atOnce = 5, 5
		rounds := *claims / seeds / atOnce
		var all sync.WaitGroup
		for seed := range uint64(seeds) {
			all.Go(func() {
				defer GinkgoRecover()
				k := newKilling(ctx, seed)
				k.create(objects.MakePool("spare", atOnce))
				k.settle()
				for round := range rounds {
					By(fmt.Sprintf("seed %d, round %d", seed, round))
					var tasks []string
					for i := range atOnce {
						tasks = append(tasks, fmt.Sprintf("t-%d-%d", round, i))
					}
					k.round(tasks)
				}
				k.writes.FailIf = nil
				k.delete(k.pool("spare"))
				k.settle()
				for sb, tasks := range k.bound {
					Expect(tasks).To(HaveLen(1), "Sandbox %s", sb)
				}
				Expect(k.sandboxList()).To(BeEmpty())
				Expect(k.podList()).To(BeEmpty())
				Expect(k.claims["Hit Warm"]).To(BeNumerically(">", rounds*atOnce/2), "%v", k.claims)
				AddReportEntry("claims", fmt.Sprint(k.claims))
			})
		}
		all.Wait()
	}, SpecTimeout(10*time.Minute))
})
