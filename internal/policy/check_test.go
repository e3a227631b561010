package policy_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/policy"
)

const at = "spec.template"

// check gives what is wrong with a template; an empty document is none.
func check(t *testing.T, document, template string) string {
	t.Helper()
	p := policy.Default()
	if document != "" {
		p = parse(t, "version: 1\n"+document)
	}
	var tmpl v1alpha1.SandboxTemplate
	if err := yaml.UnmarshalStrict([]byte(template), &tmpl); err != nil {
		t.Fatal(err)
	}
	return policy.Message(p.Check(&tmpl, "work", at))
}

type checkCase struct{ policy, template, want string }

func runChecks(t *testing.T, cases map[string]checkCase) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := check(t, c.policy, c.template)
			if c.want == "" && got != "" || c.want != "" && !strings.Contains(got, c.want) {
				t.Errorf("refused: %q\nwant:    %q", got, c.want)
			}
		})
	}
}

func TestWithoutADocument(t *testing.T) {
	runChecks(t, map[string]checkCase{
		"nothing":          {"", "{}", ""},
		"any image":        {"", "{image: busybox}", ""},
		"any size":         {"", "{resources: {limits: {cpu: 64, memory: 1Ti, ephemeral-storage: 1Ti}}, workspace: {sizeLimit: 10Ti, persistence: Persistent, storageClassName: fast}}", ""},
		"a limit left out": {"", "{resources: {requests: {cpu: 1}}}", ""},
		"open egress":      {"", "{network: {egress: Open}}", ""},
		"restricted":       {"", "{network: {egress: Restricted, allow: [{ports: [{port: 443}]}]}}", ""},
		"a node's label":   {"", "{scheduling: {nodeSelector: {kubernetes.io/arch: arm64, pool: a}}}", ""},
		"a device":         {"", "{resources: {limits: {nvidia.com/gpu: 1}}}", "spec.template.resources.limits[nvidia.com/gpu]: 1 (policy: resources)"},
		"huge pages":       {"", "{resources: {requests: {hugepages-2Mi: 4Mi}}}", "spec.template.resources.requests[hugepages-2Mi]: 4Mi (policy: resources)"},
		"a label":          {"", "{metadata: {labels: {team: a}}}", `spec.template.metadata.labels: "team" (policy: metadata.labels)`},
		"an annotation":    {"", "{metadata: {annotations: {note: a}}}", `spec.template.metadata.annotations: "note" (policy: metadata.annotations)`},
		"a queue":          {"", "{metadata: {labels: {kueue.x-k8s.io/queue-name: agents}}}", ""},
		"its priority":     {"", "{metadata: {labels: {kueue.x-k8s.io/priority-class: high}}}", "kueue.x-k8s.io/priority-class"},
		"no eviction":      {"", "{metadata: {annotations: {cluster-autoscaler.kubernetes.io/safe-to-evict: \"false\", karpenter.sh/do-not-disrupt: \"true\"}}}", ""},
		"no such, by []":   {"metadata: {annotations: []}", "{metadata: {annotations: {karpenter.sh/do-not-disrupt: \"true\"}}}", "(policy: metadata.annotations)"},
		"no queue, by []":  {"metadata: {labels: []}", "{metadata: {labels: {kueue.x-k8s.io/queue-name: agents}}}", "(policy: metadata.labels)"},
		"a toleration":     {"", "{scheduling: {tolerations: [{key: a}]}}", `spec.template.scheduling.tolerations[0].key: "a" (policy: scheduling.tolerations)`},
		"all taints":       {"", "{scheduling: {tolerations: [{operator: Exists}]}}", `spec.template.scheduling.tolerations[0].key: "" (policy: scheduling.tolerations)`},
		"a priority":       {"", "{scheduling: {priorityClassName: high}}", `spec.template.scheduling.priorityClassName: "high" (policy: scheduling.priorityClassNames)`},
		"a runtime":        {"", "{runtimeClassName: gvisor}", `spec.template.runtimeClassName: "gvisor" (policy: runtimeClass.names)`},
		"own neighbours":   {"", "{scheduling: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a}, {topologyKey: b, namespaces: [work]}]}}}}", ""},
		"others' pods":     {"", "{scheduling: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a, namespaceSelector: {}}]}}}}", "spec.template.scheduling.affinity.podAntiAffinity: namespaces "},
		"a writable root":  {"", "{rootFilesystem: Writable}", "spec.template.rootFilesystem: Writable (policy: writableRootFilesystem is false)"},
		"a usual root":     {"", "{rootFilesystem: ReadOnly}", ""},
		"one that is let":  {"writableRootFilesystem: true", "{rootFilesystem: Writable}", ""},
		"a proxy":          {"", "{proxy: {httpsProxy: \"http://theirs.example:3128\"}}", `spec.template.proxy.httpsProxy: "http://theirs.example:3128" (policy: network.proxies)`},
		"exceptions":       {"", "{proxy: {noProxy: [.example.com]}}", ""},
		"authorities":      {"", "{caBundle: {name: theirs, key: ca.crt}}", `spec.template.caBundle.name: "theirs" (policy: caBundles)`},
		"others by name":   {"", "{scheduling: {affinity: {podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: a, namespaces: [work, other]}}]}}}}", "(policy: scheduling.crossNamespaceAffinity is false)"},
	})
}

