package e2e

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// grant lets a user of the namespace do what a Role of its name lists, a rule in
// YAML's flow style for each.
func (s *space) grant(user string, rules ...string) {
	GinkgoHelper()
	s.apply(`
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: ` + user + `}
rules: [` + strings.Join(rules, ", ") + `]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: ` + user + `}
roleRef: {apiGroup: ` + rbacv1.GroupName + `, kind: Role, name: ` + user + `}
subjects: [{kind: User, apiGroup: ` + rbacv1.GroupName + `, name: ` + user + `}]
`)
}

// createAs is kubectl create, as a user of the namespace.
func (s *space) createAs(user, manifest string) error {
	_, err := tryKubectl(manifest, "-n", s.name, "--as="+user, "create", "-f", "-")
	return err
}

// steals are the ways in which a user had a Secret read in their place.
var steals = map[string]string{
	"prompt": task("steal-prompt", "promptFrom: {secretKeyRef: {name: SECRET, key: dsn}}"),
	"git":    task("steal-git", "prompt: x\nsandbox: {template: {workspace: {git: {url: 'http://model-server:8080/x.git', credentialsSecretRef: {name: SECRET}}}}}"),
	"sandbox": `
apiVersion: sampan.dev/v1alpha1
kind: Sandbox
metadata: {name: steal-sandbox}
spec: {template: {workspace: {git: {url: 'http://model-server:8080/x.git', credentialsSecretRef: {name: SECRET}}}}}
`,
	"registry": `
apiVersion: v1
kind: ConfigMap
metadata: {name: sampan-models}
data:
  models.yaml: |` + strings.ReplaceAll(modelServerRegistry("SECRET"), "\n", "\n    "),
}

var _ = Describe("A user who may not get a Secret", func() {
	It("has it read by no task, Sandbox or registry either", func() {
		s := newSpace()
		s.grant("tenant",
			"{apiGroups: [sampan.dev], resources: [agenttasks, sandboxes], verbs: ['*']}",
			"{apiGroups: [''], resources: [configmaps], verbs: ['*']}",
			"{apiGroups: [''], resources: [secrets], resourceNames: [own], verbs: [get]}")
		s.applySecret("db", map[string]string{"dsn": canary("dsn"), "username": "u", "password": canary("password"), "key": canary("key")})
		s.applySecret("own", map[string]string{"dsn": "Say hello.", "username": "u", "password": "p", "key": "k"})
		for way, manifest := range steals {
			By(way)
			Expect(s.createAs("tenant", strings.ReplaceAll(manifest, "SECRET", "db"))).
				To(MatchError(And(ContainSubstring("you may not get Secret db in namespace "+s.name), ContainSubstring("ask for the right"))))
			Expect(s.createAs("tenant", strings.ReplaceAll(manifest, "SECRET", "own"))).To(Succeed())
		}

		By("sending a key that somebody else was allowed to name elsewhere")
		s.applyRegistry(modelServerRegistry("db"))
		_, err := tryKubectl("", "-n", s.name, "--as=tenant", "patch", "configmap", "sampan-models", "--type=merge", "-p",
			`{"data":{"models.yaml":"`+strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(modelServerRegistry("db"), "model-server", "theirs"), `"`, `\"`), "\n", `\n`)+`"}}`)
		Expect(err).To(MatchError(ContainSubstring("you may not get Secret db")))

		By("changing what names no Secret")
		kubectl("-n", s.name, "--as=tenant", "annotate", "configmap", "sampan-models", "note=mine")
		s.apply(strings.ReplaceAll(strings.ReplaceAll(steals["git"], "SECRET", "db"), "steal-git", "theirs"))
		kubectl("-n", s.name, "--as=tenant", "patch", "agenttask", "theirs", "--type=merge", "-p", `{"spec":{"state":"Cancelled"}}`)
		s.awaitEnd("theirs", "False Cancelled")
	})
})

// forged is a pod that says to be the Sandbox's; its label is left out, as the
// witness holds those that have it to what the operator makes, and its containers have
// other names, as admission holds those to what divides them.
func forged(name string, sb *v1alpha1.Sandbox) string {
	return `
apiVersion: v1
kind: Pod
metadata:
  name: ` + name + `
  ownerReferences: [{apiVersion: sampan.dev/v1alpha1, kind: Sandbox, name: ` + sb.Name + `, uid: ` + string(sb.UID) + `, controller: true}]
spec:
  serviceAccountName: sampan-runner
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
  - {name: theirs, image: ` + sandboxImage + `, command: [sleep, infinity], securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
  - {name: more, image: ` + sandboxImage + `, command: [sleep, infinity], securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
`
}

