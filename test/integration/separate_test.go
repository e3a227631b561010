package integration

import (
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/recording"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// withRecord has the world's operator find the server of the record.
func withRecord(w *world) {
	GinkgoHelper()
	w.sandboxes.Record = &recording.Finder{Reader: w.live, Namespace: w.ns, Mode: recording.Required, Clock: w.clock}
	w.create(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: recording.ConfigMapName, Namespace: w.ns},
		Data:       map[string]string{recording.KeyURL: "https://sampan-record.x.svc:8444", recording.KeyCA: "CA"},
	})
}

// handedOver brings x to where its agent is done and has left a Separate verification.
func handedOver(w *world) {
	GinkgoHelper()
	withRecord(w)
	w.create(objects.MakeTask("x").Verify("shared", "true").VerifySeparately("v", "true").Obj())
	w.settle()
	w.run("x-1")
	w.report("x", v1alpha1.ReasonVerificationPending)
}

// separateTold is the life of a task whose Separate verification fails once.
func separateTold(w *world) {
	GinkgoHelper()
	w.create(objects.MakeTask("x").Obj())
	w.settle()
	w.run("x-1")
	w.report("x", v1alpha1.ReasonVerificationPending)
	Expect(w.task("x").Status.AttemptKind).To(Equal(v1alpha1.AttemptVerification))
	w.run("x-2")
	w.report("x", v1alpha1.ReasonVerificationRejected)
	Expect(w.task("x").Status.AttemptKind).To(Equal(v1alpha1.AttemptWork))
	w.run("x-3")
	w.report("x", v1alpha1.ReasonVerificationPending)
	endsVerified(w, "x-4")
	st := w.task("x").Status
	Expect(st.FailedAttempts).To(BeZero(), "neither is a loss")
	Expect(endsOf(st)).To(Equal([]string{"x-1 VerificationPending", "x-2 VerificationRejected", "x-3 VerificationPending"}))
	Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1", "x-2", "x-3", "x-4"}))
}

// endsVerified lets a pod that verifies end well.
func endsVerified(w *world, pod string) {
	GinkgoHelper()
	w.run(pod)
	w.report("x", v1alpha1.ReasonCompleted)
	w.exit(pod, 0, "")
	Expect(w.stands("x")).To(Equal("True Completed"))
	Expect(w.names(w.podList())).To(Equal([]string{pod}))
}

// endsOf are the pods of the attempts that have ended, and why they did.
func endsOf(st v1alpha1.AgentTaskStatus) (ends []string) {
	for _, a := range st.Attempts {
		ends = append(ends, fmt.Sprint(a.PodName, " ", a.Reason))
	}
	return ends
}

