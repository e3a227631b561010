// Package config holds what is the same for every development cluster, its
// addresses and names, and renders the configuration of its components.
package config

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

// The cluster's fixed names and addresses. The node's address is on a link of
// its own, which only this machine reaches, so the cluster is not offered to the
// network that the machine is in and survives a change of network.
const (
	NodeName      = "devcluster"
	NodeAddress   = "10.234.0.1"
	ClusterDomain = "cluster.local"
	PodCIDR       = "10.234.64.0/18"
	ServiceCIDR   = "10.234.128.0/20"
	// APIServiceAddress is the first address of ServiceCIDR, which Kubernetes
	// gives to the Service "kubernetes".
	APIServiceAddress = "10.234.128.1"
	APIPort           = 6443
	EtcdPort          = 12379
	EtcdPeerPort      = 12380
	CoreDNSReadyPort  = 18181
	// ProvisionerPort serves the provisioner's metrics.
	ProvisionerPort = 18182
	// Cgroup, Link and NFTable are what the cluster adds to the kernel, by the
	// names under which they are found again.
	Cgroup  = "sampan-devcluster"
	Link    = "sampan0"
	NFTable = "sampan-devcluster"
	// PauseImage is made on this machine and exists in no registry.
	PauseImage = "devcluster.invalid/pause:1"
)

// Values is what differs between machines.
type Values struct {
	// State is the folder of everything that the cluster writes, and Bin that of
	// the programs it is made of.
	State, Bin string
	// PodMTU is the largest packet that pods may send.
	PodMTU int
	// Upstream is who answers for names outside of the cluster, in the words of
	// CoreDNS's forward plugin: addresses, or a file in the format of resolv.conf.
	Upstream string
}

// Config is the folder of rendered configuration files.
func (v Values) Config() string { return filepath.Join(v.State, "config") }

// PKI is the folder of keys and certificates.
func (v Values) PKI() string { return filepath.Join(v.State, "pki") }

// Logs is the folder of the components' logs.
func (v Values) Logs() string { return filepath.Join(v.State, "logs") }

// PodLogs is the folder of pods' logs.
func (v Values) PodLogs() string { return filepath.Join(v.State, "logs", "pods") }

// Volumes is the folder of the volumes that claims are served with.
func (v Values) Volumes() string { return filepath.Join(v.State, "volumes") }

// ContainerdRoot is containerd's; containers in user namespaces must pass through
// it and its parents.
func (v Values) ContainerdRoot() string { return filepath.Join(v.State, "containerd") }

// Kubeconfig is the administrator's.
func (v Values) Kubeconfig() string { return filepath.Join(v.State, "kubeconfig") }

// CNIData is where addresses that are taken are kept.
func (v Values) CNIData() string { return filepath.Join(v.State, "cni", "networks") }

// ContainerdSocket is where containerd is reached from outside of the mount
// namespace in which it runs; inside, the same folder is /run/containerd.
func (v Values) ContainerdSocket() string {
	return filepath.Join(v.State, "run", "containerd", "containerd.sock")
}

//go:embed templates
var templates embed.FS

// files maps every file below the folder config to its template.
var files = map[string]string{
	"containerd.toml":            "containerd.toml",
	"kubelet.yaml":               "kubelet.yaml",
	"kube-proxy.yaml":            "kube-proxy.yaml",
	"cni/10-devcluster.conflist": "cni.conflist",
	"Corefile":                   "Corefile",
	"resolv.conf":                "resolv.conf",
	"bootstrap.yaml":             "bootstrap.yaml",
}

// input is what a template sees: the values of the machine, and every constant.
type input struct {
	Values
	NodeName, NodeAddress, ClusterDomain, PodCIDR, Cgroup, PauseImage string
	APIPort, CoreDNSReadyPort                                         int
	// User names the certificate of a kubeconfig.
	User string
}

func (v Values) input() input {
	return input{
		Values:   v,
		NodeName: NodeName, NodeAddress: NodeAddress, ClusterDomain: ClusterDomain, PodCIDR: PodCIDR,
		Cgroup: Cgroup, PauseImage: PauseImage, APIPort: APIPort, CoreDNSReadyPort: CoreDNSReadyPort,
	}
}

// Render returns the configuration files by their path below the folder
// config. It reads no file.
func Render(v Values) (map[string][]byte, error) {
	rendered := map[string][]byte{}
	for path, name := range files {
		content, err := render(name, v.input())
		if err != nil {
			return nil, err
		}
		rendered[path] = content
	}
	return rendered, nil
}

// Kubeconfig returns the kubeconfig of a user, with the certificate and key
// that PKI holds under the user's name in it, so that the file can be copied.
func Kubeconfig(v Values, user string) ([]byte, error) {
	in := v.input()
	in.User = user
	return render("kubeconfig", in)
}

func render(name string, in input) ([]byte, error) {
	parsed, err := template.New(name).
		Option("missingkey=error").
		Funcs(template.FuncMap{"base64": encodeFile}).
		ParseFS(templates, "templates/"+name)
	if err != nil {
		return nil, fmt.Errorf("parsing template %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, in); err != nil {
		return nil, fmt.Errorf("rendering %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// encodeFile returns the content of dir/name+suffix in base64.
func encodeFile(dir, name string, suffix ...string) (string, error) {
	for _, s := range suffix {
		name += s
	}
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(content), nil
}