func TestVolumes(t *testing.T) {
	const (
		everything = "volumes: {types: [emptyDir, configMap, secret, persistentVolumeClaim, ephemeral, csi], claims: [\"cache-*\"], csiDrivers: [secrets-store.csi.k8s.io]}"
		at         = "{volumes: [{name: v, mountPath: /data, "
	)
	runChecks(t, map[string]checkCase{
		"a folder":            {"", at + "emptyDir: {}}]}", ""},
		"a ConfigMap":         {"", at + "configMap: {name: c}}]}", ""},
		"a Secret":            {"", at + "secret: {secretName: s}}]}", "spec.template.volumes[0]: secret (policy: volumes.types)"},
		"a claim":             {"", at + "persistentVolumeClaim: {claimName: c}}]}", "spec.template.volumes[0]: persistentVolumeClaim (policy: volumes.types)"},
		"an ephemeral volume": {"", at + "ephemeral: {}}]}", "ephemeral (policy: volumes.types)"},
		"a driver's":          {"", at + "csi: {driver: d}}]}", "csi (policy: volumes.types)"},
		"none by []":          {"volumes: {types: []}", at + "emptyDir: {}}]}", "emptyDir (policy: volumes.types)"},
		"a listed Secret":     {everything, at + "secret: {secretName: s}}]}", ""},
		"a listed claim":      {everything, at + "persistentVolumeClaim: {claimName: cache-1}}]}", ""},
		"another claim":       {everything, at + "persistentVolumeClaim: {claimName: database}}]}", `spec.template.volumes[0].persistentVolumeClaim.claimName: "database" (policy: volumes.claims)`},
		"any claim":           {"volumes: {types: [persistentVolumeClaim]}", at + "persistentVolumeClaim: {claimName: database}}]}", ""},
		"a listed driver":     {everything, at + "csi: {driver: secrets-store.csi.k8s.io}}]}", ""},
		"another driver":      {everything, at + "csi: {driver: host.example.com}}]}", `spec.template.volumes[0].csi.driver: "host.example.com" (policy: volumes.csiDrivers)`},
		"over programs":       {everything, "{volumes: [{name: v, mountPath: /usr/local/bin, emptyDir: {}}]}", `spec.template.volumes[0].mountPath: "/usr/local/bin" (policy: volumes cannot allow it`},
		"by default":          {"defaults: {volumes: [{name: v, mountPath: /data, secret: {secretName: license}}]}", "{}", ""},
	})
}

// A proxy and an authority of one's own choice together show what the runner sends,
// the keys of models among it.
func TestProxiesAndAuthorities(t *testing.T) {
	const listed = "network: {proxies: [\"http://proxy.example.com:3128\", \"http://*.proxies.svc:*\"]}\ncaBundles: [\"corporate-*\"]"
	runChecks(t, map[string]checkCase{
		"none":              {listed, "{}", ""},
		"listed":            {listed, "{proxy: {httpProxy: \"http://proxy.example.com:3128/\", httpsProxy: \"http://a.proxies.svc:80\"}, caBundle: {name: corporate-1, key: k}}", ""},
		"another port":      {listed, "{proxy: {httpProxy: \"http://proxy.example.com:3129\"}}", "spec.template.proxy.httpProxy: "},
		"another authority": {listed, "{caBundle: {name: theirs, key: k}}", "spec.template.caBundle.name: "},
		"by default":        {"defaults: {proxy: {httpsProxy: \"http://proxy.example.com:3128\"}, caBundle: {name: corporate, key: k}}", "{}", ""},
	})
}

