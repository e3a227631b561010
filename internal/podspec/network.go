package podspec

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// IngressPolicyName names the NetworkPolicy of a namespace's Sandboxes, and
// egressPolicyPrefix begins the name of one Sandbox's own: no Sandbox has a name
// that makes the two meet.
const (
	IngressPolicyName  = "sampan-sandboxes"
	egressPolicyPrefix = "sampan-sandbox-"
)

// annotationEgress holds the rules for the models and the repository of a pod
// whose egress is Restricted. As the registry's snapshot they go with the pod.
const annotationEgress = "sampan.dev/egress"

// annotationSandboxUID says for which Sandbox a policy was made. It has no owner: the
// garbage collector would delete it together with the pod that it keeps in, and a pod
// takes a while to end.
const annotationSandboxUID = "sampan.dev/sandbox-uid"

// EgressPolicyName is the name of the policy of a Sandbox.
func EgressPolicyName(sandbox string) string { return egressPolicyPrefix + sandbox }

// Owner is whom an object belongs to: its controller or, of a policy, the Sandbox that
// it was made for; nil if nobody.
func Owner(obj metav1.Object) *metav1.OwnerReference {
	if owner := metav1.GetControllerOf(obj); owner != nil {
		return owner
	}
	name, isEgress := strings.CutPrefix(obj.GetName(), egressPolicyPrefix)
	uid := obj.GetAnnotations()[annotationSandboxUID]
	if _, isPolicy := obj.(*networkingv1.NetworkPolicy); !isPolicy || !isEgress || uid == "" {
		return nil
	}
	return &metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Sandbox", Name: name, UID: types.UID(uid)}
}

// Restricted reports whether a Sandbox's pod may reach only what is opened for it.
func Restricted(sb *v1alpha1.Sandbox) bool {
	return sb.Spec.Template.Network.Egress == v1alpha1.EgressRestricted
}

// IngressPolicy lets nothing reach the Sandboxes of a namespace.
func IngressPolicy(namespace string) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: shared(namespace, IngressPolicyName),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: LabelSandbox, Operator: metav1.LabelSelectorOpExists},
			}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		},
	}
}

// nodeLocal is where a node's own cache of DNS listens.
var nodeLocal = netip.MustParsePrefix("169.254.0.0/16")

// DNS opens the cluster's resolvers: those in kube-system, a node's cache of
// them, and those that are elsewhere.
func DNS(elsewhere ...netip.Prefix) networkingv1.NetworkPolicyEgressRule {
	to := []networkingv1.NetworkPolicyPeer{namespacePeer(metav1.NamespaceSystem)}
	for _, cidr := range append([]netip.Prefix{nodeLocal}, elsewhere...) {
		to = append(to, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: cidr.String()}})
	}
	return networkingv1.NetworkPolicyEgressRule{
		Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolUDP, 53), port(corev1.ProtocolTCP, 53)}, To: to,
	}
}

// EgressPolicy is what a Restricted Sandbox's pod may reach: those rules, and
// what the template allows.
func EgressPolicy(sb *v1alpha1.Sandbox, rules ...networkingv1.NetworkPolicyEgressRule) *networkingv1.NetworkPolicy {
	egress := slices.Clone(rules)
	for _, rule := range sb.Spec.Template.Network.Allow {
		egress = append(egress, defaulted(rule))
	}
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{
			Name: EgressPolicyName(sb.Name), Namespace: sb.Namespace, Labels: Labels(sb),
			Annotations: map[string]string{annotationSandboxUID: string(sb.UID)},
		},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{LabelSandbox: sb.Name}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
			Egress:      egress,
		},
	}
}

// defaulted fills in what the API server would, so that a policy can be compared
// with what is stored of it.
func defaulted(rule networkingv1.NetworkPolicyEgressRule) networkingv1.NetworkPolicyEgressRule {
	rule = *rule.DeepCopy()
	for i := range rule.Ports {
		if rule.Ports[i].Protocol == nil {
			rule.Ports[i].Protocol = new(corev1.ProtocolTCP)
		}
	}
	return rule
}

