package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
	"github.com/sampan-dev/sampan/internal/controller/agenttask"
	"github.com/sampan-dev/sampan/internal/controller/budget"
	"github.com/sampan-dev/sampan/internal/controller/modelprobe"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/controller/sandbox"
	"github.com/sampan-dev/sampan/internal/controller/sandboxpool"
	"github.com/sampan-dev/sampan/internal/controller/warm"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/expect"
	"github.com/sampan-dev/sampan/internal/testing/faults"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// world is a namespace with both controllers, driven by hand.
type world struct {
	ctx  context.Context
	ns   string
	live client.WithWatch
	// operator is whom the controllers act as.
	operator client.WithWatch
	clock    *clocktesting.FakeClock
	// writes are the controllers' own.
	writes *faults.Writes
	cache  *faults.Cache
	events *events.FakeRecorder
	// kubelet removes pods that are being deleted; garbage is deleted by its collector.
	kubelet, garbage bool
	// silent keeps runners from reporting that they run.
	silent bool
	// made are the names of all pods and Sandboxes that the controllers created.
	made map[string][]string

	tasks     *agenttask.Reconciler
	sandboxes *sandbox.Reconciler
	pools     *sandboxpool.Reconciler
	probes    *modelprobe.Reconciler
	budgets   *budget.Reconciler
}

// newWorld makes a namespace with a registry, and the controllers.
func newWorld(ctx SpecContext) *world { return emptyWorld(ctx).withRegistry() }

func emptyWorld(ctx SpecContext) *world { return worldIn(ctx, newNamespace(ctx), api.Client).checked() }

// unwatchedWorld is for worlds of which a spec makes very many, several at once.
func unwatchedWorld(ctx SpecContext) *world {
	return worldIn(ctx, newNamespace(ctx), api.Client).withRegistry()
}

func (w *world) withRegistry() *world {
	w.create(objects.MakeRegistry(w.ns, objects.RegistryDocument))
	return w
}

// checked looks after the spec whether the world's cache was told of all that was written.
func (w *world) checked() *world {
	DeferCleanup(func(ctx SpecContext) { Expect(w.cache.Check(ctx)).To(Succeed()) })
	return w
}

func worldIn(ctx SpecContext, namespace string, operator client.WithWatch) *world {
	w := &world{
		ctx: ctx, ns: namespace, operator: operator, kubelet: true, garbage: true,
		clock: clocktesting.NewFakeClock(time.Now().Truncate(time.Second)), writes: &faults.Writes{}, made: map[string][]string{},
	}
	w.cache = &faults.Cache{Live: api.Client, Namespace: w.ns, Index: map[string]client.IndexerFunc{"spec.sandbox.sandboxRef.name": agenttask.IndexSandboxRef, warm.IndexPool: warm.IndexOfPool}}
	Expect(w.cache.Follow(&v1alpha1.AgentTaskList{}, &v1alpha1.SandboxList{}, &v1alpha1.SandboxPoolList{}, &corev1.PodList{}, &networkingv1.NetworkPolicyList{},
		&corev1.PersistentVolumeClaimList{}, &corev1.ServiceAccountList{}, &rbacv1.RoleBindingList{}, &corev1.ConfigMapList{}, &v1alpha1.ModelProbeList{}, &v1alpha1.BudgetList{})).To(Succeed())
	w.live = w.cache.Writer(api.Client)
	w.writes.After = func(verb string, obj client.Object) {
		if kind := strings.TrimPrefix(fmt.Sprintf("%T", obj), "*"); verb == "create" {
			w.made[kind] = append(w.made[kind], obj.GetName())
		}
	}
	w.restart()
	return w
}

// restart replaces the controllers by new ones that remember nothing.
func (w *world) restart() {
	w.writes.Restart()
	w.events = events.NewFakeRecorder(1000)
	w.restartWith(w.writes.Client(w.cache.Client(w.cache.Writer(w.operator))))
}