func TestImages(t *testing.T) {
	const listed = `images: ["registry.example.com/agents/**", "docker.io/library/debian:*", "docker.io/library/python", "*.example.org/*/*@sha256:*"]`
	const digest = "@sha256:2d4f0f3d1b0c4a6a0c5e7d5e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c"
	runChecks(t, map[string]checkCase{
		"none named":               {listed, "{}", ""},
		"below a folder":           {listed, "{image: registry.example.com/agents/go/tools:v1}", ""},
		"by digest":                {listed, "{image: registry.example.com/agents/go" + digest + "}", ""},
		"by its short name":        {listed, "{image: debian}", ""},
		"by its long name":         {listed, "{image: index.docker.io/library/debian:bookworm}", ""},
		"any tag":                  {listed, "{image: python:3}", ""},
		"a tag hides a digest":     {listed, "{image: debian:bookworm" + digest + "}", "spec.template.image: "},
		"beside the folder":        {listed, "{image: registry.example.com/agents-evil/x}", "spec.template.image: "},
		"another registry":         {listed, "{image: evil.example.net/agents/x}", "spec.template.image: "},
		"the registry as a path":   {listed, "{image: evil.example.net/registry.example.com/agents/x}", "spec.template.image: "},
		"the registry with a port": {listed, "{image: registry.example.com:5000/agents/x}", "spec.template.image: "},
		"a wanted digest":          {listed, "{image: a.example.org/b/c" + digest + "}", ""},
		"a digest left out":        {listed, "{image: a.example.org/b/c:v1}", "spec.template.image: "},
		"no image at all":          {listed, "{image: registry.example.com/agents/UPPER}", "spec.template.image: "},
		"control characters":       {listed, `{image: "registry.example.com/agents/\u001b[31mx"}`, `"registry.example.com/agents/\x1b[31mx"`},
		"nothing but the default":  {"images: []", "{image: debian}", `spec.template.image: "debian" (policy: images)`},
		"everything":               {`images: ["**"]`, "{image: debian}", ""},
	})
}

func TestSizes(t *testing.T) {
	const most = "resources: {cpu: 4, memory: 4Gi, nvidia.com/gpu: 1}\nworkspace: {sizeLimit: 20Gi, storageClassNames: [standard]}"
	runChecks(t, map[string]checkCase{
		"the defaults":          {most, "{}", ""},
		"the most":              {most, "{resources: {limits: {cpu: 4, memory: 4096Mi, nvidia.com/gpu: 1}}, workspace: {sizeLimit: 20Gi}}", ""},
		"too much CPU":          {most, "{resources: {requests: {cpu: 4001m}, limits: {memory: 1Gi}}}", "spec.template.resources.requests[cpu]: 4001m (policy: resources.cpu is 4)"},
		"too much memory":       {most, "{resources: {limits: {memory: 5Gi}}}", "spec.template.resources.limits[memory]: 5Gi (policy: resources.memory is 4Gi)"},
		"memory without limit":  {most, "{resources: {requests: {memory: 1Gi}}}", ""},
		"too much of a request": {most, "{resources: {requests: {memory: 5Gi}}}", "spec.template.resources.requests[memory]: 5Gi (policy: resources.memory is 4Gi)"},
		"a runner's":            {most, "{runner: {resources: {limits: {cpu: 5, nvidia.com/gpu: 1}}}}", "spec.template.runner.resources.limits[cpu]: 5 (policy: resources.cpu is 4); spec.template.runner.resources.limits[nvidia.com/gpu]: 1 (policy: resources)"},
		"a modest runner":       {most, "{runner: {resources: {limits: {cpu: 2, memory: 4Gi}}}}", ""},
		"too many devices":      {most, "{resources: {limits: {memory: 1Gi, nvidia.com/gpu: 2}}}", "spec.template.resources.limits[nvidia.com/gpu]: 2 (policy: resources.nvidia.com/gpu is 1)"},
		"the default's memory":  {"resources: {memory: 1Gi}", "{}", ""},
		"a large workspace":     {most, "{workspace: {sizeLimit: 21Gi}}", "spec.template.workspace.sizeLimit: 21Gi (policy: workspace.sizeLimit is 20Gi)"},
		"the default workspace": {"workspace: {sizeLimit: 5Gi}", "{}", "spec.template.workspace.sizeLimit: 10Gi by default (policy: workspace.sizeLimit is 5Gi)"},
		"a storage class":       {most, "{workspace: {persistence: Persistent, storageClassName: standard}}", ""},
		"another storage class": {most, "{workspace: {persistence: Persistent, storageClassName: fast}}", `spec.template.workspace.storageClassName: "fast" (policy: workspace.storageClassNames)`},
	})
}

