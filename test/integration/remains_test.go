package integration

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// strip takes an object's finalizers away, as somebody in a hurry does.
func (w *world) strip(obj client.Object) {
	GinkgoHelper()
	w.change(obj, func() { obj.SetFinalizers(nil) })
}

// waitsFor expects that an object works towards Ready, says what it waits for, and warns of nothing.
func (w *world) waitsFor(conditions []metav1.Condition, message string) {
	GinkgoHelper()
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionReconciling} {
		c := meta.FindStatusCondition(conditions, kind)
		Expect(c).NotTo(BeNil())
		Expect(c.Message).To(Equal(message))
	}
	Expect(meta.FindStatusCondition(conditions, v1alpha1.ConditionStalled)).To(BeNil())
	Expect(w.eventLog()).NotTo(ContainSubstring("Warning"))
}

var _ = Describe("What is left of an earlier one of the name", func() {
	soon := And(BeNumerically(">", 0), BeNumerically("<=", 5*time.Second))

	DescribeTable("keeps a Sandbox, and the task in it, waiting until it is collected",
		func(ctx SpecContext, kind func(*v1alpha1.Sandbox), left func(w *world) client.Object, what string) {
			w := newWorld(ctx)
			w.create(objects.MakeSandbox("dev").With(kind).Obj())
			w.settle()
			w.run("dev-1")
			obj := left(w)
			_, isPod := obj.(*corev1.Pod)
			w.garbage = !isPod
			w.delete(w.sandbox("dev"))
			w.settle()
			Expect(w.sandboxList()).To(BeEmpty())
			made := len(w.made["v1.Pod"])
			w.eventLog()

			w.create(objects.MakeSandbox("dev").With(kind).Obj(), objects.MakeTask("x").In("dev").Obj())
			w.settle()
			Expect(w.ready("dev")).To(Equal("False PodPending"))
			Expect(w.stands("x")).To(Equal("Unknown Starting"))
			message := "Waiting for " + what + " of an earlier Sandbox dev to be removed"
			w.waitsFor(w.sandbox("dev").Status.Conditions, message)
			w.waitsFor(w.task("x").Status.Conditions, message)
			Expect(w.nextLook("dev")).To(soon)
			now := left(w)
			Expect(now.GetResourceVersion()).To(Equal(obj.GetResourceVersion()), "it is not ours to touch")
			Expect(w.made["v1.Pod"]).To(HaveLen(made))

			w.strip(now)
			w.delete(now, client.GracePeriodSeconds(0))
			w.settle()
			w.run("dev-1")
			Expect(w.ready("dev")).To(Equal("True Ready"))
			Expect(w.stands("x")).To(Equal("Unknown Running"))
			Expect(w.made["v1.Pod"]).To(HaveLen(made + 1))
		},
		Entry("a claim", persistent, func(w *world) client.Object { return w.claim("dev") }, "PersistentVolumeClaim dev"),
		Entry("a pod", func(*v1alpha1.Sandbox) {}, func(w *world) client.Object { return w.pod("dev-1") }, "Pod dev-1"),
	)

	DescribeTable("keeps a task waiting until it is collected", func(ctx SpecContext, what string, leave, collect func(w *world)) {
		w := newWorld(ctx)
		task := objects.MakeTask("x").With(func(t *v1alpha1.AgentTask) {
			t.Spec.Sandbox.Template = objects.MakeSandbox("").With(restricted).Obj().Spec.Template
		})
		w.create(task.Obj())
		w.settle()
		w.run("x-1")
		leave(w)
		w.delete(w.task("x"))
		w.settle()
		Expect(w.taskList()).To(BeEmpty())
		w.eventLog()

		w.create(task.Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		w.waitsFor(w.task("x").Status.Conditions, "Waiting for "+what+" to be removed")
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1"}))

		collect(w)
		w.settle()
		w.run("x-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1", "x-1"}))
	},
		Entry("a Sandbox", "Sandbox x of an earlier AgentTask x",
			func(w *world) { w.garbage = false },
			func(w *world) {
				again, err := w.tasks.Reconcile(w.ctx, request(w.task("x")))
				Expect(err).NotTo(HaveOccurred())
				Expect(again.RequeueAfter).To(soon)
				w.garbage = true
			}),
	)

	It("is what is being deleted, too, whoever's it was", func(ctx SpecContext) {
		w := newWorld(ctx)
		held := metav1.ObjectMeta{Namespace: "default", Finalizers: []string{"example.com/held"}}
		pod := &corev1.Pod{ObjectMeta: held, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c"}}}}
		account := &corev1.ServiceAccount{ObjectMeta: held}
		sandbox := &v1alpha1.Sandbox{ObjectMeta: held, Spec: v1alpha1.SandboxSpec{State: v1alpha1.SandboxSuspended}}
		pod.Name, account.Name, sandbox.Name = "dev-1", "sampan-runner", "x"
		w.kubelet = false
		for _, obj := range []client.Object{pod, account, sandbox} {
			w.create(obj)
			w.delete(obj)
		}
		w.create(objects.MakeSandbox("dev").Obj(), objects.MakeTask("x").Obj())
		w.settle()
		w.waitsFor(w.sandbox("dev").Status.Conditions, "Waiting for Pod dev-1 to be removed: it is being deleted")
		w.waitsFor(w.task("x").Status.Conditions, "Waiting for Sandbox x to be removed: it is being deleted")
		w.strip(pod)
		w.settle()
		w.waitsFor(w.sandbox("dev").Status.Conditions, "Waiting for ServiceAccount sampan-runner to be removed: it is being deleted")
		w.strip(account)
		w.strip(w.sandbox("x"))
		w.settle()
		Expect(w.made["v1.Pod"]).To(ConsistOf("dev-1", "x-1"))
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
	})

	It("is not what belongs to a Sandbox that is there", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("other").Obj(), objects.MakeSandbox("dev").Obj())
		w.settle()
		w.run("dev-1")
		w.forge("other", "dev-2")
		w.garbage = false
		w.lose("dev-1")
		Expect(w.ready("dev")).To(Equal("False NameConflict"))
		Expect(meta.IsStatusConditionTrue(w.sandbox("dev").Status.Conditions, v1alpha1.ConditionStalled)).To(BeTrue())

		By("that Sandbox going without its pod")
		w.delete(w.sandbox("other"))
		w.settle()
		w.eventLog()
		w.waitsFor(w.sandbox("dev").Status.Conditions, "Waiting for Pod dev-2 of an earlier Sandbox other to be removed")
		w.lose("dev-2")
		Expect(metav1.IsControlledBy(w.pod("dev-2"), w.sandbox("dev"))).To(BeTrue())
	})

	DescribeTable("may go just as it is met, and is looked for again", func(ctx SpecContext, obj func() client.Object, look func(w *world) (ctrl.Result, error)) {
		w := newWorld(ctx)
		foreign := obj()
		w.create(foreign, objects.MakeTask("x").Obj(), objects.MakeSandbox("dev").Obj())
		w.settle()
		c := interceptor.NewClient(w.tasks.Client.(client.WithWatch), interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
				if _, ok := obj.(*corev1.Pod); ok { // without our label it is not in the cache
					return apierrors.NewNotFound(corev1.Resource("pods"), k.Name)
				}
				return c.Get(ctx, k, obj, opts...)
			},
			Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
				err := c.Create(ctx, obj, opts...)
				if apierrors.IsAlreadyExists(err) && key(obj) == key(foreign) {
					w.delete(foreign, client.GracePeriodSeconds(0))
				}
				return err
			},
		})
		w.tasks.Client, w.sandboxes.Client = c, c
		again, err := look(w)
		Expect(err).NotTo(HaveOccurred())
		Expect(apierrors.IsNotFound(w.live.Get(w.ctx, key(foreign), foreign))).To(BeTrue())
		Expect(again.RequeueAfter).To(soon)
	},
		Entry("a Sandbox", func() client.Object {
			return objects.MakeSandbox("x").With(func(sb *v1alpha1.Sandbox) { sb.Spec.State = v1alpha1.SandboxSuspended }).Obj()
		}, func(w *world) (ctrl.Result, error) {
			return w.tasks.Reconcile(w.ctx, request(w.task("x")))
		}),
		Entry("a Pod", func() client.Object {
			return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "dev-1", Namespace: "default"},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c"}}}}
		}, func(w *world) (ctrl.Result, error) { return w.sandboxes.Reconcile(w.ctx, request(w.sandbox("dev"))) }),
	)
})
