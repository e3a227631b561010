package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/yamldoc"
)

// validator gathers problems, each with its place in the document.
type validator struct {
	root     *yaml.Node
	problems yamldoc.Problems
}

// fail records a problem at a path such as "network.allow[0].cidrs[1]"; where the
// field is absent, the nearest parent that is there gives the line.
func (v *validator) fail(path, format string, args ...any) {
	p := models.Problem{Path: path, Message: fmt.Sprintf(format, args...)}
	for at := path; at != ""; at = at[:max(strings.LastIndexAny(at, ".["), 0)] {
		if n := yamldoc.Find(v.root, at); n != nil {
			p.Line, p.Column = n.Line, n.Column
			break
		}
	}
	v.problems.Add(p)
}

func (v *validator) policy(doc document) *Policy {
	p := Default()
	if doc.Version != 1 {
		v.fail("version", "is %d, want 1", doc.Version)
	}
	p.Images = v.images(doc.Images)
	p.Resources = v.resources(doc.Resources)
	p.Workspace.SizeLimit = v.quantity("workspace.sizeLimit", doc.Workspace.SizeLimit)
	p.Workspace.StorageClassNames = v.globs("workspace.storageClassNames", doc.Workspace.StorageClassNames)
	v.volumes(doc.Volumes, p)
	p.WritableRootFilesystem = doc.WritableRoot
	p.CABundles = v.globs("caBundles", doc.CABundles)
	p.Network = v.network(doc.Network)
	p.Runtime = Runtime{Names: v.globs("runtimeClass.names", doc.Runtime.Names), Required: doc.Runtime.Required}
	if p.Runtime.Required && len(p.Runtime.Names) == 0 {
		v.fail("runtimeClass.required", "nothing could run: runtimeClass.names lists none")
	}
	if labels := v.globs("metadata.labels", doc.Metadata.Labels); labels != nil {
		p.Metadata.Labels = labels
	}
	if annotations := v.globs("metadata.annotations", doc.Metadata.Annotations); annotations != nil {
		p.Metadata.Annotations = annotations
	}
	s := doc.Scheduling
	p.Scheduling = Scheduling{
		NodeSelector: v.globs("scheduling.nodeSelector", s.NodeSelector), Tolerations: v.globs("scheduling.tolerations", s.Tolerations),
		PriorityClassNames:     v.globs("scheduling.priorityClassNames", s.PriorityClassNames),
		CrossNamespaceAffinity: s.CrossNamespaceAffinity,
	}
	if doc.NamespaceRegistries != nil {
		p.NamespaceRegistries = *doc.NamespaceRegistries
	}
	v.defaults(doc.Defaults, p)
	return p
}

// volumeTypes are all that there are.
var volumeTypes = []string{VolumeEmptyDir, VolumeConfigMap, VolumeSecret, VolumePersistentVolumeClaim, VolumeEphemeral, VolumeCSI}

func (v *validator) volumes(doc volumesDocument, p *Policy) {
	for i, name := range doc.Types {
		if !slices.Contains(volumeTypes, name) {
			v.fail(fmt.Sprintf("volumes.types[%d]", i), "%q is none of %s%s", name, strings.Join(volumeTypes, ", "), models.DidYouMean(name, volumeTypes))
		}
	}
	if doc.Types != nil {
		p.Volumes.Types = doc.Types
	}
	p.Volumes.Claims = v.globs("volumes.claims", doc.Claims)
	p.Volumes.CSIDrivers = v.globs("volumes.csiDrivers", doc.CSIDrivers)
}

// proxyURL is the pattern of the API's ProxyURL.
var proxyURL = regexp.MustCompile(`^https?://[A-Za-z0-9._:\[\]-]+/?$`)

// jsonProblem takes out of a decoder's words what it was told as a format.
var jsonProblem = strings.NewReplacer("error unmarshaling JSON: ", "", "while decoding JSON: ", "", "json: ", "")

// notDefaults are the fields of a template that say what a Sandbox is for.
var notDefaults = []string{"image", "workspace", "network"}

