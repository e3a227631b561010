package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

func (c *checker) proxy(p *v1alpha1.Proxy, path string) {
	for _, proxy := range []struct {
		field string
		url   v1alpha1.ProxyURL
	}{{"httpProxy", p.HTTPProxy}, {"httpsProxy", p.HTTPSProxy}} {
		if proxy.url != "" && !matches(c.Network.Proxies, strings.TrimSuffix(string(proxy.url), "/")) {
			c.refuse(path+"."+proxy.field, quoted(string(proxy.url)), "network.proxies", "")
		}
	}
}

func (c *checker) network(t *v1alpha1.SandboxTemplate, path string) {
	if t.Network.Egress != v1alpha1.EgressRestricted {
		if !c.Network.Open {
			c.refuse(path+".network.egress", "Open", "network.open", "is false: use Restricted")
		}
		return
	}
	for i, rule := range t.Network.Allow {
		if !c.Network.covers(rule, c.namespace) {
			c.refuse(fmt.Sprintf("%s.network.allow[%d]", path, i), ruleText(rule), "network.allow", "")
		}
	}
	c.endpoint(t.Workspace.Git.URL, path+".workspace.git.url")
}

// CheckEndpoint gives what is wrong with a URL that is opened for a Restricted
// Sandbox of a namespace.
func (p *Policy) CheckEndpoint(url, namespace, path string) []Violation {
	c := &checker{Policy: p, namespace: namespace}
	c.endpoint(url, path)
	return c.violations
}

// endpoint checks what a URL would have opened; what no NetworkPolicy can name
// stays closed.
func (c *checker) endpoint(url, path string) {
	rule := podspec.EndpointOf(url, c.namespace).Rule()
	if rule != nil && !c.Network.covers(*rule, c.namespace) {
		c.refuse(path, "opens "+ruleText(*rule), "network.allow", "")
	}
}

// covers reports whether a rule of a pod of a namespace opens nothing but what the
// policy allows: each of its places, with each of its ports.
func (n Network) covers(rule networkingv1.NetworkPolicyEgressRule, namespace string) bool {
	if n.Allow == nil {
		return true
	}
	peers, ports := []*networkingv1.NetworkPolicyPeer{nil}, []*networkingv1.NetworkPolicyPort{nil}
	if len(rule.To) > 0 {
		peers = pointers(rule.To)
	}
	if len(rule.Ports) > 0 {
		ports = pointers(rule.Ports)
	}
	for _, peer := range peers {
		for _, port := range ports {
			if !slices.ContainsFunc(n.Allow, func(d Destination) bool { return d.reaches(peer, namespace) && d.opens(port) }) {
				return false
			}
		}
	}
	return true
}

func pointers[T any](in []T) []*T {
	out := make([]*T, len(in))
	for i := range in {
		out[i] = &in[i]
	}
	return out
}

// reaches reports whether a peer is within the destination; nil is every place.
func (d Destination) reaches(peer *networkingv1.NetworkPolicyPeer, own string) bool {
	switch {
	case len(d.CIDRs)+len(d.Namespaces) == 0:
		return true
	case peer == nil:
		return false
	case peer.IPBlock != nil:
		block, err := netip.ParsePrefix(peer.IPBlock.CIDR)
		return err == nil && slices.ContainsFunc(d.CIDRs, func(cidr netip.Prefix) bool {
			return cidr.Bits() <= block.Bits() && cidr.Contains(block.Addr())
		})
	case peer.NamespaceSelector != nil:
		if slices.ContainsFunc(d.Namespaces, func(glob string) bool { return glob == "*" || glob == "**" }) {
			return true
		}
		names := namespacesOf(peer.NamespaceSelector)
		return len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool { return !matches(d.Namespaces, name) })
	case peer.PodSelector != nil:
		return matches(d.Namespaces, own)
	}
	return false
}

// namespacesOf are the namespaces that a selector names by their own label; none
// where it selects by anything else, which may come to mean others.
func namespacesOf(selector *metav1.LabelSelector) []string {
	if name := selector.MatchLabels[corev1.LabelMetadataName]; name != "" {
		return []string{name} // what else it asks for only narrows it
	}
	for _, e := range selector.MatchExpressions {
		if e.Key == corev1.LabelMetadataName && e.Operator == metav1.LabelSelectorOpIn {
			return e.Values
		}
	}
	return nil
}

// opens reports whether a port is one of the destination's; nil is every port.
func (d Destination) opens(port *networkingv1.NetworkPolicyPort) bool {
	if len(d.Ports) == 0 {
		return true
	}
	if port == nil {
		return false
	}
	want := Ports{Protocol: corev1.ProtocolTCP, First: 1, Last: 65535}
	if port.Protocol != nil {
		want.Protocol = *port.Protocol
	}
	if port.Port != nil {
		if port.Port.Type == intstr.String {
			return false // a name is whatever a pod calls so
		}
		want.First, want.Last = port.Port.IntVal, port.Port.IntVal
		if port.EndPort != nil {
			want.Last = *port.EndPort
		}
	}
	return slices.ContainsFunc(d.Ports, func(have Ports) bool {
		return have.Protocol == want.Protocol && have.First <= want.First && want.Last <= have.Last
	})
}

// ruleText says in a few words what a rule opens.
func ruleText(rule networkingv1.NetworkPolicyEgressRule) string {
	var to, ports []string
	for _, peer := range rule.To {
		switch {
		case peer.IPBlock != nil:
			to = append(to, peer.IPBlock.CIDR)
		case peer.NamespaceSelector != nil:
			to = append(to, "namespaces "+metav1.FormatLabelSelector(peer.NamespaceSelector))
		default:
			to = append(to, "the own namespace")
		}
	}
	for _, p := range rule.Ports {
		ports = append(ports, portText(p))
	}
	if len(to) == 0 {
		to = []string{"everywhere"}
	}
	if len(ports) == 0 {
		ports = []string{"all"}
	}
	return quoted(strings.Join(to, ", ") + " ports " + strings.Join(ports, ", "))
}

func portText(p networkingv1.NetworkPolicyPort) string {
	out := "all"
	if p.Port != nil {
		out = p.Port.String()
	}
	if p.EndPort != nil {
		out += fmt.Sprintf("-%d", *p.EndPort)
	}
	if p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP {
		out += "/" + string(*p.Protocol)
	}
	return out
}