// restartWith gives new controllers another client.
func (w *world) restartWith(c client.Client) {
	store := &modelregistry.Store{Reader: c, OperatorNamespace: w.ns + "-operator", Recorder: w.events}
	policy := &adminpolicy.Store{Reader: c, Namespace: w.ns + "-operator", Recorder: w.events}
	surroundings := &warm.Surroundings{Registry: store, Images: []string{"runner:test"}, Others: []func(context.Context) (string, error){policy.Document}}
	w.budgets = &budget.Reconciler{Store: &budget.Store{Client: c, APIReader: w.operator, Clock: w.clock}}
	w.tasks = &agenttask.Reconciler{Budgets: w.budgets.Store, Client: c, APIReader: w.operator, Recorder: w.events, Clock: w.clock, Registry: store, Policy: policy, Surroundings: surroundings}
	w.pools = &sandboxpool.Reconciler{Client: c, APIReader: w.operator, Recorder: w.events, Clock: w.clock, Policy: policy, Surroundings: surroundings}
	w.sandboxes = &sandbox.Reconciler{Client: c, APIReader: w.operator, Recorder: w.events, Clock: w.clock, Registry: store, Policy: policy,
		Options: sandbox.Options{RunnerImage: "runner:test", SandboxImage: "sandbox:test", RunnerRole: podspec.RunnerName}}
	w.probes = &modelprobe.Reconciler{Client: c, APIReader: w.operator, Recorder: w.events, Clock: w.clock, Registry: store, Policy: policy, Budgets: w.budgets.Store, Sandboxes: w.sandboxes}
}

// settle reconciles everything until nothing changes any more, and checks after
// each step what must always hold.
func (w *world) settle() {
	GinkgoHelper()
	const rounds = 80
	for range rounds {
		written, failed := w.writes.Done(), false
		for _, t := range w.taskList() {
			failed = w.reconcile(w.tasks.Reconcile, &t) || failed
		}
		for _, b := range w.budgetList() {
			failed = w.reconcile(w.budgets.Reconcile, &b) || failed
		}
		for _, pool := range w.poolList() {
			failed = w.reconcile(w.pools.Reconcile, &pool) || failed
		}
		for _, sb := range w.sandboxList() {
			failed = w.reconcile(w.sandboxes.Reconcile, &sb) || failed
		}
		for _, probe := range w.probeList() {
			failed = w.reconcile(w.probes.Reconcile, &probe) || failed
		}
		for _, sb := range w.sandboxesGone() {
			failed = w.reconcile(w.sandboxes.Reconcile, &sb) || failed
		}
		removed := w.collectGarbage()
		removed = w.removeLeavingPods() || removed
		removed = w.speak() || removed
		w.clock.Step(100 * time.Millisecond)
		if written == w.writes.Done() && !removed && !failed && !w.cache.Advance() {
			return
		}
	}
	Fail(fmt.Sprintf("still writing after %d rounds:\n%s", rounds, strings.Join(w.writes.Log[max(0, len(w.writes.Log)-20):], "\n")))
}

// reconcile reports whether it failed, and so wants to be tried again.
func (w *world) reconcile(do func(context.Context, ctrl.Request) (ctrl.Result, error), obj client.Object) (failed bool) {
	GinkgoHelper()
	written := w.writes.Done()
	_, err := do(w.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(obj)})
	if err != nil && !errors.Is(err, faults.ErrInjected) {
		Fail(fmt.Sprintf("reconciling %T %s: %v", obj, obj.GetName(), err))
	}
	if w.writes.Crashed() {
		w.restart()
	}
	if w.writes.Done() != written {
		w.check()
	}
	return err != nil
}

// check holds the invariants against everything in the namespace.
func (w *world) check() {
	GinkgoHelper()
	driven := map[string]string{}
	w.checkBudgets()
	for _, t := range w.taskList() {
		Expect(finalizersOfOurs(&t)).To(BeEmpty(), "nobody takes it off where the operator is deleted, too")
		if len(t.Status.Conditions) > 0 {
			Expect(expect.Consistent(&t)).To(BeEmpty())
		}
	}
	for _, sb := range w.sandboxList() {
		Expect(finalizersOfOurs(&sb)).To(BeEmpty(), "nobody takes it off where the operator is deleted, too")
		if len(sb.Status.Conditions) > 0 {
			Expect(expect.Consistent(&sb)).To(BeEmpty())
		}
	}
	for _, pool := range w.poolList() {
		Expect(finalizersOfOurs(&pool)).To(BeEmpty(), "nobody takes it off where the operator is deleted, too")
		if len(pool.Status.Conditions) > 0 {
			Expect(expect.Consistent(&pool)).To(BeEmpty())
		}
	}
	for _, p := range w.podList() {
		if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed || p.Spec.NodeName == lostNode || len(p.OwnerReferences) == 0 {
			continue
		}
		owner := p.OwnerReferences[0].Name
		Expect(driven).NotTo(HaveKey(owner), "Sandbox %s has two pods: %s and %s", owner, driven[owner], p.Name)
		driven[owner] = p.Name
	}
}

