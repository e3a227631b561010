package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/faults"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var _ = Describe("A probe whose operator fails", func() {
	It("says why its pod ended while no operator ran, and leaves the log", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.probing("nightly")
		w.podStatus("nightly-probe", func(st *corev1.PodStatus) {
			st.Phase = corev1.PodFailed
			w.terminate(st, podapi.RunnerContainer, 1, "Error", "the registry is gone")
		})
		w.pass(time.Hour)
		Expect(w.complete("nightly")).To(Equal("False RunnerCrashed: Container runner ended with exit code 1: the registry is gone"))
		Expect(w.podList()).To(HaveLen(1))
	})

	DescribeTable("says why it gave up, and lets no pod run on, where a write of that fails", func(ctx SpecContext, mode faults.Mode, write int) {
		w := fleetWorld(ctx)
		w.create(objects.MakeProbe("nightly"))
		w.settle()
		w.bind("nightly-probe", "node")
		w.podStatus("nightly-probe", func(st *corev1.PodStatus) {
			setContainer(st, podapi.RunnerContainer, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}})
		})
		w.settle()
		w.writes.Mode, w.writes.FailAt = mode, len(w.writes.Log)+write
		w.pass(11 * time.Minute)
		Expect(w.writes.Hit()).To(BeTrue())
		Expect(w.complete("nightly")).To(And(HavePrefix("False ImagePullFailed: "), HaveSuffix("no such image")))
		Expect(w.podList()).To(BeEmpty())
	},
		Entry("the first is refused", faults.Refused, 1),
		Entry("the second is refused", faults.Refused, 2),
		Entry("it ends at the first", faults.Crash, 1),
		Entry("it ends at the second", faults.Crash, 2),
	)

	It("is given up where what it needs cannot be read", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.restartWith(interceptor.NewClient(w.writes.Client(w.cache.Writer(w.operator)), interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
				if _, ok := obj.(*corev1.Namespace); ok {
					return errors.New("the API server is away")
				}
				return c.Get(ctx, key, obj, opts...)
			},
		}))
		w.create(objects.MakeProbe("nightly"))
		_, err := w.probes.Reconcile(ctx, request(w.probe("nightly")))
		Expect(err).To(MatchError(ContainSubstring("the API server is away")))
		w.clock.Step(11 * time.Minute)
		_, err = w.probes.Reconcile(ctx, request(w.probe("nightly")))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.complete("nightly")).To(Equal("False PodPending: The pod could not be made for 10m0s"))
	})

	It("reaches the models of the registry as it is when its pod is made", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		operator := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns + "-operator"}}
		Expect(api.Client.Create(ctx, operator)).To(Succeed())
		Expect(api.Client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Name, Name: adminpolicy.ConfigMapName},
			Data: map[string]string{adminpolicy.Key: "version: 1\nnetwork: {open: false, allow: [{namespaces: [models, others]}]}\n"}})).To(Succeed())
		w.restartWith(w.live)
		pod := objects.MakePod("nightly-probe").Obj()
		pod.Spec.Containers = []corev1.Container{{Name: "other", Image: "other:1"}}
		w.create(pod, objects.MakeProbe("nightly", "large"))
		w.settle()
		Expect(w.complete("nightly")).To(HavePrefix("Unknown NameConflict: Pod nightly-probe"))
		registry := objects.MakeRegistry(w.ns, "")
		w.change(registry, func() {
			registry.Data[modelregistry.Key] = strings.Replace(fleet, "free.models.svc", "free.others.svc", 1)
		})
		w.delete(pod, client.GracePeriodSeconds(0))
		w.pass(10 * time.Second)
		Expect(w.pod("nightly-probe").Annotations["sampan.dev/models"]).To(ContainSubstring("free.others.svc"))
		var egress networkingv1.NetworkPolicy
		Expect(w.live.Get(ctx, types.NamespacedName{Namespace: w.ns, Name: podspec.ProbePolicyName("nightly")}, &egress)).To(Succeed())
		Expect(fmt.Sprint(egress.Spec.Egress)).To(And(ContainSubstring("others"), Not(ContainSubstring("models"))))
	})

	It("is not paid for twice where its first pod is gone before it was recorded", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.probing("nightly")
		w.delete(w.pod("nightly-probe"), client.GracePeriodSeconds(0))
		probe := w.probe("nightly")
		w.changeStatus(probe, func() {
			probe.Status.PodUID = ""
			probe.Status.Models = []v1alpha1.ProbedModel{w.result(fleet, "large", v1alpha1.ProbeFits, "Good")}
		})
		w.settle()
		Expect(w.complete("nightly")).To(Equal("False PodLost: Pod nightly-probe is gone; 1 of 2 models have a result"))
		Expect(w.made["v1.Pod"]).To(HaveLen(1))
	})
})