var _ = Describe("A Separate verification", func() {
	// secrets are the variables of a pod's runner that come from Secrets.
	secrets := func(w *world, name string) (out []string) {
		for _, e := range w.pod(name).Spec.Containers[0].Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				out = append(out, e.ValueFrom.SecretKeyRef.Name)
			}
		}
		return out
	}
	withRepository := func(t *v1alpha1.AgentTask) {
		t.Spec.Sandbox.Template.Workspace.Git = v1alpha1.GitSource{URL: "https://git.example/x.git", CredentialsSecretRef: v1alpha1.SecretReference{Name: "git"}}
		t.Spec.Sandbox.Template.Network.Egress = v1alpha1.EgressRestricted
	}

	It("gets a pod without keys, credentials or the agent's home, and the agent its own again", func(ctx SpecContext) {
		w := emptyWorld(ctx)
		withRecord(w)
		w.create(objects.MakeRegistry(w.ns, strings.Replace(objects.RegistryDocument, "gateway.example", "gateway.models.svc", 1)))
		w.create(objects.MakeTask("x").VerifySeparately("v", "true").With(withRepository).Obj())
		w.settle()
		w.run("x-1")
		Expect(secrets(w, "x-1")).To(ConsistOf("model-keys", "git", "git"))
		Expect(w.pod("x-1").Annotations["sampan.dev/egress"]).To(ContainSubstring(`"models"`))
		w.eventLog()
		w.reportWords("x", v1alpha1.ReasonVerificationPending, "The agent is done.")
		Expect(w.eventLog()).To(ContainSubstring("Normal VerificationPending The agent is done."))
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.task("x").Status.FailedAttempts).To(BeZero())

		pod := w.pod("x-2")
		Expect(secrets(w, "x-2")).To(BeEmpty())
		Expect(slices.ContainsFunc(pod.Spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == podapi.HomeDir })).To(BeFalse())
		Expect(pod.Annotations["sampan.dev/egress"]).NotTo(ContainSubstring(`"models"`), "no model is reached")
		w.run("x-2")
		Expect(w.stands("x")).To(Equal("Unknown Running"))

		w.report("x", v1alpha1.ReasonVerificationRejected)
		Expect(w.eventLog()).To(ContainSubstring("Normal VerificationRejected"))
		Expect(secrets(w, "x-3")).To(ConsistOf("model-keys", "git", "git"))
	})

	It("keeps the credentials that its outputs need", func(ctx SpecContext) {
		w := newWorld(ctx)
		withRecord(w)
		w.create(objects.MakeTask("x").VerifySeparately("v", "true").With(withRepository).With(func(t *v1alpha1.AgentTask) {
			t.Spec.Outputs = []v1alpha1.Output{{Name: "change", Patch: &v1alpha1.PatchOutput{}}}
		}).Obj())
		w.settle()
		w.run("x-1")
		w.report("x", v1alpha1.ReasonVerificationPending)
		Expect(secrets(w, "x-2")).To(ConsistOf("git", "git"))
	})

	It("is run again where its pod was lost, which alone counts", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		w.report("x", v1alpha1.ReasonVerificationPending)
		w.run("x-2")
		w.lose("x-2")
		Expect(w.task("x").Status.AttemptKind).To(Equal(v1alpha1.AttemptVerification), "who is lost is replaced by its like")
		endsVerified(w, "x-3")
		st := w.task("x").Status
		Expect(st.FailedAttempts).To(BeEquivalentTo(1))
		Expect(st.Interruptions).To(BeZero())
		Expect(endsOf(st)).To(Equal([]string{"x-1 VerificationPending", "x-2 PodLost"}))
	})

	It("waits while the task is suspended, and is cancelled with it", func(ctx SpecContext) {
		w := newWorld(ctx)
		handedOver(w)
		w.run("x-2")
		x := w.task("x")
		w.change(x, func() { x.Spec.State = v1alpha1.TaskSuspended })
		w.settle()
		w.report("x", v1alpha1.ReasonSuspended)
		Expect(w.stands("x")).To(Equal("Unknown Suspended"))
		x = w.task("x")
		w.change(x, func() { x.Spec.State = v1alpha1.TaskActive })
		w.settle()
		Expect(w.task("x").Status.AttemptKind).To(Equal(v1alpha1.AttemptVerification))
		w.run("x-3")
		x = w.task("x")
		w.change(x, func() { x.Spec.State = v1alpha1.TaskCancelled })
		w.settle()
		w.report("x", v1alpha1.ReasonVerificationRejected)
		Expect(w.stands("x")).To(Equal("False Cancelled"))
	})

	It("has its active time counted over its pods", func(ctx SpecContext) {
		w := newWorld(ctx)
		withRecord(w)
		w.create(objects.MakeTask("x").Active(60).VerifySeparately("v", "true").Obj())
		w.settle()
		w.run("x-1")
		w.clock.Step(40e9)
		w.report("x", v1alpha1.ReasonVerificationPending)
		w.run("x-2")
		w.pass(36e9)
		Expect(w.stands("x")).To(Equal("False DeadlineExceeded"))
	})

	It("has a pooled task go on in other pods of the same Sandbox", func(ctx SpecContext) {
		w := newWorld(ctx)
		withRecord(w)
		w.full("spare", 1)
		w.create(fromPool("x").VerifySeparately("v", "true").Obj())
		w.settle()
		Expect(w.claimOf("x")).To(Equal("Hit Warm"))
		first := w.task("x").Status.SandboxName
		w.report("x", v1alpha1.ReasonVerificationPending)
		w.run(first + "-2")
		Expect(secrets(w, first+"-2")).To(BeEmpty())
		w.report("x", v1alpha1.ReasonVerificationRejected)
		w.run(first + "-3")
		Expect(secrets(w, first+"-3")).NotTo(BeEmpty())
	})

	It("lets no agent begin in a warm pod that keeps no record", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.full("spare", 1)
		w.create(fromPool("x").VerifySeparately("v", "true").Obj())
		w.settle()
		Expect(w.claimOf("x")).To(Equal("Miss NeedsOwnPod"))
		Expect(w.stands("x")).To(Equal("Unknown IsolationUnavailable"))
	})

	It("is no success of an agent's pod that says so", func(ctx SpecContext) {
		w := newWorld(ctx)
		withRecord(w)
		w.create(objects.MakeTask("x").VerifySeparately("v", "true").Obj())
		w.settle()
		w.run("x-1")
		w.applyStatus("x", map[string]any{
			"progress": map[string]any{"attempt": int64(1), "turns": 3, "model": "demo"},
			"result": map[string]any{
				"attempt": int64(1), "reason": v1alpha1.ReasonCompleted, "message": "Done.",
				"verifications": []any{map[string]any{"name": "v", "outcome": string(v1alpha1.VerificationPassed)}},
			},
		})
		w.settle()
		Expect(w.stands("x")).To(Equal("False Internal"))
		c := w.task("x").Status.Conditions
		Expect(strings.ToLower(fmt.Sprint(c))).To(ContainSubstring("without proof"))
	})
})
