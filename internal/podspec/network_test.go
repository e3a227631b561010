package podspec_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// inWords is a value as a person would write it in a manifest.
func inWords(t *testing.T, v any) string {
	t.Helper()
	data, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestEndpointOf(t *testing.T) {
	for name, tc := range map[string]struct {
		url, rule string
	}{
		"IPv4":                       {url: "http://10.1.2.3:8000/v1", rule: "ports:\n- port: 8000\n  protocol: TCP\nto:\n- ipBlock:\n    cidr: 10.1.2.3/32\n"},
		"IPv4, port by the scheme":   {url: "https://10.1.2.3/v1", rule: "ports:\n- port: 443\n  protocol: TCP\nto:\n- ipBlock:\n    cidr: 10.1.2.3/32\n"},
		"IPv6":                       {url: "http://[fd00::7]/v1", rule: "ports:\n- port: 80\n  protocol: TCP\nto:\n- ipBlock:\n    cidr: fd00::7/128\n"},
		"IPv4 written as IPv6":       {url: "git://[::ffff:10.1.2.3]/r", rule: "ports:\n- port: 9418\n  protocol: TCP\nto:\n- ipBlock:\n    cidr: 10.1.2.3/32\n"},
		"Service of the namespace":   {url: "http://gateway:4000/v1", rule: opened("mine")},
		"a host of two labels":       {url: "http://litellm.gateway:4000/v1", rule: "null\n"},
		"Service with svc":           {url: "http://litellm.gateway.svc/v1", rule: opened("gateway")},
		"Service with its domain":    {url: "http://LiteLLM.Gateway.svc.cluster.local:4000/v1", rule: opened("gateway")},
		"Service with a dot":         {url: "http://litellm.gateway.svc.cluster.local./v1", rule: opened("gateway")},
		"public":                     {url: "https://api.models.example/v1", rule: "null\n"},
		"public, of two labels":      {url: "https://models.example/v1", rule: "null\n"},
		"the pod itself":             {url: "http://localhost:8080/v1", rule: "ports:\n- port: 8080\n  protocol: TCP\nto:\n- ipBlock:\n    cidr: 127.0.0.1/32\n"},
		"an address that is no IP":   {url: "http://010.1.2.3/v1", rule: "null\n"},
		"a scheme without a port":    {url: "ssh://10.1.2.3/r", rule: "null\n"},
		"a port that is none":        {url: "http://10.1.2.3:99999/v1", rule: "ports:\n- port: 80\n  protocol: TCP\nto:\n- ipBlock:\n    cidr: 10.1.2.3/32\n"},
		"an address with its zone":   {url: "http://[fe80::1%25eth0]:80/v1", rule: "ports:\n- port: 80\n  protocol: TCP\nto:\n- ipBlock:\n    cidr: fe80::1/128\n"},
		"another cluster's domain":   {url: "http://litellm.gateway.svc.example.com/v1", rule: "null\n"},
		"a part of the domain":       {url: "http://litellm.gateway.svc.cluster/v1", rule: "null\n"},
		"more than the domain":       {url: "http://litellm.gateway.svc.cluster.local.example.com/v1", rule: "null\n"},
		"no host":                    {url: "http://:8080/v1", rule: "null\n"},
		"no URL":                     {url: "http://[::1", rule: "null\n"},
		"a deeper name of a Service": {url: "http://pod-0.litellm.gateway.svc/v1", rule: "null\n"},
	} {
		t.Run(name, func(t *testing.T) {
			e := podspec.EndpointOf(tc.url, "mine")
			if diff := cmp.Diff(tc.rule, inWords(t, e.Rule())); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if e.Host == "" {
				t.Error("the host has no name")
			}
		})
	}
	if e := podspec.EndpointOf("http://me:secret@git.example:port/r", "mine"); e.Host != "git.example:port" {
		t.Errorf("the host of a URL that cannot be read is said to be %q", e.Host)
	}
}

func opened(namespace string) string {
	return "to:\n- namespaceSelector:\n    matchLabels:\n      kubernetes.io/metadata.name: " + namespace + "\n"
}

// A rule without peers or without ports would open more than the API server.
func TestAPIServer(t *testing.T) {
	service := &corev1.Service{Spec: corev1.ServiceSpec{
		ClusterIPs: []string{"10.96.0.1", "fd00::1"},
		Ports:      []corev1.ServicePort{{Name: "https", Port: 443, Protocol: corev1.ProtocolTCP}},
	}}
	slice := &discoveryv1.EndpointSlice{
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}}, {Addresses: []string{"192.0.2.2", "not an address"}}},
		Ports:     []discoveryv1.EndpointPort{{Port: new(int32(6443)), Protocol: new(corev1.ProtocolTCP)}},
	}
	want := `- ports:
  - port: 443
    protocol: TCP
  to:
  - ipBlock:
      cidr: 10.96.0.1/32
  - ipBlock:
      cidr: fd00::1/128
- ports:
  - port: 6443
    protocol: TCP
  to:
  - ipBlock:
      cidr: 192.0.2.1/32
  - ipBlock:
      cidr: 192.0.2.2/32
`
	if diff := cmp.Diff(want, inWords(t, podspec.APIServer(service, slice))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	slice.Endpoints, service.Spec.Ports = nil, nil
	if rules := podspec.APIServer(service, slice); len(rules) > 0 {
		t.Errorf("what has no address, or no port, opens %s", inWords(t, rules))
	}
}