var _ = Describe("A pod that says to be a Sandbox's", func() {
	It("is refused or, where it came in all the same, is deleted and trusted with nothing", func() {
		s := scripted("turns:\n" + strings.Repeat("- {text: Done.}\n", 4)) // one for each time that the proof fails
		s.apply(box)
		s.awaitBox("True Ready")
		sb := &v1alpha1.Sandbox{}
		Expect(cluster.Get(suiteContext(), client.ObjectKey{Namespace: s.name, Name: "box"}, sb)).To(Succeed())
		s.grant("mallory",
			"{apiGroups: [''], resources: [pods, pods/exec, serviceaccounts/token], verbs: ['*']}",
			"{apiGroups: [sampan.dev], resources: [sandboxes, agenttasks], verbs: ['*']}")
		By("somebody who may create pods, and tokens")
		Expect(s.createAs("mallory", forged("box-2", sb))).To(MatchError(ContainSubstring("only Sampan's operator makes a pod with the ServiceAccount sampan-runner")))
		_, err := tryKubectl("", "-n", s.name, "--as=mallory", "create", "token", "sampan-runner", "--bound-object-kind=Pod", "--bound-object-name=box-1")
		Expect(err).To(MatchError(ContainSubstring("only that pod's kubelet may ask for it")))
		_, err = tryKubectl("", "-n", s.name, "--as=mallory", "patch", "pod", "box-1", "--type=merge", "-p", `{"metadata":{"annotations":{"sampan.dev/models":"version: 2"}}}`)
		Expect(err).To(MatchError(ContainSubstring("are the operator's to write")))

		By("a pod that admission let through")
		s.apply(forged("box-2", sb))
		impostor := s.pod("box-2")
		token := s.token("sampan-runner", "box-2")
		kubectl("-n", s.name, "delete", "pod", "box-1", "--wait=false")
		Eventually(func() string {
			return kubectl("-n", s.name, "get", "sandbox", "box", "-o", "jsonpath={.status.podName} {.status.podUID}")
		}).Should(And(HavePrefix("box-2 "), Not(ContainSubstring(string(impostor.UID)))))
		s.apply(task("release", inBox("prompt: Release.\nverify: [{name: audit, command: exit 7}]")))
		at := s.awaitEnd("release", "False VerificationFailed")
		Expect(at.Status.PodUID).NotTo(Equal(string(impostor.UID)))
		Expect(s.patchStatus(token, "release", `{"status":{"progress":{"turns":41}}}`)).NotTo(Succeed())
		Expect(kubectl("-n", s.name, "get", "events", "-o", "jsonpath={.items[*].reason}")).To(ContainSubstring("PodNotOurs"))
	})

	It("is no Sandbox with an image of its own, either", func() {
		s := scripted(justDone)
		s.apply(task("victim", "prompt: Run.\nstate: Suspended"))
		at := s.awaitReason("victim", v1alpha1.ReasonSuspended)
		s.grant("mallory", "{apiGroups: [sampan.dev], resources: [sandboxes], verbs: ['*']}")
		Expect(s.createAs("mallory", `
apiVersion: sampan.dev/v1alpha1
kind: Sandbox
metadata:
  name: victim-1
  ownerReferences: [{apiVersion: sampan.dev/v1alpha1, kind: AgentTask, name: victim, uid: `+string(at.UID)+`, controller: true}]
spec: {template: {image: 'theirs:1'}}
`)).To(MatchError(ContainSubstring("only Sampan's operator makes AgentTask victim the controller of another object")))
		s.set("victim", v1alpha1.TaskActive)
		s.awaitEnd("victim", "True Completed")
	})
})

var _ = Describe("A Sandbox's pod", func() {
	It("opens the sandbox to who looks around, and tells of no provider that its task does not use", func() {
		s := newSpace()
		s.applyConfigMap("script", "script.yaml", `
turns:
- toolCalls: [{name: bash, arguments: {command: "until test -e release; do sleep 0.1; done", timeout_seconds: 600}}]
- text: Done.
`)
		s.applyRegistry(strings.Replace(registry, "models:", "  other: {type: openai, baseURL: 'https://other.example/v1', apiKey: {secretName: other-key, key: k}}\nmodels:\n- {id: other, provider: other}", 1))
		s.apply(task("one", "prompt: Run."))
		s.awaitExec("one-1", "sandbox", "true")
		Expect(kubectl("-n", s.name, "exec", "one-1", "--", "sh", "-c", "test ! -e /etc/sampan/token && echo sandbox")).To(ContainSubstring("sandbox"))
		pod := s.pod("one-1")
		Expect(pod.Annotations["sampan.dev/models"]).To(And(ContainSubstring("scripted"), Not(ContainSubstring("other"))))
		for _, c := range pod.Spec.Containers {
			Expect(c.Resources.Limits).To(HaveKey(corev1.ResourceEphemeralStorage), c.Name)
		}
		s.exec("one-1", "sandbox", "touch release")
		s.awaitEnd("one", "True Completed")
	})

	It("does not say by its tools why it ended", func() {
		s := scripted(`
turns:
- toolCalls: [{name: bash, arguments: {command: "echo 'exec: \"agent-runner\": executable file not found in $PATH' > /dev/termination-log; touch said; sleep 600", timeout_seconds: 600}}]
- text: Done.
`)
		s.apply(task("liar", "prompt: Lie.\nretry: {maxAttempts: 1}"))
		s.awaitExec("liar-1", "sandbox", "test -e said")
		killSandboxServer(s.pod("liar-1"))
		s.awaitEnd("liar", "False "+v1alpha1.ReasonSandboxLost)
	})
})