// defaults reads what a template leaves out. It is checked against the bounds on
// resources alone: the administrator may give what no template may ask for.
func (v *validator) defaults(doc map[string]any, p *Policy) {
	for _, name := range notDefaults {
		if _, given := doc[name]; given {
			v.fail("defaults."+name, "has no default; the image of a template that names none is given by the manager's flag --sandbox-image, the rest is each template's own")
		}
	}
	data, err := json.Marshal(doc)
	if err == nil {
		p.Defaults = v1alpha1.SandboxTemplate{}
		err = k8syaml.UnmarshalStrict(data, &p.Defaults)
	}
	if err != nil {
		v.fail("defaults", "is not written as a template: %s", text.OneLine(jsonProblem.Replace(err.Error())))
		return
	}
	for _, m := range []struct {
		path string
		keys map[string]string
	}{{"defaults.metadata.labels", p.Defaults.Metadata.Labels}, {"defaults.metadata.annotations", p.Defaults.Metadata.Annotations}} {
		for _, key := range slices.Sorted(maps.Keys(m.keys)) {
			if podspec.Reserved(key) {
				v.fail(m.path, "%q is Sampan's own", key)
			}
		}
	}
	for path, u := range map[string]v1alpha1.ProxyURL{"defaults.proxy.httpProxy": p.Defaults.Proxy.HTTPProxy, "defaults.proxy.httpsProxy": p.Defaults.Proxy.HTTPSProxy} {
		if u != "" && !proxyURL.MatchString(string(u)) {
			v.fail(path, "is not a proxy such as http://proxy.example.com:3128; it must have no user and no password, which tools could read")
		}
	}
	for i := range p.Defaults.Volumes {
		if given := &p.Defaults.Volumes[i]; !podspec.Mountable(given.MountPath) {
			v.fail(fmt.Sprintf("defaults.volumes[%d].mountPath", i), "%q is where no volume can be", given.MountPath)
		}
	}
	c := &checker{Policy: p}
	if given := p.Defaults.Resources; given != nil {
		c.resources(*given, p.Resources, "defaults.resources")
	}
	if given := p.Defaults.Runner.Resources; given != nil {
		c.resources(*given, c.runnerBounds(), "defaults.runner.resources")
	}
	for _, wrong := range c.violations {
		v.fail(wrong.Path, "%s is not within the bounds (%s %s)", wrong.Value, wrong.Key, wrong.Rule)
	}
	p.Defaults.Resources = filled(p.Defaults.Resources, boundedDefaults(p.Resources))
}

func (v *validator) globs(path string, globs []string) []string {
	for i, glob := range globs {
		if glob == "" {
			v.fail(fmt.Sprintf("%s[%d]", path, i), "is empty")
		} else if !doublestar.ValidatePattern(glob) {
			v.fail(fmt.Sprintf("%s[%d]", path, i), "%q is not a glob: a bracket or a brace is not closed", glob)
		}
	}
	return globs
}

// images wants every glob to begin with a registry, as the names do that it is held
// against: "debian" is docker.io/library/debian to those who pull it.
func (v *validator) images(globs []string) []string {
	for i, glob := range v.globs("images", globs) {
		registry, _, found := strings.Cut(glob, "/")
		switch {
		case glob == "**" || glob == "":
		case !found, registry != "localhost" && !strings.ContainsAny(registry, ".:*?[{"):
			v.fail(fmt.Sprintf("images[%d]", i), "%q does not begin with a registry; write for example docker.io/library/debian:*, or ** for any image", glob)
		}
	}
	return globs
}

func (v *validator) resources(doc map[string]string) map[corev1.ResourceName]resource.Quantity {
	out := map[corev1.ResourceName]resource.Quantity{}
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		if q := v.quantity("resources."+name, doc[name]); q != nil {
			out[corev1.ResourceName(name)] = *q
		} else if doc[name] == "" {
			v.fail("resources", "%q has no quantity", name)
		}
	}
	return out
}

// quantity reads an amount; nil where there is none.
func (v *validator) quantity(path, text string) *resource.Quantity {
	if text == "" {
		return nil
	}
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Sign() < 0 {
		v.fail(path, "%q is not a quantity such as 2, 500m or 16Gi", text)
		return nil
	}
	return &q
}

func (v *validator) network(doc networkDocument) Network {
	n := Network{Open: doc.Open == nil || *doc.Open, Proxies: v.globs("network.proxies", doc.Proxies)}
	if doc.Allow != nil || !n.Open {
		n.Allow = []Destination{} // nothing, rather than anything
	}
	for i, d := range doc.Allow {
		path := fmt.Sprintf("network.allow[%d]", i)
		if len(d.CIDRs)+len(d.Namespaces)+len(d.Ports) == 0 {
			v.fail(path, "needs cidrs, namespaces or ports: without them it would be everything")
		}
		to := Destination{Namespaces: v.globs(path+".namespaces", d.Namespaces)}
		for j, text := range d.CIDRs {
			cidr, err := netip.ParsePrefix(text)
			if err != nil {
				v.fail(fmt.Sprintf("%s.cidrs[%d]", path, j), "%q is not a CIDR such as 192.0.2.0/24", text)
			}
			to.CIDRs = append(to.CIDRs, cidr.Masked())
		}
		for j, text := range d.Ports {
			ports, ok := parsePorts(text)
			if !ok {
				v.fail(fmt.Sprintf("%s.ports[%d]", path, j), "%q is not a port such as 443, 8000-8099 or 53/UDP", text)
			}
			to.Ports = append(to.Ports, ports)
		}
		// An empty list is not the same as none: it must not become everything.
		if d.CIDRs != nil && len(d.CIDRs) == 0 || d.Namespaces != nil && len(d.Namespaces) == 0 || d.Ports != nil && len(d.Ports) == 0 {
			v.fail(path, "has an empty list; leave it out")
		}
		n.Allow = append(n.Allow, to)
	}
	return n
}

// parsePorts reads "443", "8000-8099" and "53/UDP".
func parsePorts(text string) (Ports, bool) {
	numbers, protocol, found := strings.Cut(text, "/")
	p := Ports{Protocol: corev1.Protocol(protocol)}
	if !found {
		p.Protocol = corev1.ProtocolTCP
	}
	first, last, isRange := strings.Cut(numbers, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	p.First, p.Last = int32(from), int32(to)
	known := slices.Contains([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}, p.Protocol)
	return p, err == nil && err2 == nil && known && p.First > 0 && p.First <= p.Last
}
