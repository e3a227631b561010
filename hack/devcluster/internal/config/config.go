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

// Node is a node as Kubernetes sees it: a containerd and a kubelet, with folders and
// ports of their own. All nodes are on this machine, and have one address.
type Node struct {
	Name string
	// Suffix tells its programs from those of the first node.
	Suffix string
	// Folder is that of what it writes, below the cluster's.
	Folder string
	// Cgroup is the control group of its pods.
	Cgroup string
	// Port is where the API server finds its kubelet, HealthPort where that says how it is.
	Port, HealthPort int
	// Spare nodes are tainted: they get no pods but those that tolerate it.
	Spare bool
}

// SpareTaint is the key of the taint of spare nodes.
const SpareTaint = "devcluster/spare"

// The nodes. The second is started on request: it is for tests of what the loss of a
// node does.
var (
	First  = Node{Name: NodeName, Cgroup: Cgroup, Port: 10250, HealthPort: 10248}
	Second = Node{Name: NodeName + "-2", Suffix: "-2", Folder: "second", Cgroup: Cgroup + "/second", Port: 10350, HealthPort: 10348, Spare: true}
)

// Values is what differs between machines, and between nodes.
type Values struct {
	// Node is the one that files and folders are of.
	Node Node
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

// On is the same for another node.
func (v Values) On(n Node) Values {
	v.Node = n
	return v
}

// NodeFolder is the folder of what the node writes.
func (v Values) NodeFolder() string { return filepath.Join(v.State, v.Node.Folder) }

// NodeConfig is the folder of the node's rendered files.
func (v Values) NodeConfig() string { return filepath.Join(v.Config(), v.Node.Folder) }

// PodLogs is the folder of pods' logs.
func (v Values) PodLogs() string { return filepath.Join(v.NodeFolder(), "logs", "pods") }

// Volumes is the folder of the volumes that claims are served with.
func (v Values) Volumes() string { return filepath.Join(v.State, "volumes") }

// ContainerdRoot is containerd's; containers in user namespaces must pass through
// it and its parents.
func (v Values) ContainerdRoot() string { return filepath.Join(v.NodeFolder(), "containerd") }

// Kubeconfig is the administrator's.
func (v Values) Kubeconfig() string { return filepath.Join(v.State, "kubeconfig") }

// CNIData is where addresses that are taken are kept.
func (v Values) CNIData() string { return filepath.Join(v.State, "cni", "networks") }

// ContainerdSocket is where containerd is reached from outside of the mount
// namespace in which it runs; inside, the same folder is /run/containerd.
func (v Values) ContainerdSocket() string {
	return filepath.Join(v.NodeFolder(), "run", "containerd", "containerd.sock")
}

//go:embed templates
var templates embed.FS

// files maps every file below the folder config to its template.
var files = map[string]string{
	"kube-proxy.yaml":            "kube-proxy.yaml",
	"cni/10-devcluster.conflist": "cni.conflist",
	"Corefile":                   "Corefile",
	"resolv.conf":                "resolv.conf",
	"bootstrap.yaml":             "bootstrap.yaml",
}

// nodeFiles are those of each node, below its folder.
var nodeFiles = []string{"containerd.toml", "kubelet.yaml"}

// input is what a template sees: the values of the machine, and every constant.
type input struct {
	Values
	NodeName, NodeAddress, ClusterDomain, PodCIDR, PauseImage, SpareTaint string
	APIPort, CoreDNSReadyPort                                             int
	// User names the certificate of a kubeconfig.
	User string
}

func (v Values) input() input {
	return input{
		Values:   v,
		NodeName: NodeName, NodeAddress: NodeAddress, ClusterDomain: ClusterDomain, PodCIDR: PodCIDR,
		SpareTaint: SpareTaint, PauseImage: PauseImage, APIPort: APIPort, CoreDNSReadyPort: CoreDNSReadyPort,
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
	for _, node := range []Node{First, Second} {
		for _, name := range nodeFiles {
			content, err := render(name, v.On(node).input())
			if err != nil {
				return nil, err
			}
			rendered[filepath.Join(node.Folder, name)] = content
		}
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