func TestEgress(t *testing.T) {
	const bounds = `
network:
  open: false
  allow:
  - {cidrs: [192.0.2.0/24, "2001:db8::/32"], ports: [443, 8000-8099]}
  - {namespaces: [gateway, "team-*"]}
  - {cidrs: [198.51.100.7/32]}
  - {ports: [9999/UDP]}
`
	allow := func(rules string) string {
		return "{network: {egress: Restricted, allow: [" + rules + "]}}"
	}
	const refused = "spec.template.network.allow[0]: "
	runChecks(t, map[string]checkCase{
		"open by default":       {bounds, "{}", "spec.template.network.egress: Open (policy: network.open is false: use Restricted)"},
		"open":                  {bounds, "{network: {egress: Open}}", "spec.template.network.egress: Open"},
		"restricted":            {bounds, "{network: {egress: Restricted}}", ""},
		"a listed place":        {bounds, allow("{to: [{ipBlock: {cidr: 192.0.2.128/25}}], ports: [{port: 443}, {port: 8000, endPort: 8099}]}"), ""},
		"IPv6":                  {bounds, allow("{to: [{ipBlock: {cidr: \"2001:db8:1::/48\"}}], ports: [{port: 443}]}"), ""},
		"a wider place":         {bounds, allow("{to: [{ipBlock: {cidr: 192.0.2.0/23}}], ports: [{port: 443}]}"), refused},
		"everything but a part": {bounds, allow("{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}], ports: [{port: 443}]}"), refused},
		"another port":          {bounds, allow("{to: [{ipBlock: {cidr: 192.0.2.1/32}}], ports: [{port: 443}, {port: 22}]}"), refused},
		"a wider range":         {bounds, allow("{to: [{ipBlock: {cidr: 192.0.2.1/32}}], ports: [{port: 8000, endPort: 8100}]}"), refused},
		"another protocol":      {bounds, allow("{to: [{ipBlock: {cidr: 192.0.2.1/32}}], ports: [{port: 443, protocol: UDP}]}"), refused},
		"a port's name":         {bounds, allow("{to: [{ipBlock: {cidr: 192.0.2.1/32}}], ports: [{port: https}]}"), refused},
		"all ports":             {bounds, allow("{to: [{ipBlock: {cidr: 192.0.2.1/32}}]}"), refused + `"192.0.2.1/32 ports all" (policy: network.allow)`},
		"all ports allowed":     {bounds, allow("{to: [{ipBlock: {cidr: 198.51.100.7/32}}]}"), ""},
		"a port everywhere":     {bounds, allow("{ports: [{port: 9999, protocol: UDP}]}"), ""},
		"another everywhere":    {bounds, allow("{ports: [{port: 443}]}"), refused + `"everywhere ports 443" (policy: network.allow)`},
		"a namespace":           {bounds, allow("{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: team-a}}, podSelector: {}}]}"), ""},
		"two namespaces":        {bounds, allow("{to: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [gateway, team-a]}]}}]}"), ""},
		"one too many":          {bounds, allow("{to: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [gateway, other]}]}}]}"), refused},
		"by another label":      {bounds, allow("{to: [{namespaceSelector: {matchLabels: {team: a}}}]}"), refused},
		"all namespaces":        {bounds, allow("{to: [{namespaceSelector: {}}]}"), refused},
		"all allowed":           {`network: {open: false, allow: [{namespaces: ["*"]}]}`, allow("{to: [{namespaceSelector: {}}]}"), ""},
		"all but one":           {bounds, allow("{to: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [gateway]}]}}]}"), refused},
		"the own namespace":     {bounds, allow("{to: [{podSelector: {}}]}"), refused},
		"the own, allowed":      {"network: {open: false, allow: [{namespaces: [work]}]}", allow("{to: [{podSelector: {}}]}"), ""},
		"nothing listed":        {"network: {open: false}", allow("{ports: [{port: 443}]}"), refused},
		"git by address":        {bounds, "{network: {egress: Restricted}, workspace: {git: {url: \"http://10.0.0.5:5432/x\"}}}", `spec.template.workspace.git.url: opens "10.0.0.5/32 ports 5432" (policy: network.allow)`},
		"git in a namespace":    {bounds, "{network: {egress: Restricted}, workspace: {git: {url: \"http://git.other.svc/x\"}}}", "spec.template.workspace.git.url: opens "},
		"git that is allowed":   {bounds, "{network: {egress: Restricted}, workspace: {git: {url: \"http://git.gateway.svc/x\"}}}", ""},
		"git that stays closed": {bounds, "{network: {egress: Restricted}, workspace: {git: {url: \"https://git.example.com/x\"}}}", ""},
		"open, with bounds":     {"network: {allow: [{ports: [443]}]}", allow("{ports: [{port: 80}]}"), refused},
	})
}

