package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// persistent is a Sandbox whose workspace outlives its pods.
func persistent(sb *v1alpha1.Sandbox) {
	sb.Spec.Template.Workspace.Persistence = v1alpha1.WorkspacePersistent
	sb.Spec.Template.Workspace.StorageClassName = "fast"
	sb.Spec.Template.Workspace.SizeLimit = quantity("1Gi")
}

func (w *world) claim(name string) *corev1.PersistentVolumeClaim {
	GinkgoHelper()
	var c corev1.PersistentVolumeClaim
	Expect(w.live.Get(w.ctx, types.NamespacedName{Namespace: w.ns, Name: name}, &c)).To(Succeed())
	return &c
}

// claimName is the claim that a pod mounts.
func claimName(pod *corev1.Pod) string {
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			return v.PersistentVolumeClaim.ClaimName
		}
	}
	return ""
}

var _ = Describe("A persistent workspace", func() {
	It("is a claim of the Sandbox, and every pod's", func(ctx SpecContext) {
		w := newWorld(ctx)
		sb := objects.MakeSandbox("dev").With(persistent).Obj()
		w.create(sb)
		w.settle()
		c := w.claim("dev")
		Expect(metav1.IsControlledBy(c, w.sandbox("dev"))).To(BeTrue())
		Expect(*c.Spec.StorageClassName).To(Equal("fast"))
		Expect(c.Spec.Resources.Requests).To(HaveKeyWithValue(corev1.ResourceStorage, resource.MustParse("1Gi")))
		Expect(claimName(w.pod("dev-1"))).To(Equal("dev"))
		w.run("dev-1")

		By("suspending and resuming")
		w.change(sb, func() { sb.Spec.State = v1alpha1.SandboxSuspended })
		w.settle()
		Expect(w.podList()).To(BeEmpty())
		w.change(sb, func() { sb.Spec.State = v1alpha1.SandboxRunning })
		w.settle()
		Expect(claimName(w.pod("dev-2"))).To(Equal("dev"))
		w.run("dev-2")

		By("losing the pod")
		w.lose("dev-2")
		Expect(claimName(w.pod("dev-3"))).To(Equal("dev"))
		Expect(w.claim("dev").UID).To(Equal(c.UID))
		Expect(w.made["v1.PersistentVolumeClaim"]).To(Equal([]string{"dev"}))
	})

	It("gets its claim back, new and empty, when somebody deletes it", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(persistent).Obj())
		w.settle()
		c := w.claim("dev")
		w.change(c, func() { c.Finalizers = nil }) // as the claim's own controller does for an unused one
		w.delete(c)
		w.settle()
		Expect(w.claim("dev").UID).NotTo(Equal(c.UID))
	})

	It("does not take a claim that is another's", func(ctx SpecContext) {
		w := newWorld(ctx)
		theirs := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "dev", Namespace: w.ns}}
		theirs.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
		theirs.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: *quantity("1Gi")}
		w.create(theirs, objects.MakeSandbox("dev").With(persistent).Obj())
		w.settle()
		Expect(w.ready("dev")).To(Equal("False NameConflict"))
		Expect(meta.FindStatusCondition(w.sandbox("dev").Status.Conditions, v1alpha1.ConditionReady).Message).To(HaveSuffix("delete it, or use another name"))
		Expect(w.made["v1.Pod"]).To(BeEmpty())
	})

	It("says what keeps it from its volume", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(persistent).Obj(), objects.MakeTask("x").In("dev").Obj())
		w.settle()
		w.podStatus("dev-1", func(st *corev1.PodStatus) {
			st.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
				Message: "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."}}
		})
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Unschedulable"))
		again, err := w.sandboxes.Reconcile(w.ctx, request(w.sandbox("dev")))
		Expect(err).NotTo(HaveOccurred())
		Expect(again.RequeueAfter).To(And(BeNumerically(">", 0), BeNumerically("<=", 10*time.Second)), "no watch tells of an event")

		c := w.claim("dev")
		said := func(name, kind, reason, message string) {
			w.create(&corev1.Event{
				ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.ns}, Type: kind, Reason: reason, Message: message,
				InvolvedObject: corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: w.ns, Name: c.Name, UID: c.UID},
			})
			w.settle()
		}
		gets := func(cause string) {
			GinkgoHelper()
			Expect(w.stands("x")).To(Equal("Unknown VolumeUnbound"))
			ready := meta.FindStatusCondition(w.sandbox("dev").Status.Conditions, v1alpha1.ConditionReady)
			Expect(ready.Message).To(Equal("PersistentVolumeClaim dev gets no volume: " + cause))
		}
		said("dev.1", corev1.EventTypeNormal, "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
		Expect(w.stands("x")).To(Equal("Unknown Unschedulable"))
		said("dev.2", corev1.EventTypeNormal, "FailedBinding", "no persistent volumes available for this claim and no storage class is set")
		gets("no persistent volumes available for this claim and no storage class is set")
		said("dev.3", corev1.EventTypeWarning, "ProvisioningFailed", `storageclass.storage.k8s.io "fast" not found`)
		gets(`storageclass.storage.k8s.io "fast" not found`)

		w.run("dev-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})
})
