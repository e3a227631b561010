package policy_test

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/policy"
)

// full has every key that there is.
const full = `version: 1
images: ["registry.example.com/agents/**", "docker.io/library/debian:*"]
resources: {cpu: 8, memory: 16Gi, nvidia.com/gpu: "1"}
caBundles: [corporate]
workspace: {sizeLimit: 50Gi, storageClassNames: [standard]}
network:
  open: false
  proxies: ["http://proxy.example.com:3128"]
  allow:
  - {cidrs: [192.0.2.7/24], ports: [443, 8000-8099, 53/UDP]}
  - {namespaces: [gateway]}
runtimeClass: {names: [gvisor], required: true}
metadata:
  labels: [team]
  annotations: ["example.com/*"]
scheduling:
  nodeSelector: [pool]
  tolerations: [dedicated]
  priorityClassNames: ["batch-*"]
  crossNamespaceAffinity: true
volumes: {types: [secret, csi], claims: ["cache-*"], csiDrivers: [secrets-store.csi.k8s.io]}
writableRootFilesystem: true
namespaceRegistries: false
defaults:
  rootFilesystem: Writable
  volumes: [{name: license, mountPath: /data/license, secret: {secretName: license}}]
  metadata: {labels: {team: platform}, annotations: {example.com/cost-center: "7"}}
  imagePullPolicy: Always
  imagePullSecrets: [{name: regcred}]
  resources: {requests: {cpu: 200m}, limits: {memory: 4Gi}}
  runner: {resources: {limits: {memory: 1Gi}}}
  env: [{name: PIP_INDEX_URL, value: "https://pypi.example.com/simple"}]
  runtimeClassName: gvisor
  caBundle: {name: corporate, key: ca.crt}
  proxy: {httpsProxy: "http://proxy.example.com:3128", noProxy: [.example.com]}
  scheduling: {nodeSelector: {pool: agents}, tolerations: [{key: dedicated, operator: Exists}], priorityClassName: low, affinity: {nodeAffinity: {}}}
`

var (
	compareAddresses  = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	compareQuantities = cmp.Comparer(func(a, b resource.Quantity) bool { return a.Cmp(b) == 0 })
)

