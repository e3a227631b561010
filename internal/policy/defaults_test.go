package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// TestDefaults: what a template leaves out is the administrator's, what it says is
// its own, and of maps and lists it has the entries that it does not name itself.
func TestDefaults(t *testing.T) {
	for name, tc := range map[string]struct{ policy, given, want string }{
		"without a document": {"version: 1", "{}", "{resources: {requests: {cpu: 50m, memory: 128Mi}, limits: {cpu: 2, memory: 2Gi}}}"},
		"lower bounds":       {"{version: 1, resources: {cpu: 1, memory: 64Mi}}", "{}", "{resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {cpu: 1, memory: 64Mi}}}"},
		"everything": {full, "{}", `
metadata: {labels: {team: platform}, annotations: {example.com/cost-center: "7"}}
imagePullPolicy: Always
imagePullSecrets: [{name: regcred}]
resources: {requests: {cpu: 200m}, limits: {cpu: 2, memory: 4Gi}}
runner: {resources: {limits: {memory: 1Gi}, requests: {}}}
env: [{name: PIP_INDEX_URL, value: "https://pypi.example.com/simple"}]
runtimeClassName: gvisor
rootFilesystem: Writable
volumes: [{name: license, mountPath: /data/license, secret: {secretName: license}}]
caBundle: {name: corporate, key: ca.crt}
proxy: {httpsProxy: "http://proxy.example.com:3128", noProxy: [.example.com]}
scheduling: {nodeSelector: {pool: agents}, tolerations: [{key: dedicated, operator: Exists}], priorityClassName: low, affinity: {nodeAffinity: {}}}
`},
		"a template of its own": {full, `
metadata: {labels: {team: payments, a: b}}
imagePullPolicy: Never
imagePullSecrets: [{name: mine}, {name: regcred}]
resources: {limits: {memory: 8Gi}, requests: {memory: 1Gi}}
runner: {resources: {requests: {cpu: 3}, limits: {memory: 2Gi}}}
env: [{name: PIP_INDEX_URL, value: ""}, {name: A, value: b}]
runtimeClassName: kata
rootFilesystem: ReadOnly
volumes: [{name: license, mountPath: /data/license, emptyDir: {}}]
caBundle: {name: mine, key: ca.crt}
proxy: {httpProxy: "http://other.example.com:3128"}
scheduling: {nodeSelector: {pool: mine, zone: a}, tolerations: [{key: dedicated, operator: Exists}, {key: b}], priorityClassName: high, affinity: {podAffinity: {}}}
`, `
metadata: {labels: {team: payments, a: b}, annotations: {example.com/cost-center: "7"}}
imagePullPolicy: Never
imagePullSecrets: [{name: mine}, {name: regcred}]
resources: {requests: {cpu: 200m, memory: 1Gi}, limits: {cpu: 2, memory: 8Gi}}
runner: {resources: {requests: {cpu: 3}, limits: {memory: 2Gi}}}
env: [{name: PIP_INDEX_URL, value: ""}, {name: A, value: b}]
runtimeClassName: kata
rootFilesystem: ReadOnly
volumes: [{name: license, mountPath: /data/license, emptyDir: {}}]
caBundle: {name: mine, key: ca.crt}
proxy: {httpProxy: "http://other.example.com:3128"}
scheduling: {nodeSelector: {pool: mine, zone: a}, tolerations: [{key: dedicated, operator: Exists}, {key: b}], priorityClassName: high, affinity: {podAffinity: {}}}
`},
	} {
		t.Run(name, func(t *testing.T) {
			var given, want v1alpha1.SandboxTemplate
			for text, out := range map[string]*v1alpha1.SandboxTemplate{tc.given: &given, tc.want: &want} {
				if err := yaml.UnmarshalStrict([]byte(text), out); err != nil {
					t.Fatal(err)
				}
			}
			before := given.DeepCopy()
			p := parse(t, tc.policy)
			for range 2 { // the defaults are not changed by what they were added to
				if diff := cmp.Diff(&want, p.Defaulted(&given), compareQuantities); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			}
			if diff := cmp.Diff(before, &given, compareQuantities); diff != "" {
				t.Errorf("the template was changed:\n%s", diff)
			}
		})
	}
}