func TestScheduling(t *testing.T) {
	const bounds = `
runtimeClass: {names: [gvisor, "kata-*"]}
metadata:
  labels: [team, "example.com/*", "**", "*.kubernetes.io/*", kueue.x-k8s.io/queue-name]
  annotations: [cluster-autoscaler.kubernetes.io/safe-to-evict, "karpenter.sh/*", "*"]
scheduling:
  nodeSelector: ["pool", "kubernetes.io/*"]
  tolerations: [dedicated]
  priorityClassNames: ["batch-*"]
  crossNamespaceAffinity: true
`
	runChecks(t, map[string]checkCase{
		"what is listed":  {bounds, "{runtimeClassName: kata-qemu, metadata: {labels: {team: a, example.com/x: b, kueue.x-k8s.io/queue-name: q}, annotations: {cluster-autoscaler.kubernetes.io/safe-to-evict: \"false\", karpenter.sh/do-not-disrupt: \"true\"}}, scheduling: {nodeSelector: {pool: a, kubernetes.io/arch: arm64}, tolerations: [{key: dedicated, operator: Exists}], priorityClassName: batch-low}}", ""},
		"our own label":   {bounds, "{metadata: {labels: {sampan.dev/sandbox: other}}}", `spec.template.metadata.labels: "sampan.dev/sandbox" (policy: metadata.labels cannot allow it: it is Sampan's own)`},
		"one below ours":  {bounds, "{metadata: {labels: {x.sampan.dev/y: a}}}", "it is Sampan's own"},
		"who manages it":  {bounds, "{metadata: {labels: {app.kubernetes.io/managed-by: me}}}", "it is Sampan's own"},
		"Kubernetes' own": {bounds, "{metadata: {labels: {app.kubernetes.io/name: forged}}}", `"app.kubernetes.io/name" (policy: metadata.labels)`},
		"a looser glob":   {bounds, "{metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/runner: unconfined}}}", "spec.template.metadata.annotations: "},
		"another node":    {bounds, "{scheduling: {nodeSelector: {node-role: a}}}", `spec.template.scheduling.nodeSelector: "node-role" (policy: scheduling.nodeSelector)`},
		"by affinity":     {bounds, "{scheduling: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [n]}]}]}}}}}", `spec.template.scheduling.affinity.nodeAffinity: "metadata.name" (policy: scheduling.nodeSelector)`},
		"by preference":   {bounds, "{scheduling: {affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [{key: zone, operator: Exists}]}}]}}}}", `"zone" (policy: scheduling.nodeSelector)`},
		"others' pods":    {bounds, "{scheduling: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a, namespaceSelector: {}}]}}}}", ""},
		"all taints":      {bounds, "{scheduling: {tolerations: [{operator: Exists}]}}", "spec.template.scheduling.tolerations[0].key: "},
		"all, allowed":    {`scheduling: {tolerations: ["**"]}`, "{scheduling: {tolerations: [{operator: Exists}]}}", ""},
		"another runtime": {bounds, "{runtimeClassName: runc}", `spec.template.runtimeClassName: "runc" (policy: runtimeClass.names)`},
		"a runtime is due": {"runtimeClass: {names: [gvisor], required: true}", "{}",
			"spec.template.runtimeClassName: none (policy: runtimeClass.required wants one of gvisor)"},
		"a runtime by default": {"runtimeClass: {names: [kata], required: true}\ndefaults: {runtimeClassName: gvisor}", "{}", ""},
		"another priority":     {bounds, "{scheduling: {priorityClassName: system-node-critical}}", `"system-node-critical" (policy: scheduling.priorityClassNames)`},
	})
}

func TestTheMessageIsBounded(t *testing.T) {
	got := check(t, "", "{metadata: {labels: {"+strings.Repeat("a", 300)+": a, b: b, c: c, d: d, e: e, f: f, g: g}}}")
	if !strings.HasSuffix(got, "; and 2 more") || len(got) > 1000 || !strings.Contains(got, "…") {
		t.Errorf("the message is %q", got)
	}
}
