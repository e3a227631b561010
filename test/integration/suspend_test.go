package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/recording"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// recordedWorld is a world whose cluster has a record.
func recordedWorld(ctx SpecContext) *world {
	GinkgoHelper()
	w := newWorld(ctx)
	w.sandboxes.Record = &recording.Finder{Reader: w.live, Namespace: w.ns, Mode: recording.Required, Clock: w.clock}
	w.create(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: recording.ConfigMapName, Namespace: w.ns},
		Data:       map[string]string{recording.KeyURL: "https://sampan-record.x.svc:8444", recording.KeyCA: "CA"},
	})
	return w
}

// says plays the runner of a named Sandbox's pod, which says how far its last checkpoint is.
func (w *world) says(name, pod string, state v1alpha1.CheckpointState, message string) {
	GinkgoHelper()
	sb, uid := w.sandbox(name), string(w.pod(pod).UID)
	w.changeStatus(sb, func() {
		sb.Status.Checkpoint = v1alpha1.SandboxCheckpoint{PodUID: uid, State: state, Message: message}
		if state == v1alpha1.CheckpointComplete {
			sb.Status.Checkpoint.Time, sb.Status.Checkpoint.Files = new(metav1.NewTime(w.clock.Now())), new(int64(3))
		}
	})
	w.settle()
}

func (w *world) setState(name string, state v1alpha1.SandboxState) {
	GinkgoHelper()
	sb := w.sandbox(name)
	w.change(sb, func() { sb.Spec.State = state })
	w.settle()
}

func (w *world) suspending(name string) bool {
	GinkgoHelper()
	return meta.IsStatusConditionTrue(w.sandbox(name).Status.Conditions, v1alpha1.ConditionSuspending)
}

func (w *world) readyMessage(name string) string {
	GinkgoHelper()
	return meta.FindStatusCondition(w.sandbox(name).Status.Conditions, v1alpha1.ConditionReady).Message
}

