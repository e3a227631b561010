package integration

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// restricted is a Sandbox that may reach what it needs and one database.
func restricted(sb *v1alpha1.Sandbox) {
	sb.Spec.Template.Network = v1alpha1.Network{Egress: v1alpha1.EgressRestricted, Allow: []networkingv1.NetworkPolicyEgressRule{{
		Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt32(5432))}},
		To:    []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "192.0.2.0/24"}}},
	}}}
}

// servedBy is a registry with a provider at each of these URLs.
func servedBy(urls ...string) string {
	providers, models := "", ""
	for i, url := range urls {
		name := string(rune('a' + i))
		providers += "  " + name + ": {type: openai, baseURL: '" + url + "'}\n"
		models += "- {id: " + name + ", provider: " + name + "}\n"
	}
	return "version: 1\ndefault: {name: a}\nproviders:\n" + providers + "models:\n" + models
}

func (w *world) policy(name string) *networkingv1.NetworkPolicy {
	GinkgoHelper()
	var p networkingv1.NetworkPolicy
	Expect(w.live.Get(w.ctx, types.NamespacedName{Namespace: w.ns, Name: name}, &p)).To(Succeed())
	return &p
}

func (w *world) policyList() []networkingv1.NetworkPolicy {
	GinkgoHelper()
	var l networkingv1.NetworkPolicyList
	Expect(w.live.List(w.ctx, &l, client.InNamespace(w.ns))).To(Succeed())
	return l.Items
}

// opens lists what a policy opens: "10.1.2.3/32:80", "a namespace:*".
func opens(p *networkingv1.NetworkPolicy) []string {
	var out []string
	for _, rule := range p.Spec.Egress {
		ports := []string{}
		for _, port := range rule.Ports {
			ports = append(ports, string(*port.Protocol)+"/"+port.Port.String())
		}
		to := []string{}
		for _, peer := range rule.To {
			if peer.IPBlock != nil {
				to = append(to, peer.IPBlock.CIDR)
			} else {
				to = append(to, peer.NamespaceSelector.MatchLabels[corev1.LabelMetadataName])
			}
		}
		out = append(out, strings.Join(to, ",")+" "+strings.Join(ports, ","))
	}
	return out
}

