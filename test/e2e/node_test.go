package e2e

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/internal/podapi"
)

var (
	//go:embed testdata/processes.py
	processesScript string
	//go:embed testdata/pause_kubelet.py
	pauseScript string
)

// nodePod looks at the machine's processes, from outside of every sandbox. The
// clusters of this suite have one machine, of which Kubernetes may make two nodes.
const nodePod = `
apiVersion: v1
kind: Namespace
metadata:
  name: %[1]s
  labels: {%[2]s: %[3]s, pod-security.kubernetes.io/enforce: privileged}
---
apiVersion: v1
kind: Pod
metadata: {name: node, namespace: %[1]s}
spec:
  hostPID: true
  terminationGracePeriodSeconds: 0
  tolerations: [{operator: Exists}]
  containers:
  - name: node
    image: %[4]s
    command: [sleep, infinity]
    securityContext: {privileged: true, runAsUser: 0, runAsGroup: 0}
    volumeMounts: [{name: folder, mountPath: %[5]s}]
  volumes: [{name: folder, hostPath: {path: %[5]s, type: DirectoryOrCreate}}]
`

// nodeFolder is a folder of the node, for volumes.
const nodeFolder = "/var/tmp/sampan-e2e"

func nodeNamespace() string { return "e2e-node-" + run }

func openNode() {
	GinkgoHelper()
	_, err := tryKubectl(fmt.Sprintf(nodePod, nodeNamespace(), runLabel, run, sandboxImage, nodeFolder), "apply", "-f", "-")
	Expect(err).NotTo(HaveOccurred())
	kubectl("-n", nodeNamespace(), "wait", "--for=condition=Ready", "pod/node", "--timeout=2m")
}

type process struct {
	PID  int
	Args []string
}

func onNode(want map[string]any) []process {
	GinkgoHelper()
	input, err := json.Marshal(want)
	Expect(err).NotTo(HaveOccurred())
	out, err := tryKubectl(string(input), "-n", nodeNamespace(), "exec", "-i", "node", "--", "python3", "-c", processesScript)
	Expect(err).NotTo(HaveOccurred())
	var found []process
	Expect(json.Unmarshal([]byte(out), &found)).To(Succeed())
	return found
}

// processesWith are the node's processes with a text in their command line.
func processesWith(argument string) []process {
	GinkgoHelper()
	return onNode(map[string]any{"argument": argument})
}

// signalOnNode sends a signal to the one process of a container that was started
// with these arguments.
func signalOnNode(signal string, pod *corev1.Pod, container string, args ...string) {
	GinkgoHelper()
	id := ""
	Eventually(func(g Gomega) { // kubelet may say it a moment after the container runs
		now := &corev1.Pod{}
		g.Expect(cluster.Get(suiteContext(), client.ObjectKeyFromObject(pod), now)).To(Succeed())
		for _, c := range now.Status.ContainerStatuses {
			if c.Name == container {
				_, id, _ = strings.Cut(c.ContainerID, "://")
			}
		}
		g.Expect(id).NotTo(BeEmpty(), "container %s has no id", container)
	}).Should(Succeed())
	onNode(map[string]any{"container": id, "signal": signal, "to": args})
}

func signalRunner(signal string, pod *corev1.Pod) {
	GinkgoHelper()
	signalOnNode(signal, pod, podapi.RunnerContainer, "agent-runner", "run", "--in-cluster")
}

func killSandboxServer(pod *corev1.Pod) {
	GinkgoHelper()
	signalOnNode("SIGKILL", pod, podapi.SandboxContainer, "agent-runner", "sandbox", "--socket", podapi.SocketPath, "--workspace", podapi.WorkspaceDir)
}

// spareTaint is on nodes that are there for leaveNode alone.
const spareTaint = "devcluster/spare"

// leaveNode makes new pods go to another node until the spec ends, if there is one.
func leaveNode(node string) (left bool) {
	GinkgoHelper()
	var nodes corev1.NodeList
	Expect(cluster.List(suiteContext(), &nodes)).To(Succeed())
	for i := range nodes.Items {
		other := nodes.Items[i].Name
		if other == node || !slices.ContainsFunc(nodes.Items[i].Spec.Taints, func(t corev1.Taint) bool { return t.Key == spareTaint }) {
			continue
		}
		DeferCleanup(func() {
			kubectl("uncordon", node)
			kubectl("taint", "--overwrite", "node", other, spareTaint+":NoSchedule")
		})
		kubectl("cordon", node)
		kubectl("taint", "node", other, spareTaint+"-")
		return true
	}
	return false
}

// silenceNode makes a node's kubelet stop for so long, and returns when it does
// not answer any more.
func silenceNode(node string, d time.Duration) {
	GinkgoHelper()
	answers := func() error {
		_, err := tryKubectl("", "get", "--raw", "/api/v1/nodes/"+node+"/proxy/healthz", "--request-timeout=3s")
		return err
	}
	Expect(answers()).To(Succeed())
	seconds := strconv.Itoa(int(d.Seconds()))
	kubectl("-n", nodeNamespace(), "exec", "node", "--", "python3", "-c", pauseScript, node, seconds)
	Eventually(answers).ShouldNot(Succeed())
}

// awaitRunning waits until a command with such an argument runs, awaitGone
// until none does.
func awaitRunning(argument string) {
	GinkgoHelper()
	Eventually(func() []process { return processesWith(argument) }).ShouldNot(BeEmpty())
}

func awaitGone(argument string) {
	GinkgoHelper()
	Eventually(func() []process { return processesWith(argument) }).Should(BeEmpty())
}
