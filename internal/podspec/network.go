package podspec

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// EgressPolicy is what a Restricted Sandbox's pod may reach: DNS, wherever a
// node's cache of it is, those rules, and what the template allows.
func EgressPolicy(sb *v1alpha1.Sandbox, rules ...networkingv1.NetworkPolicyEgressRule) *networkingv1.NetworkPolicy {
	egress := []networkingv1.NetworkPolicyEgressRule{{Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolUDP, 53), port(corev1.ProtocolTCP, 53)}}}
	egress = append(egress, rules...)
	for _, rule := range sb.Spec.Template.Network.Allow {
		egress = append(egress, defaulted(rule))
	}
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: egressPolicyPrefix + sb.Name, Namespace: sb.Namespace, Labels: Labels(sb)},
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
	// Namespace is set where Host names a Service of it. Guessed: it may be a
	// public name as well, such as example.com; it is one unless there is such
	// a namespace.
	Namespace string
	Guessed   bool

	addr netip.Addr
	port int32
}

// defaultPorts are those of the schemes that models and repositories may have.
var defaultPorts = map[string]int32{"http": 80, "https": 443, "git": 9418}

// EndpointOf reads a URL that a pod of a namespace uses.
func EndpointOf(rawURL, namespace string) (Endpoint, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return Endpoint{}, fmt.Errorf("reading the URL %q: %w", rawURL, err)
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
		return e, nil
	}
	switch labels := strings.Split(host, "."); {
	case len(labels) == 1:
		e.Namespace = namespace
	case len(labels) == 2:
		e.Namespace, e.Guessed = labels[1], true
	case labels[2] == "svc":
		e.Namespace = labels[1]
	}
	return e, nil
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
		return &networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: e.Namespace}},
		}}}
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