var _ = Describe("A named Sandbox that is suspended", func() {
	// begun is a Sandbox with a pod that runs.
	begun := func(ctx SpecContext, edit ...func(*v1alpha1.Sandbox)) *world {
		w := recordedWorld(ctx)
		sb := objects.MakeSandbox("dev")
		for _, e := range edit {
			sb.With(e)
		}
		w.create(sb.Obj())
		w.settle()
		w.run("dev-1")
		return w
	}

	It("has its pod until the record has its workspace", func(ctx SpecContext) {
		w := begun(ctx)
		Expect(w.suspending("dev")).To(BeFalse())
		w.setState("dev", v1alpha1.SandboxSuspended)
		Expect(w.ready("dev")).To(Equal("False Suspending"))
		Expect(w.suspending("dev")).To(BeTrue())
		Expect(meta.IsStatusConditionTrue(w.sandbox("dev").Status.Conditions, v1alpha1.ConditionReconciling)).To(BeTrue())
		w.says("dev", "dev-1", v1alpha1.CheckpointTaking, "")
		w.pass(59 * time.Minute)
		Expect(w.pod("dev-1").DeletionTimestamp).To(BeNil())
		w.says("dev", "dev-1", v1alpha1.CheckpointComplete, "")
		Expect(w.podList()).To(BeEmpty())
		Expect(w.ready("dev")).To(Equal("False Suspended"))
		Expect(w.suspending("dev")).To(BeFalse())
		Expect(w.readyMessage("dev")).To(ContainSubstring("its workspace is kept as of"))
		Expect(w.eventLog()).NotTo(ContainSubstring("WorkspaceNotKept"))

		By("going on in another pod, whose own checkpoint counts")
		w.setState("dev", v1alpha1.SandboxRunning)
		w.run("dev-2")
		Expect(w.ready("dev")).To(Equal("True Ready"))
		w.setState("dev", v1alpha1.SandboxSuspended)
		Expect(w.ready("dev")).To(Equal("False Suspending"), "what the first pod said is not what the second has")
		Expect(w.pod("dev-2").DeletionTimestamp).To(BeNil())
	})

	It("lets nobody in while its pod goes", func(ctx SpecContext) {
		w := begun(ctx)
		w.kubelet = false
		w.setState("dev", v1alpha1.SandboxSuspended)
		w.says("dev", "dev-1", v1alpha1.CheckpointComplete, "")
		Expect(w.pod("dev-1").DeletionTimestamp).NotTo(BeNil())
		Expect(w.suspending("dev")).To(BeTrue())
	})

	It("goes on in the same pod when that is wanted before its pod is gone", func(ctx SpecContext) {
		w := begun(ctx)
		w.setState("dev", v1alpha1.SandboxSuspended)
		w.setState("dev", v1alpha1.SandboxRunning)
		Expect(w.ready("dev")).To(Equal("True Ready"))
		Expect(w.suspending("dev")).To(BeFalse())
		Expect(w.made["v1.Pod"]).To(Equal([]string{"dev-1"}))
	})

	It("keeps its pod as long as its workspace cannot be kept, and says why", func(ctx SpecContext) {
		w := begun(ctx)
		w.setState("dev", v1alpha1.SandboxSuspended)
		w.says("dev", "dev-1", v1alpha1.CheckpointFailed, "the files of the workspace are too large")
		w.pass(24 * time.Hour)
		Expect(w.pod("dev-1").DeletionTimestamp).To(BeNil())
		Expect(w.ready("dev")).To(Equal("False Suspending"))
		Expect(w.readyMessage("dev")).To(ContainSubstring("too large"))
		Expect(meta.IsStatusConditionTrue(w.sandbox("dev").Status.Conditions, v1alpha1.ConditionStalled)).To(BeTrue())

		By("giving up what is not kept when somebody deletes the pod")
		w.delete(w.pod("dev-1"))
		w.settle()
		Expect(w.ready("dev")).To(Equal("False Suspended"))
	})

	It("loses a pod whose runner does not answer, and tells what is lost", func(ctx SpecContext) {
		w := begun(ctx)
		w.pass(time.Hour)
		w.setState("dev", v1alpha1.SandboxSuspended)
		w.pass(119 * time.Second)
		Expect(w.pod("dev-1").DeletionTimestamp).To(BeNil())
		Expect(w.eventLog()).NotTo(ContainSubstring("WorkspaceNotKept"))
		w.pass(2 * time.Second)
		Expect(w.ready("dev")).To(Equal("False Suspended"))
		Expect(w.eventLog()).To(And(ContainSubstring("Warning WorkspaceNotKept"), ContainSubstring("does not answer")))
	})

	It("loses a pod whose runner begins and never ends", func(ctx SpecContext) {
		w := begun(ctx)
		w.setState("dev", v1alpha1.SandboxSuspended)
		w.says("dev", "dev-1", v1alpha1.CheckpointTaking, "")
		w.pass(61 * time.Minute)
		Expect(w.ready("dev")).To(Equal("False Suspended"))
		Expect(w.eventLog()).To(ContainSubstring("Warning WorkspaceNotKept"))
	})

	It("loses its workspace without a record, and tells so", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj())
		w.settle()
		w.run("dev-1")
		w.setState("dev", v1alpha1.SandboxSuspended)
		Expect(w.ready("dev")).To(Equal("False Suspended"))
		Expect(w.readyMessage("dev")).To(ContainSubstring("nothing of an earlier workspace is kept"))
		Expect(w.eventLog()).To(And(ContainSubstring("Warning WorkspaceNotKept"), ContainSubstring("no record")))
	})

	It("needs nothing kept whose pod has not started, or whose workspace is on a volume", func(ctx SpecContext) {
		w := recordedWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj(), objects.MakeSandbox("vol").With(func(sb *v1alpha1.Sandbox) {
			sb.Spec.Template.Workspace.Persistence = v1alpha1.WorkspacePersistent
		}).Obj())
		w.settle()
		w.run("vol-1")
		for _, name := range []string{"dev", "vol"} {
			w.setState(name, v1alpha1.SandboxSuspended)
			Expect(w.ready(name)).To(Equal("False Suspended"))
		}
		Expect(w.podList()).To(BeEmpty())
		Expect(w.eventLog()).NotTo(ContainSubstring("WorkspaceNotKept"))
	})

	It("is kept when it is idle, and is not claimed meanwhile", func(ctx SpecContext) {
		w := begun(ctx, idleAfter(60))
		w.pass(61 * time.Second)
		Expect(w.ready("dev")).To(Equal("False Suspending"))
		w.create(objects.MakeTask("x").In("dev").Attempts(1).Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Idle"))
		Expect(w.sandbox("dev").Status.TaskRef).To(BeZero())
		w.says("dev", "dev-1", v1alpha1.CheckpointComplete, "")
		w.run("dev-2")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		Expect(w.task("x").Status.Attempts).To(BeEmpty())
	})

	It("goes on when it is used after all", func(ctx SpecContext) {
		w := begun(ctx, idleAfter(60))
		w.pass(61 * time.Second)
		Expect(w.suspending("dev")).To(BeTrue())
		sb := w.sandbox("dev")
		w.changeStatus(sb, func() { sb.Status.LastActivityTime = new(metav1.NewTime(w.clock.Now()).Rfc3339Copy()) })
		w.settle()
		Expect(w.ready("dev")).To(Equal("True Ready"))
	})

	It("ends the attempt of its task, whose work is kept, too", func(ctx SpecContext) {
		w := begun(ctx)
		w.create(objects.MakeTask("x").In("dev").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		w.setState("dev", v1alpha1.SandboxSuspended)
		w.pass(30 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown Running"), "its runner has not said how it ended")
		Expect(w.pod("dev-1").DeletionTimestamp).To(BeNil())
		w.report("x", v1alpha1.ReasonInterrupted)
		Expect(w.stands("x")).To(Equal("Unknown SandboxSuspended"))
		Expect(w.pod("dev-1").DeletionTimestamp).To(BeNil())
		w.says("dev", "dev-1", v1alpha1.CheckpointComplete, "")
		Expect(w.podList()).To(BeEmpty())
		w.setState("dev", v1alpha1.SandboxRunning)
		w.pass(10 * time.Second)
		w.run("dev-2")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})
})
