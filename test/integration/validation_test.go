package integration

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// dryRun asks whether an object would be accepted.
func dryRun(ctx SpecContext, kind, name, spec string) error {
	GinkgoHelper()
	u := &unstructured.Unstructured{}
	Expect(yaml.Unmarshal([]byte("spec:\n  "+strings.ReplaceAll(spec, "\n", "\n  ")), &u.Object)).To(Succeed())
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	u.SetName(name)
	u.SetNamespace("default")
	return api.Client.Create(ctx, u, client.DryRunAll, client.FieldValidation("Strict"))
}

// numbered repeats a text with a number in it.
func numbered(n int, format string) string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(out, ", ")
}

var _ = Describe("The API", func() {
	DescribeTable("accepts", func(ctx SpecContext, spec string) {
		Expect(dryRun(ctx, "AgentTask", "x", spec)).To(Succeed())
	},
		Entry("a prompt", "prompt: x"),
		Entry("a ConfigMap's prompt", "promptFrom: {configMapKeyRef: {name: a, key: b}}"),
		Entry("a Secret's prompt", "promptFrom: {secretKeyRef: {name: a, key: b}}"),
		Entry("a verification's files", "{prompt: x, verify: [{name: a, command: b, files: {configMapName: tests, keys: [test.sh, expected]}}]}"),
		Entry("a named Sandbox", "{prompt: x, sandbox: {sandboxRef: {name: dev}}}"),
		Entry("a whole cent", `{prompt: x, limits: {costUSD: "12.50"}}`),
		Entry("next to no money", `{prompt: x, limits: {costUSD: "0.000000001"}}`),
		Entry("a verification's name in any script", "{prompt: x, verify: [{name: Prüfung 测试 👩‍💻, command: b}]}"),
		Entry("tools", "{prompt: x, tools: {allowed: [read_file, bash]}}"),
		Entry("a git repository", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git', ref: main, depth: 1}}}}}"),
		Entry("a verification in a pod of its own", "{prompt: x, verify: [{name: a, command: b, isolation: Separate}, {name: c, command: d, isolation: Shared}]}"),
		Entry("one in a Sandbox of a pool", "{prompt: x, sandbox: {poolRef: {name: warm}}, verify: [{name: a, command: b, isolation: Separate}]}"),
		Entry("one beside volumes that nobody writes to, or that go with the pod", "{prompt: x, sandbox: {template: {volumes: [{name: data, mountPath: /data, persistentVolumeClaim: {claimName: data, readOnly: true}}, {name: more, mountPath: /more, emptyDir: {}}]}}, verify: [{name: a, command: b, isolation: Separate}]}"),
		Entry("one in an ephemeral workspace", "{prompt: x, sandbox: {template: {workspace: {persistence: Ephemeral}}}, verify: [{name: a, command: b, isolation: Separate}]}"),
		Entry("a persistent workspace of the task's own", "{prompt: x, sandbox: {template: {workspace: {persistence: Persistent}}}}"),
		Entry("a Restricted network", "{prompt: x, sandbox: {template: {network: {egress: Restricted}}}}"),
		Entry("what it may reach", "{prompt: x, sandbox: {template: {network: {egress: Restricted, allow: [{ports: [{port: 5432}], to: [{ipBlock: {cidr: 192.0.2.0/24}}]}]}}}}"),
		Entry("an ephemeral workspace", "{prompt: x, sandbox: {template: {workspace: {persistence: Ephemeral, sizeLimit: 1Gi}}}}"),
		Entry("a port that is open everywhere", "{prompt: x, sandbox: {template: {network: {egress: Restricted, allow: [{ports: [{port: 443}]}]}}}}"),
		Entry("a host with all its ports", "{prompt: x, sandbox: {template: {network: {egress: Restricted, allow: [{to: [{ipBlock: {cidr: 192.0.2.7/32}}]}]}}}}"),
		Entry("credentials by http", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'http://git.example/a', plainHTTP: Allow}}}}}"),
		Entry("authorities and a proxy", "{prompt: x, sandbox: {template: {caBundle: {name: corporate, key: ca.crt}, proxy: {httpProxy: 'http://proxy.example.com:3128', httpsProxy: 'http://[2001:db8::1]:3128/', noProxy: [.example.com, 192.0.2.0/24, 'host:8080', '*.internal']}}}}"),
		Entry("outputs", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: change, patch: {}}, {name: report, path: out/report.json}, {name: fix, branch: {ref: 'sampan/{{task}}', message: m, author: {name: Ann B, email: a@b.c}, credentialsSecretRef: {name: git}, unproven: Allow}}]}"),
		Entry("a path without a repository", "{prompt: x, outputs: [{name: report.v1, path: '..a/.b'}]}"),
		Entry("a patch of a named Sandbox", "{prompt: x, sandbox: {sandboxRef: {name: dev}}, outputs: [{name: change, patch: {}}, {name: fix, branch: {ref: 'x/{{namespace}}-{{task}}'}}]}"),
		Entry("another task's last turn, with nothing to add", "{from: {taskRef: {name: source}}}"),
		Entry("another task's turn, with a prompt", "{prompt: x, from: {taskRef: {name: source, uid: 5f1c4e1a-0000-4000-8000-000000000001}, turn: 0}}"),
		Entry("an earlier task of the same name", "{prompt: x, from: {taskRef: {name: x, uid: 5f1c4e1a-0000-4000-8000-000000000001}}}"),
		Entry("an @ in a git path", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/@b.git'}}}}}"),
	)

	DescribeTable("accepts of a Sandbox", func(ctx SpecContext, spec string) {
		Expect(dryRun(ctx, "Sandbox", "x", spec)).To(Succeed())
	},
		Entry("nothing", "{}"),
		Entry("a persistent workspace", "{template: {workspace: {persistence: Persistent}}}"),
		Entry("its StorageClass", "{template: {workspace: {persistence: Persistent, storageClassName: fast.example}}}"),
		Entry("a size in bytes", "{template: {workspace: {sizeLimit: 1048576}}}"),
		Entry("a size with a unit", "{template: {workspace: {sizeLimit: 1.5Gi}}}"),
	)

	DescribeTable("refuses of a Sandbox", func(ctx SpecContext, spec, why string) {
		Expect(dryRun(ctx, "Sandbox", "x", spec)).To(MatchError(ContainSubstring(why)))
	},
		Entry("no size", "{template: {workspace: {sizeLimit: 0}}}", "sizeLimit must be more than 0"),
		Entry("no size in words", "{template: {workspace: {sizeLimit: 0Gi}}}", "sizeLimit must be more than 0"),
		Entry("less than no size", "{template: {workspace: {sizeLimit: -1}}}", "sizeLimit must be more than 0"),
		Entry("less than no size in words", "{template: {workspace: {sizeLimit: -1Gi}}}", "sizeLimit must be more than 0"),
		Entry("a size that is none", "{template: {workspace: {sizeLimit: much}}}", "workspace.sizeLimit"),
		Entry("a StorageClass of an ephemeral workspace", "{template: {workspace: {persistence: Ephemeral, storageClassName: fast}}}", "storageClassName needs persistence Persistent"),
		Entry("a StorageClass that has no such name", "{template: {workspace: {persistence: Persistent, storageClassName: Fast_}}}", "workspace.storageClassName"),
		Entry("a rule that opens everything", "{template: {network: {egress: Restricted, allow: [{ports: [{port: 443}]}, {}]}}}", "would open everything"),
		Entry("one with empty lists", "{template: {network: {egress: Restricted, allow: [{to: [], ports: []}]}}}", "would open everything"),
	)

	DescribeTable("bounds what it takes over from Kubernetes", func(ctx SpecContext, n int, spec func(n int) string) {
		Expect(dryRun(ctx, "Sandbox", "x", "template: "+spec(n))).To(Succeed())
		Expect(dryRun(ctx, "Sandbox", "x", "template: "+spec(n+1))).To(MatchError(Or(ContainSubstring("Too long"), ContainSubstring("Too many"), ContainSubstring("a key has at most"))))
	},
		Entry("labels", 32, func(n int) string { return "{metadata: {labels: {" + numbered(n, "k%d: v") + "}}}" }),
		Entry("a label", 63, func(n int) string { return "{metadata: {labels: {k: " + strings.Repeat("x", n) + "}}}" }),
		Entry("a label's key", 317, func(n int) string { return "{metadata: {labels: {" + strings.Repeat("x", n) + ": v}}}" }),
		Entry("annotations", 32, func(n int) string { return "{metadata: {annotations: {" + numbered(n, "k%d: v") + "}}}" }),
		Entry("an annotation", 1024, func(n int) string { return "{metadata: {annotations: {k: " + strings.Repeat("x", n) + "}}}" }),
		Entry("a node selector", 32, func(n int) string { return "{scheduling: {nodeSelector: {" + numbered(n, "k%d: v") + "}}}" }),
		Entry("a toleration", 317, func(n int) string { return "{scheduling: {tolerations: [{key: " + strings.Repeat("x", n) + "}]}}" }),
		Entry("an affinity", 16, func(n int) string {
			return "{scheduling: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: k, operator: In, values: [" + numbered(n, "v%d") + "]}]}]}}}}}"
		}),
		Entry("peers", 16, func(n int) string {
			return "{network: {egress: Restricted, allow: [{to: [" + numbered(n, "{ipBlock: {cidr: 192.0.2.%d/32}}") + "]}]}}"
		}),
		Entry("a peer's labels", 32, func(n int) string {
			return "{network: {egress: Restricted, allow: [{to: [{podSelector: {matchLabels: {" + numbered(n, "k%d: v") + "}}}]}]}}"
		}),
		Entry("resources", 32, func(n int) string { return "{resources: {limits: {" + numbered(n, "example.com/k%d: 1") + "}}}" }),
		Entry("a quantity", 32, func(n int) string { return "{workspace: {sizeLimit: '1" + strings.Repeat("0", n-1) + "'}}" }),
	)

	DescribeTable("refuses", func(ctx SpecContext, spec, why string) {
		Expect(dryRun(ctx, "AgentTask", "x", spec)).To(MatchError(ContainSubstring(why)))
	},
		Entry("to go on from itself", "{prompt: x, from: {taskRef: {name: x}}}", "a task cannot go on from itself"),
		Entry("to go on from nothing", "{prompt: x, from: {turn: 1}}", "spec.from.taskRef"),
		Entry("to go on from a turn before the first", "{prompt: x, from: {taskRef: {name: source}, turn: -1}}", "spec.from.turn"),
		Entry("a UID that is none", "{prompt: x, from: {taskRef: {name: source, uid: ../y}}}", "spec.from.taskRef.uid"),
		Entry("a system prompt beside another's", "{prompt: x, systemPrompt: words, from: {taskRef: {name: source}}}", "leave systemPrompt out"),
		Entry("two prompts to go on with", "{prompt: x, promptFrom: {configMapKeyRef: {name: a, key: b}}, from: {taskRef: {name: source}}}", "with from, at most one"),
		Entry("another's workspace in a named Sandbox", "{prompt: x, from: {taskRef: {name: source}}, sandbox: {sandboxRef: {name: dev}}}", "leave sandboxRef out"),
		Entry("another's workspace in a persistent one", "{prompt: x, from: {taskRef: {name: source}}, sandbox: {template: {workspace: {persistence: Persistent}}}}", "leave workspace.persistence out"),
		Entry("an output that is nothing", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a}]}", "exactly one of patch, path and branch"),
		Entry("an output that is two things", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, patch: {}, path: b}]}", "exactly one of patch, path and branch"),
		Entry("two outputs of a name", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, patch: {}}, {name: a, path: b}]}", "Duplicate value"),
		Entry("an output's name", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: A/b, patch: {}}]}", "outputs[0].name"),
		Entry("a patch without a repository", "{prompt: x, model: {name: m}, outputs: [{name: a, patch: {}}]}", "need a repository"),
		Entry("a branch without a repository", "{prompt: x, sandbox: {template: {image: i}}, outputs: [{name: a, branch: {ref: b}}]}", "need a repository"),
		Entry("credentials to push from a named Sandbox", "{prompt: x, sandbox: {sandboxRef: {name: dev}}, outputs: [{name: a, branch: {ref: b, credentialsSecretRef: {name: c}}}]}", "needs a Sandbox of the task's own"),
		Entry("the path /etc/passwd", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, path: '/etc/passwd'}]}", "path must be relative"),
		Entry("the path ../a", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, path: '../a'}]}", "path must be relative"),
		Entry("the path a/../b", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, path: 'a/../b'}]}", "path must be relative"),
		Entry("the path a/..", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, path: 'a/..'}]}", "path must be relative"),
		Entry("the path ./a", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, path: './a'}]}", "path must be relative"),
		Entry("the path a//b", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, path: 'a//b'}]}", "path must be relative"),
		Entry("the path a/", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, path: 'a/'}]}", "path must be relative"),
		Entry("the branch refs/heads/x", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: 'refs/heads/x'}}]}", "ref must be the name of a branch"),
		Entry("the branch HEAD", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: 'HEAD'}}]}", "ref must be the name of a branch"),
		Entry("the branch -f", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: '-f'}}]}", "ref must be the name of a branch"),
		Entry("the branch a b", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: 'a b'}}]}", "ref must be the name of a branch"),
		Entry("the branch a..b", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: 'a..b'}}]}", "ref must be the name of a branch"),
		Entry("the branch a.lock", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: 'a.lock'}}]}", "ref must be the name of a branch"),
		Entry("the branch x:main", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: 'x:main'}}]}", "ref must be the name of a branch"),
		Entry("the branch {{other}}", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: '{{other}}'}}]}", "ref must be the name of a branch"),
		Entry("the branch {{task", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: '{{task'}}]}", "ref must be the name of a branch"),
		Entry("the branch a//b", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: 'a//b'}}]}", "ref must be the name of a branch"),
		Entry("the branch a/", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: 'a/'}}]}", "ref must be the name of a branch"),
		Entry("the branch /a", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: '/a'}}]}", "ref must be the name of a branch"),
		Entry("the branch a~1", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: 'a~1'}}]}", "ref must be the name of a branch"),
		Entry("the branch @", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: '@'}}]}", "ref must be the name of a branch"),
		Entry("an author", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: b, author: {name: 'A <x>', email: a@b}}}]}", "name must be one line"),
		Entry("an author's address", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a/b.git'}}}}, outputs: [{name: a, branch: {ref: b, author: {name: A, email: 'a@b> 0'}}}]}", "email must be an address"),
		Entry("no prompt", "state: Active", "exactly one of prompt and promptFrom"),
		Entry("two prompts", "{prompt: x, promptFrom: {configMapKeyRef: {name: a, key: b}}}", "exactly one of prompt and promptFrom"),
		Entry("an empty prompt", "prompt: ''", "spec.prompt"),
		Entry("a huge prompt", "prompt: "+strings.Repeat("x", 65537), "spec.prompt"),
		Entry("a prompt from nowhere", "promptFrom: {}", "exactly one of prompt and promptFrom"),
		Entry("a prompt from both", "promptFrom: {configMapKeyRef: {name: a, key: b}, secretKeyRef: {name: a, key: b}}", "only one of configMapKeyRef and secretKeyRef"),
		Entry("a verification in a pod of its own, beside a claim", "{prompt: x, sandbox: {template: {volumes: [{name: data, mountPath: /data, persistentVolumeClaim: {claimName: data}}]}}, verify: [{name: a, command: b, isolation: Separate}]}", "make claims and csi volumes readOnly"),
		Entry("a verification in a pod of its own, beside a driver's volume", "{prompt: x, sandbox: {template: {volumes: [{name: data, mountPath: /data, csi: {driver: nfs.example}}]}}, verify: [{name: a, command: b, isolation: Separate}]}", "make claims and csi volumes readOnly"),
		Entry("a verification nowhere", "{prompt: x, verify: [{name: a, command: b, isolation: Alone}]}", "spec.verify[0].isolation"),
		Entry("a verification in a pod of its own, of a workspace of all", "{prompt: x, sandbox: {sandboxRef: {name: dev}}, verify: [{name: a, command: b, isolation: Separate}]}", "isolation Separate needs a checkpoint of the workspace"),
		Entry("a verification in a pod of its own, of a persistent workspace", "{prompt: x, sandbox: {template: {workspace: {persistence: Persistent}}}, verify: [{name: a, command: b, isolation: Separate}]}", "isolation Separate needs a checkpoint of the workspace"),
		Entry("a verification's files of nothing", "{prompt: x, verify: [{name: a, command: b, files: {}}]}", "files.configMapName"),
		Entry("a verification's files without keys", "{prompt: x, verify: [{name: a, command: b, files: {configMapName: tests}}]}", "files.keys"),
		Entry("a verification's files elsewhere", "{prompt: x, verify: [{name: a, command: b, files: {configMapName: tests, keys: [..]}}]}", "must be the name of a file"),
		Entry("a verification's files for an early pod", "{prompt: x, sandbox: {sandboxRef: {name: dev}}, verify: [{name: a, command: b, files: {configMapName: tests, keys: [c]}}]}", "files of verify need a Sandbox of the task's own"),
		Entry("a late prompt for an early pod", "{promptFrom: {configMapKeyRef: {name: a, key: b}}, sandbox: {sandboxRef: {name: dev}}}", "promptFrom needs a Sandbox of the task's own"),
		Entry("two Sandboxes", "{prompt: x, sandbox: {sandboxRef: {name: dev}, template: {image: a}}}", "spec.sandbox"),
		Entry("two models", "{prompt: x, model: {name: a, group: b}}", "spec.model"),
		Entry("an unknown tool", "{prompt: x, tools: {allowed: [rm_rf]}}", "spec.tools.allowed"),
		Entry("no tool", "{prompt: x, tools: {allowed: []}}", "spec.tools.allowed"),
		Entry("a tool twice", "{prompt: x, tools: {allowed: [bash, bash]}}", "Duplicate value"),
		Entry("a cost with a comma", `{prompt: x, limits: {costUSD: "1,5"}}`, "spec.limits.costUSD"),
		Entry("a negative cost", `{prompt: x, limits: {costUSD: "-1"}}`, "spec.limits.costUSD"),
		Entry("a cost in exponents", `{prompt: x, limits: {costUSD: "1e9"}}`, "spec.limits.costUSD"),
		Entry("a cost that is no string", `{prompt: x, limits: {costUSD: 1.5}}`, "spec.limits.costUSD"),
		Entry("no money", `{prompt: x, limits: {costUSD: "0"}}`, "costUSD must be more than 0; leave it out for no limit"),
		Entry("no money in digits", `{prompt: x, limits: {costUSD: "00.000"}}`, "costUSD must be more than 0; leave it out for no limit"),
		Entry("a verification's name of two lines", `{prompt: x, verify: [{name: "a\nb", command: b}]}`, "name must be one line without control characters"),
		Entry("no turn", "{prompt: x, limits: {turns: 0}}", "spec.limits.turns"),
		Entry("two verifications of a name", "{prompt: x, verify: [{name: a, command: b}, {name: a, command: c}]}", "Duplicate value"),
		Entry("an unknown state", "{prompt: x, state: Paused}", "spec.state"),
		Entry("an unknown field", "{prompt: x, modell: {name: a}}", "unknown field"),
		Entry("a password in a git URL", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://me:secret@git.example/a'}}}}}", "must not hold credentials"),
		Entry("a user in a git URL", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://token@git.example/a'}}}}}", "must not hold credentials"),
		Entry("a path as a git URL", "{prompt: x, sandbox: {template: {workspace: {git: {url: /home/me/repo}}}}}", "must begin with https:// or http://"),
		Entry("a git URL over ssh", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'ssh://git@git.example/a'}}}}}", "no ssh, git, file"),
		Entry("a short git URL over ssh", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'git@git.example:team/a.git'}}}}}", "no ssh, git, file"),
		Entry("the git protocol", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'git://git.example/a'}}}}}", "no ssh, git, file"),
		Entry("a git URL with a query", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a?token=x'}}}}}", "must begin with"),
		Entry("a git URL of two lines", `{prompt: x, sandbox: {template: {workspace: {git: {url: "https://git.example/a\nb"}}}}}`, "must begin with"),
		Entry("a git URL that is written backwards", `{prompt: x, sandbox: {template: {workspace: {git: {url: "https://git.example/a\u202eb"}}}}}`, "must begin with"),
		Entry("an unknown way to send credentials", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a', plainHTTP: Maybe}}}}}", "plainHTTP"),
		Entry("a local git URL", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'file:///etc'}}}}}", "must begin with"),
		Entry("a git URL that runs a command", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'ext::sh -c id'}}}}}", "must begin with"),
		Entry("a ref that is an option", "{prompt: x, sandbox: {template: {workspace: {git: {url: 'https://git.example/a', ref: '--upload-pack=id'}}}}}", "must not begin with a dash"),
		Entry("a volume of nothing", "{prompt: x, sandbox: {template: {volumes: [{name: a, mountPath: /data}]}}}", "exactly one of emptyDir"),
		Entry("a volume of two kinds", "{prompt: x, sandbox: {template: {volumes: [{name: a, mountPath: /data, emptyDir: {}, secret: {secretName: b}}]}}}", "exactly one of emptyDir"),
		Entry("a volume nowhere", "{prompt: x, sandbox: {template: {volumes: [{name: a, mountPath: data, emptyDir: {}}]}}}", "mountPath"),
		Entry("a folder of the node", "{prompt: x, sandbox: {template: {volumes: [{name: a, mountPath: /data, hostPath: {path: /}}]}}}", "unknown field"),
		Entry("two volumes of a name", "{prompt: x, sandbox: {template: {volumes: [{name: a, mountPath: /data, emptyDir: {}}, {name: a, mountPath: /mnt, emptyDir: {}}]}}}", "Duplicate value"),
		Entry("a proxy with a password", "{prompt: x, sandbox: {template: {proxy: {httpsProxy: 'http://me:secret@proxy.example.com:3128'}}}}", "without a user and a password"),
		Entry("a proxy with a user", "{prompt: x, sandbox: {template: {proxy: {httpProxy: 'http://me@proxy.example.com:3128'}}}}", "proxy.httpProxy"),
		Entry("a proxy by SOCKS", "{prompt: x, sandbox: {template: {proxy: {httpProxy: 'socks5://proxy.example.com'}}}}", "proxy.httpProxy"),
		Entry("an exception that kubelet would expand", "{prompt: x, sandbox: {template: {proxy: {noProxy: ['$(HOME)']}}}}", "proxy.noProxy"),
		Entry("authorities of no key", "{prompt: x, sandbox: {template: {caBundle: {name: corporate}}}}", "caBundle.key"),
		Entry("an unknown egress", "{prompt: x, sandbox: {template: {network: {egress: Closed}}}}", "network.egress"),
		Entry("what an Open network may reach", "{prompt: x, sandbox: {template: {network: {egress: Open, allow: [{}]}}}}", "allow needs egress Restricted"),
		Entry("what a default network may reach", "{prompt: x, sandbox: {template: {network: {allow: [{}]}}}}", "allow needs egress Restricted"),
		Entry("a git repository without a URL", "{prompt: x, sandbox: {template: {workspace: {git: {}}}}}", "git.url"),
		Entry("a reference to nothing", "{prompt: x, sandbox: {sandboxRef: {}}}", "sandboxRef.name"),
		Entry("tools without a list, which could mean all or none", "{prompt: x, tools: {}}", "spec.tools.allowed"),
		Entry("too long a list of it", "{prompt: x, sandbox: {template: {network: {egress: Restricted, allow: ["+strings.Repeat("{}, ", 32)+"{}]}}}}", "network.allow"),
		Entry("an unknown persistence", "{prompt: x, sandbox: {template: {workspace: {persistence: Eternal}}}}", "workspace.persistence"),
		Entry("a rule that opens everything", "{prompt: x, sandbox: {template: {network: {egress: Restricted, allow: [{}]}}}}", "would open everything"),
		Entry("no size", "{prompt: x, sandbox: {template: {workspace: {sizeLimit: '0'}}}}", "sizeLimit must be more than 0"),
		Entry("a StorageClass of a default workspace", "{prompt: x, sandbox: {template: {workspace: {storageClassName: fast}}}}", "storageClassName needs persistence Persistent"),
		Entry("too many attempts", "{prompt: x, retry: {maxAttempts: 11}}", "spec.retry.maxAttempts"),
	)

	It("bounds names, so that those made from them fit", func(ctx SpecContext) {
		Expect(dryRun(ctx, "AgentTask", strings.Repeat("x", 52), "prompt: x")).To(Succeed())
		Expect(dryRun(ctx, "AgentTask", strings.Repeat("x", 53), "prompt: x")).To(MatchError(ContainSubstring("at most 52 characters")))
		Expect(dryRun(ctx, "Sandbox", strings.Repeat("x", 56), "state: Running")).To(Succeed())
		Expect(dryRun(ctx, "Sandbox", strings.Repeat("x", 57), "state: Running")).To(MatchError(ContainSubstring("at most 56 characters")))
	})

	DescribeTable("lets nobody change", func(ctx SpecContext, field string, change func(*v1alpha1.AgentTaskSpec)) {
		ns := newNamespace(ctx)
		full := func(t *v1alpha1.AgentTask) {
			t.Spec.SystemPrompt = "s"
			t.Spec.Model.Name = "m"
			t.Spec.Sandbox.Template.Image = "i"
			t.Spec.Tools.Allowed = []v1alpha1.ToolName{"bash"}
			t.Spec.Limits.Turns = 5
			t.Spec.Retry.MaxAttempts = 2
		}
		bare := objects.MakeTask("bare").Namespace(ns).Obj()
		filled := objects.MakeTask("filled").Namespace(ns).Verify("v", "true").With(full).Obj()
		for _, task := range []*v1alpha1.AgentTask{bare, filled} {
			Expect(api.Client.Create(ctx, task)).To(Succeed())
			before := task.DeepCopy()
			change(&task.Spec)
			Expect(api.Client.Patch(ctx, task, client.MergeFrom(before))).To(MatchError(ContainSubstring(field+" is immutable")), task.Name)
		}
		before := filled.DeepCopy()
		filled.Spec = bare.Spec
		filled.Spec.Prompt, filled.Spec.PromptFrom = "", v1alpha1.PromptSource{ConfigMapKeyRef: v1alpha1.KeyReference{Name: "a", Key: "b"}}
		Expect(api.Client.Patch(ctx, filled, client.MergeFrom(before))).NotTo(Succeed(), "nor take anything away")
	},
		Entry(nil, "prompt", func(s *v1alpha1.AgentTaskSpec) { s.Prompt = "other" }),
		Entry(nil, "promptFrom", func(s *v1alpha1.AgentTaskSpec) {
			s.Prompt, s.PromptFrom = "", v1alpha1.PromptSource{ConfigMapKeyRef: v1alpha1.KeyReference{Name: "a", Key: "b"}}
		}),
		Entry(nil, "systemPrompt", func(s *v1alpha1.AgentTaskSpec) { s.SystemPrompt = "other" }),
		Entry(nil, "model", func(s *v1alpha1.AgentTaskSpec) { s.Model.Name = "other" }),
		Entry(nil, "sandbox", func(s *v1alpha1.AgentTaskSpec) { s.Sandbox.Template.Image = "other" }),
		Entry(nil, "tools", func(s *v1alpha1.AgentTaskSpec) { s.Tools.Allowed = []v1alpha1.ToolName{"grep"} }),
		Entry(nil, "limits", func(s *v1alpha1.AgentTaskSpec) { s.Limits.Turns = 6 }),
		Entry(nil, "verify", func(s *v1alpha1.AgentTaskSpec) { s.Verify = []v1alpha1.Verification{{Name: "v", Command: "false"}} }),
		Entry(nil, "retry", func(s *v1alpha1.AgentTaskSpec) { s.Retry.MaxAttempts = 9 }),
	)

	It("lets a user pause, go on, cancel and change the TTL, but not wake the dead", func(ctx SpecContext) {
		task := objects.MakeTask("x").Namespace(newNamespace(ctx)).Obj()
		Expect(api.Client.Create(ctx, task)).To(Succeed())
		Expect(task.Spec.State).To(Equal(v1alpha1.TaskActive), "the default")
		task.Spec.TTLSecondsAfterFinished = new(int32(5))
		for _, state := range []v1alpha1.TaskState{v1alpha1.TaskSuspended, v1alpha1.TaskActive, v1alpha1.TaskCancelled} {
			task.Spec.State = state
			Expect(api.Client.Update(ctx, task)).To(Succeed())
		}
		for _, state := range []v1alpha1.TaskState{v1alpha1.TaskSuspended, v1alpha1.TaskActive} {
			task.Spec.State = state
			Expect(api.Client.Update(ctx, task)).To(MatchError(ContainSubstring("a cancelled AgentTask stays cancelled")))
		}
	})

	It("bounds a Sandbox's times without a task, and lets a user change them", func(ctx SpecContext) {
		for _, spec := range []string{"idleSeconds: 0", "idleSeconds: 31536001", "ttlSeconds: 0", "ttlSeconds: 31536001"} {
			field, _, _ := strings.Cut(spec, ":")
			Expect(dryRun(ctx, "Sandbox", "x", spec)).To(MatchError(ContainSubstring("spec."+field)), spec)
		}
		sb := objects.MakeSandbox("x").Namespace(newNamespace(ctx)).Obj()
		Expect(api.Client.Create(ctx, sb)).To(Succeed())
		for _, seconds := range []int32{1, 31536000, 0} {
			sb.Spec.IdleSeconds, sb.Spec.TTLSeconds = seconds, seconds
			Expect(api.Client.Update(ctx, sb)).To(Succeed())
		}
	})

	It("keeps a Sandbox's template", func(ctx SpecContext) {
		sb := objects.MakeSandbox("x").Namespace(newNamespace(ctx)).Image("a").Obj()
		Expect(api.Client.Create(ctx, sb)).To(Succeed())
		sb.Spec.Template.Image = "b"
		Expect(api.Client.Update(ctx, sb)).To(MatchError(ContainSubstring("template is immutable")))
	})
})
