package integration

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// A chart whose values are empty writes empty maps and lists. They are what was not
// written at all: the pod is the one that a task without them has.
var _ = Describe("An empty map or list", func() {
	write := func(w *world, kind, spec string) {
		GinkgoHelper()
		u := &unstructured.Unstructured{}
		Expect(yaml.Unmarshal([]byte("spec: "+spec), &u.Object)).To(Succeed())
		u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
		u.SetName("x")
		u.SetNamespace(w.ns)
		Expect(w.live.Create(w.ctx, u, client.FieldValidation("Strict"))).To(Succeed())
		w.settle()
	}
	// onlyPod is the one that was made, without what tells it from that of another namespace.
	onlyPod := func(w *world) *corev1.Pod {
		GinkgoHelper()
		Expect(w.podList()).To(HaveLen(1))
		pod := w.podList()[0].DeepCopy()
		for i := range pod.Spec.Containers {
			c := &pod.Spec.Containers[i]
			if c.Name == podapi.RunnerContainer {
				c.Env = nil
			}
		}
		return pod
	}

	template := []string{
		"{}", "{resources: {}}", "{resources: {limits: {}}}", "{resources: {limits: {}, requests: {}, claims: []}}", "{env: []}",
		"{workspace: {}}", "{proxy: {}}", "{proxy: {noProxy: []}}", "{runner: {}}", "{volumes: []}", "{runner: {resources: {}}}", "{imagePullSecrets: []}", "{network: {}}", "{network: {allow: []}}",
		"{scheduling: {}}", "{scheduling: {nodeSelector: {}}}", "{scheduling: {tolerations: []}}",
		"{metadata: {}}", "{metadata: {labels: {}}}", "{metadata: {annotations: {}}}", "{metadata: {labels: {}, annotations: {}}}",
		"{scheduling: {affinity: {}}}", "{scheduling: {affinity: {nodeAffinity: {}, podAffinity: {}, podAntiAffinity: {}}}}",
		"{scheduling: {affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: []}}}}",
		"{resources: {}, env: [], workspace: {}, network: {allow: []}, scheduling: {nodeSelector: {}, tolerations: [], affinity: {}}, metadata: {labels: {}, annotations: {}}}",
	}
	task := []string{
		"{prompt: x, model: {}}", "{prompt: x, sandbox: {}}", "{prompt: x, limits: {}}", "{prompt: x, verify: []}", "{prompt: x, retry: {}}", "{prompt: x, promptFrom: {}}",
	}
	for _, t := range template {
		task = append(task, "{prompt: x, sandbox: {template: "+t+"}}")
	}
	var entries []TableEntry
	for _, spec := range task {
		entries = append(entries, Entry(nil, "AgentTask", spec, "{prompt: x}"))
	}
	for _, t := range template {
		entries = append(entries, Entry(nil, "Sandbox", "{template: "+t+"}", "{}"))
	}

	DescribeTable("means nothing", func(ctx SpecContext, kind, spec, without string) {
		w, plain := newWorld(ctx), newWorld(ctx)
		write(w, kind, spec)
		write(plain, kind, without)
		got, want := onlyPod(w), onlyPod(plain)
		if strings.Contains(spec, "affinity") { // it stays, and says nothing
			Expect(got.Spec.Affinity).NotTo(BeNil())
			got.Spec.Affinity = nil
		}
		Expect(podspec.Unlike(want, got)).To(BeEmpty())
	}, func(kind, spec, _ string) string { return kind + " " + spec }, entries)
})
