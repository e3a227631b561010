package e2e

import (
	"fmt"
	"path"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// volume is a folder of the node as a PersistentVolume of a StorageClass of its
// own, as an administrator without a provisioner sets it up.
const volume = `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: NAME}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: NAME}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: NAME
  local: {path: PATH}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [NODE]}]
`

// makeVolume gives the name of a new StorageClass with one volume.
func (s *space) makeVolume() string {
	GinkgoHelper()
	node := kubectl("get", "nodes", "-o", `jsonpath={.items[0].metadata.labels.kubernetes\.io/hostname}`)
	name, folder := s.name, path.Join(nodeFolder, s.name)
	inNode := []string{"-n", nodeNamespace(), "exec", "node", "--"}
	kubectl(append(inNode, "mkdir", folder)...)
	DeferCleanup(func() {
		// The namespace goes later than this; its claim keeps the volume until then.
		kubectl("delete", "persistentvolume,storageclass", name, "--wait=false")
		kubectl(append(inNode, "rm", "-rf", folder)...)
	})
	_, err := tryKubectl(strings.NewReplacer("NAME", name, "PATH", folder, "NODE", node).Replace(volume), "apply", "-f", "-")
	Expect(err).NotTo(HaveOccurred())
	return name
}

// setBox changes spec.state of the Sandbox.
func (s *space) setBox(state v1alpha1.SandboxState) {
	GinkgoHelper()
	kubectl("-n", s.name, "patch", "sandbox", "box", "--type=merge", "-p", fmt.Sprintf(`{"spec":{"state":%q}}`, state))
}

// awaitBox waits until the Sandbox's Ready is, in the words of `kubectl get`,
// "False Idle".
func (s *space) awaitBox(want string) {
	GinkgoHelper()
	Eventually(func() string {
		return kubectl("-n", s.name, "get", "sandbox", "box", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].reason}`)
	}).Should(Equal(want))
}

// awaitNoPod waits until a pod is gone.
func (s *space) awaitNoPod(name string) {
	GinkgoHelper()
	Eventually(func() bool {
		return apierrors.IsNotFound(cluster.Get(suiteContext(), types.NamespacedName{Namespace: s.name, Name: name}, &corev1.Pod{}))
	}).Should(BeTrue(), "Pod %s is still there", name)
}

var _ = Describe("A workbench", func() {
	It("keeps its workspace when it is suspended, and git does not run again", func() {
		s := scripted(`
cases:
- match: first
  turns:
  - toolCalls: [{name: bash, arguments: {command: "test -d .git && git log -1 --format=%s && echo left by the first > note"}}]
  - text: First done.
- match: second
  turns:
  - toolCalls: [{name: read_file, arguments: {path: note}}]
  - expect: left by the first
    toolCalls: [{name: bash, arguments: {command: "cat note; git status --porcelain"}}]
  - expectMatch: "(?s)left by the first.*note"
    text: Second done.
`)
		class := s.makeVolume()
		s.serveGit("robot", "hush")
		s.apply(fmt.Sprintf(`
apiVersion: sampan.dev/v1alpha1
kind: Sandbox
metadata: {name: box}
spec:
  template:
    workspace:
      sizeLimit: 1Gi
      persistence: Persistent
      storageClassName: %s
      git: {url: 'http://git-server:8080/locked.git', depth: 1, credentialsSecretRef: {name: git-login}}
`, class), task("first", inBox("prompt: Be the first.\nverify: [{name: note, command: test -s note}]")))
		s.awaitEnd("first", "True Completed")
		claim := kubectl("-n", s.name, "get", "persistentvolumeclaim", "box", "-o", "jsonpath={.metadata.uid} {.status.phase}")
		Expect(claim).To(HaveSuffix(" Bound"))

		By("keeping the runner's record from the tools")
		Expect(s.exec("box-1", "runner", "cat "+podapi.RecordDir+"/checkout.json")).To(ContainSubstring("locked.git"))
		_, err := s.tryExec("box-1", "sandbox", "ls "+podapi.RecordDir)
		Expect(err).To(HaveOccurred())

		By("suspending it, and taking the git server away")
		s.setBox(v1alpha1.SandboxSuspended)
		s.awaitBox("False Suspended")
		s.awaitNoPod("box-1")
		kubectl("-n", s.name, "delete", "pod", "git-server", "--wait=true")
		s.setBox(v1alpha1.SandboxRunning)
		s.apply(task("second", inBox("prompt: Be the second.")))
		at := s.awaitEnd("second", "True Completed")
		Expect(at.Status.PodName).To(Equal("box-2"))
		Expect(kubectl("-n", s.name, "get", "persistentvolumeclaim", "box", "-o", "jsonpath={.metadata.uid} {.status.phase}")).To(Equal(claim))

		By("giving the volume up with the Sandbox")
		kubectl("-n", s.name, "delete", "sandbox", "box", "--timeout=60s")
		Eventually(func() []string { return s.names("persistentvolumeclaims", podspec.LabelSandbox+"=box") }).Should(BeEmpty())
	})

	It("says which StorageClass does not exist", func() {
		s := scripted(justDone)
		s.apply(`
apiVersion: sampan.dev/v1alpha1
kind: Sandbox
metadata: {name: box}
spec: {template: {workspace: {persistence: Persistent, storageClassName: nowhere}}}
`, task("waits", inBox("prompt: Run.")))
		at := s.awaitReason("waits", v1alpha1.ReasonVolumeUnbound)
		Expect(succeeded(at).Message).To(And(ContainSubstring("nowhere"), ContainSubstring("not found")))
	})

	It("gives up its pod when nobody needs it, and gets one for the next task", func() {
		s := scripted(justDone)
		s.apply(`
apiVersion: sampan.dev/v1alpha1
kind: Sandbox
metadata: {name: box}
spec: {idleSeconds: 5}
`, task("first", inBox("prompt: Run.")))
		s.awaitEnd("first", "True Completed")
		s.awaitBox("False Idle")
		s.awaitNoPod("box-1")
		s.apply(task("second", inBox("prompt: Run.")))
		at := s.awaitEnd("second", "True Completed")
		Expect(at.Status.PodName).To(Equal("box-2"))
		Expect(at.Status.Attempt).To(BeEquivalentTo(1))
	})

	It("goes when nobody needs it", func() {
		s := scripted(justDone)
		s.apply(`
apiVersion: sampan.dev/v1alpha1
kind: Sandbox
metadata: {name: box}
spec: {ttlSeconds: 5}
`)
		Eventually(func() []string {
			return strings.Fields(kubectl("-n", s.name, "get", "sandboxes,pods", "-o", "name"))
		}).WithTimeout(time.Minute).Should(BeEmpty())
	})
})

var _ = Describe("A Restricted Sandbox", func() {
	It("runs tasks, and has its policy put back", func() {
		s := newSpace()
		s.serveModel(justDone, "a-key")
		s.apply(`
apiVersion: sampan.dev/v1alpha1
kind: Sandbox
metadata: {name: box}
spec: {template: {network: {egress: Restricted}}}
`, task("runs", inBox("prompt: Run.")))
		s.awaitEnd("runs", "True Completed")
		policies := func() string {
			return kubectl("-n", s.name, "get", "networkpolicies", "-o", "jsonpath={range .items[*]}{.metadata.name}={.spec.policyTypes[*]} {.spec.egress[*].to[*].namespaceSelector.matchLabels}{\"\\n\"}{end}")
		}
		want := policies()
		Expect(want).To(And(ContainSubstring("sampan-sandbox-box=Egress"), ContainSubstring(s.name), ContainSubstring("sampan-sandboxes=Ingress")))
		kubectl("-n", s.name, "delete", "networkpolicy", "sampan-sandbox-box")
		Eventually(policies).Should(Equal(want))
		kubectl("-n", s.name, "patch", "networkpolicy", "sampan-sandbox-box", "--type=merge", "-p", `{"spec":{"egress":[{}]}}`)
		Eventually(policies).Should(Equal(want))
	})

	It("is waited for until what was left of it is gone, when its task is replaced", func() {
		s := newSpace()
		s.serveModel(justDone, "a-key")
		again := task("again", "prompt: Run.\nsandbox: {template: {network: {egress: Restricted}}}")
		s.apply(again)
		first := s.awaitEnd("again", "True Completed")
		policy := func(patch string) {
			kubectl("-n", s.name, "patch", "networkpolicy", "sampan-sandbox-again", "--type=merge", "-p", patch)
		}
		policy(`{"metadata":{"finalizers":["e2e.sampan.dev/held"]}}`)
		_, err := tryKubectl(again, "-n", s.name, "replace", "--force", "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		Eventually(func() string { return succeeded(s.get("again")).Message }).Should(ContainSubstring("Waiting for NetworkPolicy sampan-sandbox-again"))
		policy(`{"metadata":{"finalizers":null}}`)
		Expect(s.awaitEnd("again", "True Completed").UID).NotTo(Equal(first.UID))
		Expect(kubectl("-n", s.name, "get", "events", "-o", "jsonpath={.items[?(@.type=='Warning')].reason}")).
			NotTo(ContainSubstring(v1alpha1.ReasonNameConflict))
	})
})