// APIServer opens the API server: some networks look at the Service's address,
// and some at what is behind it.
func APIServer(service *corev1.Service, slice *discoveryv1.EndpointSlice) []networkingv1.NetworkPolicyEgressRule {
	front := networkingv1.NetworkPolicyEgressRule{}
	for _, ip := range service.Spec.ClusterIPs {
		front.To = appendAddress(front.To, ip)
	}
	for _, p := range service.Spec.Ports {
		front.Ports = append(front.Ports, port(p.Protocol, p.Port))
	}
	back := networkingv1.NetworkPolicyEgressRule{}
	for _, e := range slice.Endpoints {
		for _, ip := range e.Addresses {
			back.To = appendAddress(back.To, ip)
		}
	}
	for _, p := range slice.Ports {
		if p.Port != nil && p.Protocol != nil {
			back.Ports = append(back.Ports, port(*p.Protocol, *p.Port))
		}
	}
	var rules []networkingv1.NetworkPolicyEgressRule
	for _, rule := range []networkingv1.NetworkPolicyEgressRule{front, back} {
		if len(rule.To) > 0 && len(rule.Ports) > 0 { // a rule without them would open everything
			rules = append(rules, rule)
		}
	}
	return rules
}

func appendAddress(peers []networkingv1.NetworkPolicyPeer, ip string) []networkingv1.NetworkPolicyPeer {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return peers
	}
	return append(peers, address(addr))
}

func namespacePeer(name string) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: name}},
	}
}

func address(addr netip.Addr) networkingv1.NetworkPolicyPeer {
	addr = addr.Unmap().WithZone("")
	return networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: netip.PrefixFrom(addr, addr.BitLen()).String()}}
}

func port(protocol corev1.Protocol, number int32) networkingv1.NetworkPolicyPort {
	return networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: new(intstr.FromInt32(number))}
}

// Endpoint is where a URL leads, as far as a NetworkPolicy can say it.
type Endpoint struct {
	// Host is as the URL has it.
	Host string
	// Namespace is set where Host names a Service of it.
	Namespace string

	addr netip.Addr
	port int32
}

// defaultPorts are those of the schemes that models and repositories may have.
var defaultPorts = map[string]int32{"http": 80, "https": 443, "git": 9418}

// clusterDomain ends the long names of Services; a cluster may have another.
const clusterDomain = "cluster.local"

// EndpointOf reads a URL that a pod of a namespace uses. One without a host, or
// that cannot be read, leads nowhere; its Host is what looks like one. A name of
// two labels is no Service's: it may as well be a public one.
func EndpointOf(rawURL, namespace string) Endpoint {
	u, err := url.Parse(rawURL)
	if err != nil || u.Hostname() == "" {
		return Endpoint{Host: authority(rawURL)}
	}
	e := Endpoint{Host: u.Hostname(), port: defaultPorts[u.Scheme]}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		e.port = int32(n)
	}
	host := strings.ToLower(strings.TrimSuffix(e.Host, "."))
	if host == "localhost" {
		host = "127.0.0.1" // no Service of that name is ever asked for
	}
	if e.addr, err = netip.ParseAddr(host); err == nil {
		return e
	}
	switch labels := strings.Split(host, "."); {
	case len(labels) == 1:
		e.Namespace = namespace
	case len(labels) == 3 && labels[2] == "svc", len(labels) > 3 && strings.Join(labels[2:], ".") == "svc."+clusterDomain:
		e.Namespace = labels[1]
	}
	return e
}

// authority is what stands between the scheme and the path, without credentials.
func authority(rawURL string) string {
	_, rest, found := strings.Cut(rawURL, "://")
	if !found {
		rest = rawURL
	}
	rest, _, _ = strings.Cut(rest, "/")
	return rest[strings.LastIndex(rest, "@")+1:]
}

// Rule opens the endpoint; nil if no policy can name it. A Service is opened
// with its namespace and all ports: its own port need not be that of its pods.
func (e Endpoint) Rule() *networkingv1.NetworkPolicyEgressRule {
	switch {
	case e.addr.IsValid() && e.port > 0:
		return &networkingv1.NetworkPolicyEgressRule{
			Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolTCP, e.port)},
			To:    []networkingv1.NetworkPolicyPeer{address(e.addr)},
		}
	case e.Namespace != "":
		return &networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{namespacePeer(e.Namespace)}}
	}
	return nil
}

// Egress gives the rules that a pod was made with.
func Egress(pod *corev1.Pod) ([]networkingv1.NetworkPolicyEgressRule, error) {
	text := pod.Annotations[annotationEgress]
	if text == "" {
		return nil, nil
	}
	var rules []networkingv1.NetworkPolicyEgressRule
	if err := json.Unmarshal([]byte(text), &rules); err != nil {
		return nil, fmt.Errorf("reading annotation %s of Pod %s: %w", annotationEgress, pod.Name, err)
	}
	return rules, nil
}

// egressText is the annotation of a pod with those rules.
func egressText(rules []networkingv1.NetworkPolicyEgressRule) string {
	data, err := json.Marshal(rules)
	if err != nil {
		panic(err) // plain data
	}
	return string(data)
}
