package e2e

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
)

// explain prints all that helps to find out why a scenario failed.
func (s *space) explain() {
	show := func(title string, args ...string) {
		out, err := tryKubectl("", args...)
		if err != nil {
			out += err.Error()
		}
		GinkgoWriter.Printf("\n===== %s\n%s\n", title, strings.TrimSpace(out))
	}
	show("tasks", "-n", s.name, "get", "agenttasks", "-o", "yaml")
	show("sandboxes", "-n", s.name, "get", "sandboxes", "-o", "yaml")
	show("probes", "-n", s.name, "get", "modelprobes", "-o", "yaml")
	show("pods", "-n", s.name, "get", "pods", "-o", "yaml")
	show("events", "-n", s.name, "get", "events", "--sort-by=.metadata.creationTimestamp")
	pods, _ := tryKubectl("", "-n", s.name, "get", "pods", "-o", "name")
	for _, pod := range strings.Fields(pods) {
		show("log of "+pod, "-n", s.name, "logs", pod, "--all-containers", "--prefix", "--tail=200")
	}
	show("log of the manager", "-n", operatorNamespace, "logs", "deployment/"+operatorDeployment, "--tail=200")
}
