package e2e

import (
	_ "embed"
	"encoding/json"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

//go:embed testdata/search.py
var searchScript string

// searched is what search.py saw and where it found a needle.
type searched struct {
	Files, Processes int
	Bytes            int64
	Found            []string
}

// search looks for needles in all that a pod's sandbox container can read.
func (s *space) search(pod string, needles ...string) searched {
	GinkgoHelper()
	input, err := json.Marshal(needles)
	Expect(err).NotTo(HaveOccurred())
	out, err := tryKubectl(string(input), "-n", s.name, "exec", "-i", pod, "-c", "sandbox", "--", "python3", "-c", searchScript)
	Expect(err).NotTo(HaveOccurred())
	var got searched
	Expect(json.Unmarshal([]byte(out), &got)).To(Succeed())
	return got
}

func canary(kind string) string { return "canary-" + kind + "-" + utilrand.String(24) }

func basicAuth(name, user, password string) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeBasicAuth,
		StringData: map[string]string{corev1.BasicAuthUsernameKey: user, corev1.BasicAuthPasswordKey: password},
	}
}

// everythingSaid is all that the cluster's users can read of a namespace, save
// Secrets, and the operator's log.
func (s *space) everythingSaid() string {
	GinkgoHelper()
	text := kubectl("-n", s.name, "get", "agenttasks,sandboxes,pods,configmaps,serviceaccounts,roles,events", "-o", "yaml")
	for _, pod := range s.names("pods", "app.kubernetes.io/managed-by=sampan") {
		text += kubectl("-n", s.name, "logs", pod, "--all-containers")
	}
	return text + kubectl("-n", operatorNamespace, "logs", "deployment/"+operatorDeployment)
}

