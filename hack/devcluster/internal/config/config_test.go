package config

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var values = Values{State: "/state", Bin: "/bin-dir", PodMTU: 1400, Upstream: "192.0.2.53"}

func TestRender(t *testing.T) {
	rendered, err := Render(values)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"containerd.toml":        {`root = "/state/containerd"`, `BinaryName = "/bin-dir/runc"`, `sandbox = "` + PauseImage + `"`},
		"kubelet.yaml":           {"cgroupRoot: /" + Cgroup, "clientCAFile: /state/pki/ca.crt", "- " + NodeAddress, "podLogsDir: /state/logs/pods"},
		"second/containerd.toml": {`root = "/state/second/containerd"`},
		"second/kubelet.yaml":    {"cgroupRoot: /" + Cgroup + "/second", "port: 10350", "key: " + SpareTaint, "podLogsDir: /state/second/logs/pods"},
		"kube-proxy.yaml":        {"hostnameOverride: " + NodeName, "clusterCIDR: " + PodCIDR, "kubeconfig: /state/config/kube-proxy.kubeconfig"},
		"Corefile":               {"bind " + NodeAddress, "forward . 192.0.2.53"},
		"resolv.conf":            {"nameserver " + NodeAddress},
		"bootstrap.yaml":         {"system:kubelet-api-admin", "storageclass.kubernetes.io/is-default-class"},
	} {
		content := string(rendered[path])
		for _, line := range want {
			if !strings.Contains(content, line) {
				t.Errorf("%s does not have %q:\n%s", path, line, content)
			}
		}
	}
	for path, content := range rendered {
		if strings.Contains(string(content), "<no value>") {
			t.Errorf("%s has a value that is not set", path)
		}
	}
}

func TestPodNetworkIsJSON(t *testing.T) {
	rendered, err := Render(values)
	if err != nil {
		t.Fatal(err)
	}
	var network struct {
		Plugins []struct {
			Type string
			MTU  int
			IPAM struct{ DataDir string }
		}
	}
	if err := json.Unmarshal(rendered["cni/10-devcluster.conflist"], &network); err != nil {
		t.Fatal(err)
	}
	if len(network.Plugins) != 1 || network.Plugins[0].MTU != 1400 || network.Plugins[0].IPAM.DataDir != "/state/cni/networks" {
		t.Errorf("pod network = %+v", network)
	}
}

func TestAddressesDoNotOverlap(t *testing.T) {
	pods, services := netip.MustParsePrefix(PodCIDR), netip.MustParsePrefix(ServiceCIDR)
	node := netip.MustParseAddr(NodeAddress)
	if pods.Overlaps(services) || pods.Contains(node) || services.Contains(node) {
		t.Errorf("node %s, pods %s and services %s overlap", node, pods, services)
	}
	if want := services.Masked().Addr().Next(); want.String() != APIServiceAddress {
		t.Errorf("the API server's Service gets %s, its certificate is for %s", want, APIServiceAddress)
	}
}

func TestKubeconfigIsComplete(t *testing.T) {
	v := values
	v.State = t.TempDir()
	if err := os.MkdirAll(v.PKI(), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Kubeconfig(v, "admin"); err == nil {
		t.Error("a kubeconfig was made without a certificate")
	}
	for _, name := range []string{"ca.crt", "admin.crt", "admin.key"} {
		if err := os.WriteFile(filepath.Join(v.PKI(), name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	content, err := Kubeconfig(v, "admin")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"server: https://" + NodeAddress + ":6443",
		"certificate-authority-data: Y2EuY3J0",  // ca.crt
		"client-certificate-data: YWRtaW4uY3J0", // admin.crt
		"client-key-data: YWRtaW4ua2V5",         // admin.key
	} {
		if !strings.Contains(string(content), want) {
			t.Errorf("no %q in:\n%s", want, content)
		}
	}
}
