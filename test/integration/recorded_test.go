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
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var _ = Describe("A cluster with a record", func() {
	// recorded is a world in which tasks have to be recorded.
	recorded := func(ctx SpecContext) *world {
		w := newWorld(ctx)
		w.sandboxes.Record = &recording.Finder{Reader: w.live, Namespace: w.ns, Mode: recording.Required, Clock: w.clock}
		return w
	}
	// serve says where the server is, as that does.
	serve := func(w *world) {
		w.create(&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: recording.ConfigMapName, Namespace: w.ns},
			Data:       map[string]string{recording.KeyURL: "https://sampan-record.x.svc:8444", recording.KeyCA: "CA"},
		})
	}

	It("is waited for, and starts by itself", func(ctx SpecContext) {
		w := recorded(ctx)
		started(w)
		Expect(w.podList()).To(BeEmpty())
		serve(w)
		w.pass(time.Minute)
		Expect(w.podList()).To(HaveLen(1))
	})

	It("is told to the runner, and its token is for nobody else", func(ctx SpecContext) {
		w := recorded(ctx)
		serve(w)
		started(w)
		pod := w.podList()[0]
		runner, sandbox := pod.Spec.Containers[0], pod.Spec.Containers[1]
		Expect(runner.Env).To(ContainElement(corev1.EnvVar{Name: podapi.EnvRecordURL, Value: "https://sampan-record.x.svc:8444"}))
		Expect(pod.Annotations).To(HaveKeyWithValue("sampan.dev/record-ca", "CA"))
		var tokens []string
		for _, v := range pod.Spec.Volumes {
			if v.Name != "input" {
				continue
			}
			for _, source := range v.Projected.Sources {
				if token := source.ServiceAccountToken; token != nil {
					tokens = append(tokens, token.Audience+" "+token.Path)
				}
			}
		}
		Expect(tokens).To(ConsistOf(" "+podapi.TokenFile, podapi.RecordAudience+" "+podapi.RecordTokenFile))
		for _, m := range sandbox.VolumeMounts {
			Expect(m.Name).NotTo(Equal("input"))
		}
	})

	It("is open to a Restricted Sandbox", func(ctx SpecContext) {
		w := recorded(ctx)
		serve(w)
		w.create(objects.MakeTask("x").With(func(t *v1alpha1.AgentTask) {
			t.Spec.Sandbox.Template.Network.Egress = v1alpha1.EgressRestricted
		}).Obj())
		w.settle()
		rules, err := podspec.Egress(&w.podList()[0])
		Expect(err).NotTo(HaveOccurred())
		var namespaces []string
		for _, rule := range rules {
			for _, to := range rule.To {
				if to.NamespaceSelector != nil {
					namespaces = append(namespaces, to.NamespaceSelector.MatchLabels[corev1.LabelMetadataName])
				}
			}
		}
		Expect(namespaces).To(ContainElement("x"))
	})

	It("is said of a task, whose transcript stays known to the next attempt", func(ctx SpecContext) {
		w := recorded(ctx)
		serve(w)
		running(w)
		task := w.task("x")
		w.changeStatus(task, func() {
			task.Status.Transcript = v1alpha1.TranscriptStatus{URI: podapi.TranscriptPath(w.ns, "x"), Events: new(int64(3))}
		})
		w.settle()
		Expect(meta.IsStatusConditionTrue(w.task("x").Status.Conditions, v1alpha1.ConditionRecorded)).To(BeTrue())
		w.lose("x-1")
		w.settle()
		task = w.task("x")
		Expect(task.Status.Attempt).To(BeEquivalentTo(2))
		Expect(task.Status.Transcript.Events).To(HaveValue(BeEquivalentTo(3)))
	})
})