var _ = Describe("Trust", func() {
	It("keeps every credential out of the sandbox", func() {
		key, password := canary("key"), canary("password")
		s := newSpace()
		s.serveGit("e2e", password)
		s.serveModel(`
turns:
- toolCalls: [{name: bash, arguments: {command: "env; cat /proc/*/environ | tr '\\0' '\\n'; cat .git/config treasure; git log --oneline"}}]
- expectMatch: "(?s)Kept under lock and key.*Hide the treasure"
  toolCalls: [{name: bash, arguments: {command: "touch ready; until test -e release; do sleep 0.1; done", timeout_seconds: 600}}]
- text: I have looked everywhere.
`, key)
		s.apply(task("spy", fromGit("prompt: Find the keys.\nverify: [{name: repository, command: git status --short}]", "git-login")))
		s.awaitExec("spy-1", "sandbox", "test -e ready")
		token := strings.TrimSpace(s.exec("spy-1", "runner", "cat /etc/sampan/token"))
		Expect(strings.Split(token, ".")).To(HaveLen(3), "the runner has a token")
		Expect(s.exec("spy-1", "runner", "env")).To(And(ContainSubstring(key), ContainSubstring(password)), "the runner has the keys")

		got := s.search("spy-1", key, password, token)
		Expect(got.Found).To(BeEmpty())
		Expect(got.Files).To(BeNumerically(">", 1000), "it really looked")
		Expect(got.Processes).To(BeNumerically(">=", 2), "the server and the waiting command")
		Expect(got.Bytes).To(BeNumerically(">", 50<<20))

		By("finding what is there, so that finding nothing means something")
		decoy := canary("decoy")
		_, err := tryKubectl(decoy, "-n", s.name, "exec", "-i", "spy-1", "-c", "sandbox", "--", "bash", "-c",
			`cat > /tmp/decoy; DECOY="$(cat /tmp/decoy)" sleep 600 >/dev/null 2>&1 & base64 -w0 /tmp/decoy > /tmp/encoded`)
		Expect(err).NotTo(HaveOccurred())
		Expect(s.search("spy-1", decoy).Found).To(ContainElements("/tmp/decoy", "/tmp/encoded", MatchRegexp("/proc/[0-9]+/environ")))

		s.exec("spy-1", "sandbox", "touch release")
		s.awaitEnd("spy", "True Completed")
		said := s.everythingSaid()
		Expect(said).To(ContainSubstring("I have looked everywhere."))
		for _, secret := range []string{key, password, token} {
			Expect(strings.Contains(said, secret)).To(BeFalse(), "%s... was said", secret[:16])
		}
	})

	It("says no key that an endpoint repeats", func() {
		key := canary("key")
		s := newSpace()
		s.serveModel(`
cases:
- match: refuse
  turns:
  - fault: {status: 403, body: '{"error": {"message": "`+key+` may not"}}'}
- match: chat
  turns:
  - toolCalls: [{name: bash, arguments: {command: "echo `+key+`"}}]
  - text: Your key is `+key+`, is it not?
`, key)
		s.apply(task("refused", "prompt: Please refuse."), task("chatty", "prompt: Let us chat."))
		Expect(s.awaitEnd("refused", "False ModelUnavailable").Status.Result.Message).To(ContainSubstring("may not"))
		Expect(s.awaitEnd("chatty", "True Completed").Status.Result.Message).To(ContainSubstring("Your key is"))
		kubectl("-n", s.name, "delete", "configmap", "model-server") // it holds the key by our own doing
		Expect(strings.Contains(s.everythingSaid(), key)).To(BeFalse())
	})

	It("names a repository that cannot be cloned, and no password", func() {
		password, wrong := canary("password"), canary("wrong")
		s := scripted(justDone)
		s.serveGit("e2e", password)
		s.applyObject(basicAuth("wrong-login", "e2e", wrong))
		s.apply(task("locked", fromGit("prompt: Look.", "wrong-login")))
		at := s.awaitEnd("locked", "False WorkspaceFailed")
		Expect(succeeded(at).Message).To(ContainSubstring("http://git-server:8080/locked.git"))
		Expect(strings.Contains(s.everythingSaid(), wrong)).To(BeFalse())
	})

	It("refuses a status that another than the task's own pod writes", func() {
		s := scripted(`
turns:
- toolCalls: [{name: bash, arguments: {command: "until test -e release; do sleep 0.1; done", timeout_seconds: 600}}]
- text: Done.
`)
		s.apply(task("mine", "prompt: Wait."), task("other", "prompt: Wait."))
		s.awaitReason("mine", v1alpha1.ReasonRunning)
		s.awaitReason("other", v1alpha1.ReasonRunning)
		// Whoever may make pods can make one with the runner's account, and so a
		// token that has all its rights.
		account := s.pod("mine-1").Spec.ServiceAccountName
		s.apply(`
apiVersion: v1
kind: Pod
metadata: {name: impostor}
spec:
  serviceAccountName: ` + account + `
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: idle
    image: ` + sandboxImage + `
    command: [sleep, infinity]
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`)
		own := s.token(account, "mine-1")
		victory := `{"status":{"result":{"attempt":1,"reason":"Completed","message":"forged"}}}`
		progress := `{"status":{"progress":{"turns":41}}}`

		By("another task's runner")
		Expect(s.patchStatus(s.token(s.pod("other-1").Spec.ServiceAccountName, "other-1"), "mine", victory)).To(MatchError(ContainSubstring("forbidden")))
		By("another pod with the right account")
		Expect(s.patchStatus(s.token(account, "impostor"), "mine", victory)).
			To(MatchError(ContainSubstring("may be written only by the runner of the pod that status.podName names")))
		By("the right account without a pod")
		Expect(s.patchStatus(s.token(account, ""), "mine", victory)).
			To(MatchError(ContainSubstring("may be written only by the runner of the pod that status.podName names")))
		By("the task's own runner, beyond its part")
		for _, forged := range []string{
			`{"status":{"conditions":[{"type":"Succeeded","status":"True","reason":"Completed","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`,
			`{"status":{"podName":"impostor"}}`,
			`{"status":{"attempt":7}}`,
			`{"status":{"completionTime":"2026-01-01T00:00:00Z"}}`,
		} {
			Expect(s.patchStatus(own, "mine", forged)).To(MatchError(ContainSubstring("a runner may write only")), forged)
		}
		Expect(s.patchStatus(own, "mine", strings.Replace(victory, ":1,", ":2,", 1))).
			To(MatchError(ContainSubstring("must be status.attempt")))
		By("its part, which it may write")
		Expect(s.patchStatus(own, "mine", progress)).To(Succeed())
		Expect(s.get("mine").Status.Result.Message).To(BeEmpty())

		By("the task's own runner, but not its spec, another object or a Secret")
		runner := s.clientWith(own)
		Expect(runner.Patch(suiteContext(), s.get("mine"), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"state":"Cancelled"}}`)))).
			To(MatchError(ContainSubstring("forbidden")))
		Expect(runner.List(suiteContext(), &corev1.SecretList{}, client.InNamespace(s.name))).To(MatchError(ContainSubstring("forbidden")))
		Expect(runner.List(suiteContext(), &corev1.PodList{}, client.InNamespace(s.name))).To(MatchError(ContainSubstring("forbidden")))

		By("nobody after the end")
		s.exec("mine-1", "sandbox", "touch release")
		s.awaitEnd("mine", "True Completed")
		Expect(s.patchStatus(own, "mine", progress)).To(MatchError(ContainSubstring("the AgentTask has ended")))
		Expect(s.get("mine").Status.Result.Message).To(Equal("Done."))
	})
})

// token mints a token of a service account, bound to a pod if one is named.
func (s *space) token(account, pod string) string {
	GinkgoHelper()
	args := []string{"-n", s.name, "create", "token", account}
	if pod != "" {
		args = append(args, "--bound-object-kind=Pod", "--bound-object-name="+pod)
	}
	return strings.TrimSpace(kubectl(args...))
}

// clientWith talks to the API server with nothing but a token.
func (s *space) clientWith(token string) client.Client {
	GinkgoHelper()
	bare := rest.AnonymousClientConfig(config)
	bare.BearerToken = token
	c, err := client.New(bare, client.Options{Scheme: cluster.Scheme(), Mapper: cluster.RESTMapper()})
	Expect(err).NotTo(HaveOccurred())
	return c
}

func (s *space) patchStatus(token, name, patch string) error {
	GinkgoHelper()
	at := &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: name}}
	return s.clientWith(token).Status().Patch(suiteContext(), at, client.RawPatch(types.MergePatchType, []byte(patch)))
}