var _ = Describe("The network of Sandboxes", func() {
	It("lets nothing in, by one policy for the namespace, and is not the default task's cost", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj(), objects.MakeSandbox("dev").Obj())
		w.settle()
		Expect(w.made["v1.NetworkPolicy"]).To(Equal([]string{"sampan-sandboxes"}))
		Expect(w.made["v1.PersistentVolumeClaim"]).To(BeEmpty())
		selector, err := metav1.LabelSelectorAsSelector(&w.policy("sampan-sandboxes").Spec.PodSelector)
		Expect(err).NotTo(HaveOccurred())
		var pods corev1.PodList
		Expect(w.live.List(w.ctx, &pods, client.InNamespace(w.ns), client.MatchingLabelsSelector{Selector: selector})).To(Succeed())
		Expect(w.names(pods.Items)).To(ConsistOf("x-1", "dev-1"))
	})

	It("is Restricted before the pod is there", func(ctx SpecContext) {
		w := emptyWorld(ctx)
		w.create(objects.MakeRegistry(w.ns, servedBy("http://10.1.2.3:8000/v1", "http://gateway:4000/v1", "http://10.1.2.3:8000/other/v1")))
		w.create(objects.MakeSandbox("dev").With(restricted).Git("http://git.kube-system.svc/r.git").Obj())
		w.settle()
		created := slices.DeleteFunc(slices.Clone(w.writes.Log), func(line string) bool { return !strings.Contains(line, " create ") })
		pod := slices.IndexFunc(created, func(line string) bool { return strings.HasSuffix(line, "*v1.Pod dev-1") })
		policy := slices.IndexFunc(created, func(line string) bool {
			return strings.HasSuffix(line, "*v1.NetworkPolicy sampan-sandbox-dev")
		})
		Expect(policy).To(BeNumerically(">=", 0))
		Expect(pod).To(BeNumerically(">", policy), strings.Join(created, "\n"))

		p := w.policy("sampan-sandbox-dev")
		Expect(podspec.Owner(p).UID).To(Equal(w.sandbox("dev").UID))
		Expect(p.Spec.PodSelector.MatchLabels).To(Equal(map[string]string{podspec.LabelSandbox: "dev"}))
		Expect(w.pod("dev-1").Labels).To(HaveKeyWithValue(podspec.LabelSandbox, "dev"))
		var service corev1.Service
		Expect(w.live.Get(w.ctx, types.NamespacedName{Namespace: "default", Name: "kubernetes"}, &service)).To(Succeed())
		var slice discoveryv1.EndpointSlice
		Expect(w.live.Get(w.ctx, types.NamespacedName{Namespace: "default", Name: "kubernetes"}, &slice)).To(Succeed())
		Expect(opens(p)).To(Equal([]string{
			"kube-system,169.254.0.0/16 UDP/53,TCP/53",
			service.Spec.ClusterIP + "/32 TCP/443",
			fmt.Sprintf("%s/32 TCP/%d", slice.Endpoints[0].Addresses[0], *slice.Ports[0].Port),
			"10.1.2.3/32 TCP/8000",
			w.ns + " ",
			"kube-system ",
			"192.0.2.0/24 TCP/5432",
		}))
		Expect(w.eventLog()).NotTo(ContainSubstring("NotOpened"))
	})

	It("opens the resolvers that the manager was told of", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.sandboxes.Options.DNS = []netip.Prefix{netip.MustParsePrefix("198.51.100.53/32")}
		w.create(objects.MakeSandbox("dev").With(restricted).Obj())
		w.settle()
		Expect(opens(w.policy("sampan-sandbox-dev"))).To(ContainElement("kube-system,169.254.0.0/16,198.51.100.53/32 UDP/53,TCP/53"))
	})

	It("opens to a task only the models that it may use", func(ctx SpecContext) {
		w := emptyWorld(ctx)
		w.create(objects.MakeRegistry(w.ns, servedBy("http://10.1.2.3/v1", "http://10.9.9.9/v1")))
		w.create(objects.MakeTask("x").With(func(t *v1alpha1.AgentTask) {
			t.Spec.Sandbox.Template.Network.Egress = v1alpha1.EgressRestricted
		}).Obj())
		w.settle()
		Expect(opens(w.policy("sampan-sandbox-x"))).To(And(ContainElement("10.1.2.3/32 TCP/80"), Not(ContainElement(ContainSubstring("10.9.9.9")))))
	})

	It("says which host it could not open, once", func(ctx SpecContext) {
		w := emptyWorld(ctx)
		w.create(objects.MakeRegistry(w.ns, servedBy("https://api.models.example/v1", "https://models.example/v1", "http://gateway/v1", "http://litellm.kube-system/v1")))
		w.create(objects.MakeSandbox("dev").With(restricted).Git("https://git.example/r.git").Obj())
		w.settle()
		w.run("dev-1")
		log := w.eventLog()
		Expect(log).To(And(
			ContainSubstring("Warning ModelEndpointNotOpened"), ContainSubstring("api.models.example, models.example, litellm.kube-system."),
			ContainSubstring("spec.template.network.allow"), ContainSubstring("Warning GitHostNotOpened"), ContainSubstring("git.example")))
		Expect(strings.Count(log, "ModelEndpointNotOpened")).To(Equal(1))
		Expect(opens(w.policy("sampan-sandbox-dev"))).To(And(ContainElement(w.ns+" "), Not(ContainElement("kube-system ")), Not(ContainElement(ContainSubstring("example")))))
	})

	It("says so of a URL that cannot be read, and goes on", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(restricted).Git("http://git.example:port/r.git").Obj())
		w.settle()
		w.run("dev-1")
		Expect(w.ready("dev")).To(Equal("True Ready"))
		Expect(w.eventLog()).To(And(ContainSubstring("Warning GitHostNotOpened"), ContainSubstring("the repository: git.example:port.")))
	})

	It("is put back when somebody changes it", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(restricted).Obj())
		w.settle()
		w.run("dev-1")
		p := w.policy("sampan-sandbox-dev")
		want := p.Spec.DeepCopy()

		By("opening everything")
		w.change(p, func() {
			p.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{}}
			p.Spec.PodSelector = metav1.LabelSelector{MatchLabels: map[string]string{"none": "such"}}
		})
		w.settle()
		Expect(w.policy(p.Name).Spec).To(Equal(*want))

		By("taking its labels off, by which the cache knows it")
		w.change(p, func() { p.Labels = nil })
		w.settle()
		Expect(w.policy(p.Name).Labels).To(Equal(podspec.Labels(w.sandbox("dev"))))

		By("deleting it")
		w.delete(p)
		w.settle()
		Expect(w.policy(p.Name).Spec).To(Equal(*want))
		Expect(w.ready("dev")).To(Equal("True Ready"))
		Expect(w.made["v1.Pod"]).To(Equal([]string{"dev-1"}))
	})

	It("goes after the pod, however its Sandbox went", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(restricted).Obj())
		w.settle()
		w.run("dev-1")
		Expect(w.policy("sampan-sandbox-dev").OwnerReferences).To(BeEmpty(), "the garbage collector would not wait for the pod")
		w.kubelet = false
		w.delete(w.sandbox("dev"))
		w.settle()
		Expect(w.sandboxList()).To(BeEmpty())
		Expect(w.pod("dev-1").DeletionTimestamp).NotTo(BeNil())
		w.policy("sampan-sandbox-dev")

		By("the operator having been away meanwhile")
		w.restart()
		w.kubelet = true
		w.settle()
		Expect(w.podList()).To(BeEmpty())
		Expect(w.names(w.policyList())).To(Equal([]string{podspec.IngressPolicyName}))
	})

	It("goes before a Sandbox of the same name gets a pod, which may be one that is not Restricted", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(restricted).Obj())
		w.settle()
		w.run("dev-1")
		w.kubelet = false
		w.delete(w.sandbox("dev"))
		w.create(objects.MakeSandbox("dev").Obj())
		w.settle()
		Expect(w.ready("dev")).To(Equal("False PodPending"))
		w.policy("sampan-sandbox-dev")
		w.kubelet = true
		w.settle()
		Expect(w.made["v1.Pod"]).To(Equal([]string{"dev-1", "dev-1"}))
		Expect(w.names(w.policyList())).To(Equal([]string{podspec.IngressPolicyName}))
	})

	It("loses the owner that earlier versions have given it", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(restricted).Obj())
		w.settle()
		w.run("dev-1")
		p := w.policy("sampan-sandbox-dev")
		w.change(p, func() {
			p.Annotations = nil
			Expect(controllerutil.SetControllerReference(w.sandbox("dev"), p, w.live.Scheme())).To(Succeed())
		})
		w.settle()
		p = w.policy("sampan-sandbox-dev")
		Expect(p.OwnerReferences).To(BeEmpty())
		Expect(podspec.Owner(p).UID).To(Equal(w.sandbox("dev").UID))
	})

	It("has the namespace's policy put back when somebody changes it", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj())
		w.settle()
		w.run("dev-1")
		p := w.policy(podspec.IngressPolicyName)
		want := p.Spec.DeepCopy()

		By("letting everything in")
		w.change(p, func() { p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{}} })
		w.settle()
		Expect(w.policy(p.Name).Spec).To(Equal(*want))

		By("deleting it")
		w.delete(p)
		w.settle()
		Expect(w.policy(p.Name).Spec).To(Equal(*want))
		Expect(w.ready("dev")).To(Equal("True Ready"))

		By("putting another in its place")
		w.delete(p)
		foreign := podspec.IngressPolicy(w.ns)
		foreign.Labels = nil
		w.create(foreign)
		w.settle()
		Expect(w.ready("dev")).To(Equal("False NameConflict"))
		Expect(meta.FindStatusCondition(w.sandbox("dev").Status.Conditions, v1alpha1.ConditionReady).Message).To(HaveSuffix("delete it, or use another namespace"), "its name is the same for all Sandboxes")
		Expect(w.policy(p.Name).ResourceVersion).To(Equal(foreign.ResourceVersion))
	})

	DescribeTable("says what the API server refuses of what a namespace's Sandboxes share",
		func(ctx SpecContext, kind string, want string) {
			w := newWorld(ctx)
			refuse := true
			w.sandboxes.Client = interceptor.NewClient(w.sandboxes.Client.(client.WithWatch), interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
					if refuse && fmt.Sprintf("%T", obj) == "*v1."+kind {
						return apierrors.NewForbidden(schema.GroupResource{Resource: strings.ToLower(kind)}, obj.GetName(), errors.New("not here"))
					}
					return c.Create(ctx, obj, opts...)
				},
			})
			w.create(objects.MakeSandbox("dev").Obj())
			w.settle()
			Expect(w.ready("dev")).To(Equal("False " + want))
			ready := meta.FindStatusCondition(w.sandbox("dev").Status.Conditions, v1alpha1.ConditionReady)
			Expect(ready.Message).To(And(ContainSubstring(strings.ToLower(kind)), ContainSubstring("not here")))
			Expect(w.nextLook("dev")).To(BeNumerically(">", 0))
			Expect(w.made["v1.Pod"]).To(BeEmpty())
			refuse = false
			w.settle()
			w.run("dev-1")
			Expect(w.ready("dev")).To(Equal("True Ready"))
		},
		Entry(nil, "ServiceAccount", "PodRefused"),
		Entry(nil, "RoleBinding", "PodRefused"),
		Entry(nil, "NetworkPolicy", "NetworkPolicyRefused"),
	)

	It("keeps open what the pod was made with, whatever becomes of the registry", func(ctx SpecContext) {
		w := emptyWorld(ctx)
		reg := objects.MakeRegistry(w.ns, servedBy("http://10.1.2.3/v1"))
		w.create(reg, objects.MakeSandbox("dev").With(restricted).Obj())
		w.settle()
		w.run("dev-1")
		w.change(reg, func() { reg.Data["models.yaml"] = servedBy("http://10.9.9.9/v1") })
		w.delete(w.policy("sampan-sandbox-dev"))
		w.settle()
		Expect(opens(w.policy("sampan-sandbox-dev"))).To(And(ContainElement("10.1.2.3/32 TCP/80"), Not(ContainElement(ContainSubstring("10.9.9.9")))))
		w.lose("dev-1")
		Expect(opens(w.policy("sampan-sandbox-dev"))).To(And(ContainElement("10.9.9.9/32 TCP/80"), Not(ContainElement(ContainSubstring("10.1.2.3")))))
	})

	It("names a rule that the API server refuses, and makes no pod without a policy", func(ctx SpecContext) {
		w := emptyWorld(ctx)
		w.create(objects.MakeRegistry(w.ns, servedBy("https://api.models.example/v1")))
		w.create(objects.MakeSandbox("dev").With(restricted).With(func(sb *v1alpha1.Sandbox) {
			sb.Spec.Template.Network.Allow[0].To[0].IPBlock.CIDR = "everywhere"
		}).Obj())
		w.settle()
		Expect(w.ready("dev")).To(Equal("False NetworkPolicyRefused"))
		Expect(w.nextLook("dev")).To(BeNumerically(">", 0))
		Expect(w.made["v1.Pod"]).To(BeEmpty())
		Expect(w.eventLog()).NotTo(ContainSubstring("NotOpened"), "that is said of a pod, once, and not at each look")
	})

	It("makes no pod while another's policy is in the way", func(ctx SpecContext) {
		w := newWorld(ctx)
		foreign := podspec.EgressPolicy(objects.MakeSandbox("dev").Namespace(w.ns).Obj())
		w.create(foreign, objects.MakeSandbox("dev").With(restricted).Obj())
		w.settle()
		Expect(w.ready("dev")).To(Equal("False NameConflict"))
		Expect(w.made["v1.Pod"]).To(BeEmpty())
		Expect(w.policy(foreign.Name).ResourceVersion).To(Equal(foreign.ResourceVersion))
		w.delete(foreign)
		w.settle()
		Expect(w.made["v1.Pod"]).To(Equal([]string{"dev-1"}))
	})
})