func parse(t *testing.T, document string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryKeyIsRead(t *testing.T) {
	size := resource.MustParse("50Gi")
	want := &policy.Policy{
		Images:                 []string{"registry.example.com/agents/**", "docker.io/library/debian:*"},
		Resources:              map[corev1.ResourceName]resource.Quantity{"cpu": resource.MustParse("8"), "memory": resource.MustParse("16Gi"), "nvidia.com/gpu": resource.MustParse("1")},
		Workspace:              policy.Workspace{SizeLimit: &size, StorageClassNames: []string{"standard"}},
		Volumes:                policy.Volumes{Types: []string{"secret", "csi"}, Claims: []string{"cache-*"}, CSIDrivers: []string{"secrets-store.csi.k8s.io"}},
		CABundles:              []string{"corporate"},
		WritableRootFilesystem: true,
		Network: policy.Network{Proxies: []string{"http://proxy.example.com:3128"}, Allow: []policy.Destination{
			{CIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Ports: []policy.Ports{{"TCP", 443, 443}, {"TCP", 8000, 8099}, {"UDP", 53, 53}}},
			{Namespaces: []string{"gateway"}},
		}},
		Runtime:  policy.Runtime{Names: []string{"gvisor"}, Required: true},
		Metadata: policy.Metadata{Labels: []string{"team"}, Annotations: []string{"example.com/*"}},
		Scheduling: policy.Scheduling{
			NodeSelector: []string{"pool"}, Tolerations: []string{"dedicated"}, PriorityClassNames: []string{"batch-*"}, CrossNamespaceAffinity: true,
		},
	}
	got := parse(t, full)
	got.Defaults = v1alpha1.SandboxTemplate{} // see TestDefaults
	if diff := cmp.Diff(want, got, compareAddresses, compareQuantities); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What a document does not speak of is as without one.
func TestAShortDocumentIsTheDefault(t *testing.T) {
	if diff := cmp.Diff(policy.Default(), parse(t, "version: 1\n"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestProblemsHaveTheirPlace(t *testing.T) {
	for name, c := range map[string]struct{ document, want string }{
		"nothing":                 {"", "the document is empty"},
		"no version":              {"images: []\n", "version: is 0, want 1"},
		"another version":         {"version: 2\n", "line 1:10: version: is 2, want 1"},
		"an unknown key":          {"version: 1\nimage: []\n", `line 2:1: unknown field "image"; did you mean images?`},
		"an unknown key below":    {"version: 1\nmetadata:\n  label: [a]\n", `line 3:3: unknown field "label"; did you mean labels?`},
		"a key twice":             {"version: 1\nimages: []\nimages: [\"**\"]\n", "line 3:1: "},
		"a wrong type":            {"version: 1\nimages: debian\n", "line 2:9: "},
		"a key without a value":   {"version: 1\nimages:\nruntimeClass: {names: [a]}\n", "there is no value here; leave the key out, or write [] for none"},
		"two documents":           {"version: 1\n---\nversion: 1\n", "line 2:1: a second document begins here"},
		"an alias":                {"version: 1\nimages: &a [\"**\"]\nmetadata: {labels: *a}\n", "line 3:20: YAML aliases are not supported"},
		"broken YAML":             {"version: 1\nimages: [\n", "line "},
		"a glob that is none":     {"version: 1\nmetadata:\n  labels: [a, \"b[\"]\n", `line 3:15: metadata.labels[1]: "b[" is not a glob`},
		"an empty glob":           {"version: 1\nmetadata:\n  labels: [\"\"]\n", "line 3:12: metadata.labels[0]: is empty"},
		"a short image":           {"version: 1\nimages: [debian]\n", `line 2:10: images[0]: "debian" does not begin with a registry`},
		"a short image with path": {"version: 1\nimages: [library/debian]\n", `images[0]: "library/debian" does not begin with a registry`},
		"a star for an image":     {"version: 1\nimages: [\"*\"]\n", `images[0]: "*" does not begin with a registry`},
		"no quantity":             {"version: 1\nresources: {memory: 16 gigabytes}\n", `line 2:21: resources.memory: "16 gigabytes" is not a quantity`},
		"less than nothing":       {"version: 1\nworkspace: {sizeLimit: -1Gi}\n", `line 2:24: workspace.sizeLimit: "-1Gi" is not a quantity`},
		"no CIDR":                 {"version: 1\nnetwork: {allow: [{cidrs: [192.0.2.1]}]}\n", `line 2:28: network.allow[0].cidrs[0]: "192.0.2.1" is not a CIDR`},
		"no port":                 {"version: 1\nnetwork: {allow: [{ports: [0]}]}\n", `network.allow[0].ports[0]: "0" is not a port`},
		"ports backwards":         {"version: 1\nnetwork: {allow: [{ports: [9-8]}]}\n", `"9-8" is not a port`},
		"no protocol":             {"version: 1\nnetwork: {allow: [{ports: [53/udp]}]}\n", `"53/udp" is not a port`},
		"an empty rule":           {"version: 1\nnetwork: {allow: [{}]}\n", "network.allow[0]: needs cidrs, namespaces or ports"},
		"an empty list in a rule": {"version: 1\nnetwork: {allow: [{cidrs: [], ports: [443]}]}\n", "network.allow[0]: has an empty list"},
		"a default of no field":   {"version: 1\ndefaults: {imagePullSecret: regcred}\n", `line 2:11: defaults: is not written as a template: unknown field "imagePullSecret"`},
		"a default of no type":    {"version: 1\ndefaults:\n  env: PATH\n", "defaults: is not written as a template: "},
		"an image by default":     {"version: 1\ndefaults:\n  image: debian\n", "line 3:10: defaults.image: has no default"},
		"a default beyond bounds": {"version: 1\nresources: {memory: 1Gi}\ndefaults: {resources: {limits: {memory: 2Gi}}}\n", "line 3:32: defaults.resources.limits[memory]: 2Gi is not within the bounds (resources.memory is 1Gi)"},
		"a device by default":     {"version: 1\ndefaults: {runner: {resources: {limits: {nvidia.com/gpu: 1}}}}\n", "defaults.runner.resources.limits[nvidia.com/gpu]: 1 is not within the bounds"},
		"a type of no volume":     {"version: 1\nvolumes: {types: [hostPath]}\n", `line 2:19: volumes.types[0]: "hostPath" is none of emptyDir, configMap`},
		"a volume over programs":  {"version: 1\ndefaults: {volumes: [{name: v, mountPath: /bin, emptyDir: {}}]}\n", `defaults.volumes[0].mountPath: "/bin" is where no volume can be`},
		"a proxy's password":      {"version: 1\ndefaults:\n  proxy: {httpsProxy: \"http://me:hunter2@proxy.example.com\"}\n", "line 3:23: defaults.proxy.httpsProxy: is not a proxy such as"},
		"a default of ours":       {"version: 1\ndefaults: {metadata: {labels: {sampan.dev/sandbox: a}}}\n", `line 2:31: defaults.metadata.labels: "sampan.dev/sandbox" is Sampan's own`},
		"a runtime that is none":  {"version: 1\nruntimeClass: {required: true}\n", "line 2:26: runtimeClass.required: nothing could run"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := policy.Parse([]byte(c.document))
			var wrong *models.InvalidError
			if p != nil || !errors.As(err, &wrong) {
				t.Fatalf("the policy is %v and the error %v", p, err)
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error is %q, want %q", err, c.want)
			}
		})
	}
}

// What would cost the operator much is refused before it is parsed.
func TestBombsAreNotParsed(t *testing.T) {
	for name, c := range map[string]struct{ document, want string }{
		"depth": {strings.Repeat("[", 60000), "deeper than 32 levels"},
		"size":  {"version: 1\n#" + strings.Repeat(" ", 64<<10), "65"},
		"nodes": {"version: 1\nimages: [" + strings.Repeat("a, ", 20000) + "]", "10000"},
	} {
		t.Run(name, func(t *testing.T) {
			if n := testing.AllocsPerRun(1, func() { _, _ = policy.Parse([]byte(c.document)) }); n > 1000 {
				t.Errorf("it took %v allocations", n)
			}
			if _, err := policy.Parse([]byte(c.document)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte("version: 1\nnetwork: {allow: [{cidrs: [\"::/0\"], ports: [1-65535/SCTP]}]}\n"))
	f.Add([]byte("version: 1\nimages: &a [\"**\"]\nmetadata: {labels: *a}\n"))
	f.Add([]byte("? - - a\n: {b: [c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := policy.Parse(data)
		if (p == nil) == (err == nil) {
			t.Fatalf("the policy is %v and the error %v", p, err)
		}
		var wrong *models.InvalidError
		if err != nil && (!errors.As(err, &wrong) || len(wrong.Problems) == 0) {
			t.Fatalf("the error is %#v", err)
		}
	})
}

// What the documentation shows is a policy.
func TestTheExampleOfTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "  policy.yaml: |\n")
	example, _, found := strings.Cut(example, "```")
	if p := parse(t, strings.ReplaceAll(example, "\n    ", "\n")[4:]); !found || p.NamespaceRegistries || len(p.Images) != 2 {
		t.Errorf("the example means %+v", p)
	}
}