func TestPolicies(t *testing.T) {
	sb := objects.MakeSandbox("box").With(func(sb *v1alpha1.Sandbox) {
		sb.Spec.Template.Network = v1alpha1.Network{Egress: v1alpha1.EgressRestricted, Allow: []networkingv1.NetworkPolicyEgressRule{{
			Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt32(5432))}},
			To:    []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "192.0.2.0/24"}}},
		}}}
	}).Obj()
	given := sb.DeepCopy()
	got := podspec.EgressPolicy(sb, podspec.DNS(netip.MustParsePrefix("198.51.100.53/32")), *podspec.EndpointOf("http://gateway/v1", "default").Rule())
	want := `egress:
- ports:
  - port: 53
    protocol: UDP
  - port: 53
    protocol: TCP
  to:
  - namespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: kube-system
  - ipBlock:
      cidr: 169.254.0.0/16
  - ipBlock:
      cidr: 198.51.100.53/32
- to:
  - namespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: default
- ports:
  - port: 5432
    protocol: TCP
  to:
  - ipBlock:
      cidr: 192.0.2.0/24
podSelector:
  matchLabels:
    sampan.dev/sandbox: box
policyTypes:
- Egress
`
	if diff := cmp.Diff(want, inWords(t, got.Spec)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(podspec.Labels(sb), got.Labels); diff != "" {
		t.Errorf("labels, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(given, sb); diff != "" {
		t.Errorf("the Sandbox was changed:\n%s", diff)
	}
	ingress := podspec.IngressPolicy("default")
	want = `podSelector:
  matchExpressions:
  - key: sampan.dev/sandbox
    operator: Exists
policyTypes:
- Ingress
`
	if diff := cmp.Diff(want, inWords(t, ingress.Spec)); diff != "" {
		t.Errorf("ingress, -want +got:\n%s", diff)
	}
}

// No Sandbox may be called so that its policy is the namespace's.
func TestNamesOfPoliciesDoNotMeet(t *testing.T) {
	for _, name := range []string{"es", "s", "sampan-sandboxes", "sandboxes", "x"} {
		if podspec.EgressPolicy(objects.MakeSandbox(name).Obj()).Name == podspec.IngressPolicyName {
			t.Errorf("the policy of Sandbox %s has the name of the namespace's", name)
		}
	}
}

func TestEgressGoesWithThePod(t *testing.T) {
	rules := []networkingv1.NetworkPolicyEgressRule{*podspec.EndpointOf("http://10.1.2.3:8000/v1", "default").Rule()}
	sb := objects.MakeSandbox("box").With(func(sb *v1alpha1.Sandbox) {
		sb.Spec.Template.Metadata.Annotations = map[string]string{"sampan.dev/egress": `[{"to":[]}]`}
	}).Obj()
	got, err := podspec.Egress(podspec.Pod(podspec.Input{Sandbox: sb, PodName: "box", Egress: rules}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rules, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got, err := podspec.Egress(podspec.Pod(podspec.Input{Sandbox: sb, PodName: "box"})); err != nil || got != nil {
		t.Errorf("a user's annotation opens %v (%v)", got, err)
	}
	torn := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"sampan.dev/egress": "["}}}
	if got, err := podspec.Egress(torn); err == nil || got != nil {
		t.Errorf("an annotation that cannot be read opens %v (%v)", got, err)
	}
}