func finalizersOfOurs(obj client.Object) []string {
	return slices.DeleteFunc(slices.Clone(obj.GetFinalizers()), func(f string) bool { return !strings.HasPrefix(f, "sampan.dev/") })
}

// pass lets time go by, then settles.
func (w *world) pass(d time.Duration) {
	GinkgoHelper()
	w.clock.Step(d)
	w.settle()
}

func (w *world) create(objs ...client.Object) {
	GinkgoHelper()
	for _, obj := range objs {
		if obj.GetNamespace() == "default" {
			obj.SetNamespace(w.ns)
		}
		Expect(w.live.Create(w.ctx, obj)).To(Succeed())
	}
}

// change edits an object as a user would.
func (w *world) change(obj client.Object, edit func()) {
	GinkgoHelper()
	Expect(w.live.Get(w.ctx, client.ObjectKeyFromObject(obj), obj)).To(Succeed())
	before := obj.DeepCopyObject().(client.Object)
	edit()
	Expect(w.live.Patch(w.ctx, obj, client.MergeFrom(before))).To(Succeed())
}

// changeStatus edits an object's status as somebody could who may.
func (w *world) changeStatus(obj client.Object, edit func()) {
	GinkgoHelper()
	Expect(w.live.Get(w.ctx, client.ObjectKeyFromObject(obj), obj)).To(Succeed())
	before := obj.DeepCopyObject().(client.Object)
	edit()
	Expect(w.live.Status().Patch(w.ctx, obj, client.MergeFrom(before))).To(Succeed())
}

// delete asks for an object's deletion.
func (w *world) delete(obj client.Object, opts ...client.DeleteOption) {
	GinkgoHelper()
	Expect(client.IgnoreNotFound(w.live.Delete(w.ctx, obj, opts...))).To(Succeed())
}

func (w *world) taskList() []v1alpha1.AgentTask {
	GinkgoHelper()
	var l v1alpha1.AgentTaskList
	Expect(w.cache.Newest(&l)).To(Succeed())
	return l.Items
}

func (w *world) poolList() []v1alpha1.SandboxPool {
	GinkgoHelper()
	var l v1alpha1.SandboxPoolList
	Expect(w.cache.Newest(&l)).To(Succeed())
	return l.Items
}

func (w *world) budgetList() []v1alpha1.Budget {
	GinkgoHelper()
	var l v1alpha1.BudgetList
	Expect(w.cache.Newest(&l)).To(Succeed())
	return l.Items
}

func (w *world) sandboxList() []v1alpha1.Sandbox {
	GinkgoHelper()
	var l v1alpha1.SandboxList
	Expect(w.cache.Newest(&l)).To(Succeed())
	return l.Items
}

func (w *world) podList() []corev1.Pod {
	GinkgoHelper()
	var l corev1.PodList
	Expect(w.cache.Newest(&l)).To(Succeed())
	return l.Items
}

// sandboxesGone are the Sandboxes of which only a policy is left.
func (w *world) sandboxesGone() []v1alpha1.Sandbox {
	GinkgoHelper()
	have := w.names(w.sandboxList())
	var policies networkingv1.NetworkPolicyList
	Expect(w.cache.Newest(&policies)).To(Succeed())
	var out []v1alpha1.Sandbox
	for _, p := range policies.Items {
		if owner := podspec.Owner(&p); owner != nil && owner.Kind == "Sandbox" && !slices.Contains(have, owner.Name) {
			out = append(out, *objects.MakeSandbox(owner.Name).Namespace(w.ns).Obj())
		}
	}
	return out
}

// eventLog gives the events since the last call.
func (w *world) eventLog() string {
	var out []string
	for {
		select {
		case e := <-w.events.Events:
			out = append(out, e)
		default:
			return strings.Join(out, "\n")
		}
	}
}

// hideUnlabelled lets the controllers' cache hold only pods with their label, as that of
// the manager does.
func (w *world) hideUnlabelled() {
	w.cache.Holds = func(obj client.Object) bool {
		_, pod := obj.(*corev1.Pod)
		return !pod || obj.GetLabels()[podspec.LabelManagedBy] == podspec.ManagedBy
	}
}

// lag lets the controllers' cache of some kinds stay n changes behind.
func (w *world) lag(n int, kinds ...string) {
	w.cache.Behind = map[string]int{}
	for _, kind := range kinds {
		w.cache.Behind[kind] = n
	}
}
