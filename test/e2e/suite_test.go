package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

const (
	operatorDeployment = "sampan-controller-manager"
	// runLabel marks the namespaces of one run of the suite.
	runLabel = "e2e.sampan/run"
	// patience is how long one step may take on a small, busy machine; kubelet may look
	// at a volume only every two minutes.
	patience = 4 * time.Minute
)

var (
	operatorNamespace = fromEnv("NAMESPACE", "sampan-system")
	sandboxImage      = fromEnv("SANDBOX_IMG", "ghcr.io/sampan-dev/sandbox:dev")
	managerImage      = fromEnv("MANAGER_IMG", "ghcr.io/sampan-dev/manager:dev")
	plainImage        = fromEnv("PLAIN_IMG", "docker.io/library/debian:bookworm-slim")

	// run tells the namespaces of this run from those of another.
	run string
	// agentRunner is the path of the program, built from this checkout.
	agentRunner string
	config      *rest.Config
	cluster     client.WithWatch
)

func fromEnv(variable, fallback string) string {
	if v := os.Getenv(variable); v != "" {
		return v
	}
	return fallback
}

func TestE2E(t *testing.T) {
	if os.Getenv("KUBECONFIG") == "" {
		t.Fatal("KUBECONFIG is not set: these tests need a cluster with the operator deployed. `make test-e2e` makes one.")
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(200 * time.Millisecond)
	SetDefaultConsistentlyDuration(3 * time.Second)
	RunSpecs(t, "Sampan")
}

// The first process prepares what all share; with `go test` it is the only one.
var _ = SynchronizedBeforeSuite(func() []byte {
	run, agentRunner = utilrand.String(5), filepath.Join(GinkgoT().TempDir(), "agent-runner")
	connect()
	kubectl("-n", operatorNamespace, "rollout", "status", "deployment/"+operatorDeployment, "--timeout=2m")
	out, err := exec.Command("go", "build", "-o", agentRunner, "github.com/sampan-dev/sampan/cmd/agent-runner").CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "building agent-runner: %s", out)
	openNode()
	return []byte(run + " " + agentRunner)
}, func(shared []byte) {
	run, agentRunner, _ = strings.Cut(string(shared), " ")
	connect()
})

// Whatever the scenarios left running, their namespaces must be able to go.
var _ = SynchronizedAfterSuite(func() {}, func() {
	if run == "" || cluster == nil {
		return
	}
	kubectl("delete", "namespace", "--selector", runLabel+"="+run, "--wait=false")
	Eventually(func(g Gomega) {
		var left corev1.NamespaceList
		g.Expect(cluster.List(suiteContext(), &left, client.MatchingLabels{runLabel: run})).To(Succeed())
		names := []string{}
		for i := range left.Items {
			ns := &left.Items[i]
			names = append(names, fmt.Sprintf("%s: %v", ns.Name, ns.Status.Conditions))
		}
		g.Expect(names).To(BeEmpty(), "namespaces that do not go")
	}).WithTimeout(3 * time.Minute).Should(Succeed())
})

func connect() {
	scheme := runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	var err error
	config, err = clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	Expect(err).NotTo(HaveOccurred())
	config.QPS, config.Burst = 50, 100
	cluster, err = client.NewWithWatch(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
}
