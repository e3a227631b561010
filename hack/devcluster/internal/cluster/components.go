package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/sampan-dev/sampan/hack/devcluster/internal/config"
)

// component is one of the cluster's long-running programs.
type component struct {
	name string
	// program is its file's name.
	program string
	args    []string
	// health is where the component says that it serves: an http or https address
	// or, for containerd, its socket.
	health string
}

// Where the API server and etcd are reached.
var (
	apiAddress  = fmt.Sprintf("https://%s:%d", config.NodeAddress, config.APIPort)
	etcdAddress = fmt.Sprintf("https://127.0.0.1:%d", config.EtcdPort)
)

// ports are those of the node that another Kubernetes on this machine would use, too.
// The API server's is on an address of the cluster's own.
var ports = []int{config.EtcdPort, config.EtcdPeerPort, 10248, 10250, 10256, 10257, 10259, config.CoreDNSReadyPort, config.ProvisionerPort}

// portsFree fails where another program listens on one of some ports.
func portsFree(ctx context.Context, ports []int) error {
	var taken []string
	for _, port := range ports {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf(":%d", port))
		if errors.Is(err, syscall.EADDRINUSE) {
			taken = append(taken, strconv.Itoa(port))
			continue
		}
		if err == nil {
			err = l.Close()
		}
		if err != nil {
			return fmt.Errorf("looking whether port %d is free: %w", port, err)
		}
	}
	if len(taken) > 0 {
		return fmt.Errorf("something listens on the ports of a Kubernetes node (%s) on this machine: end that cluster first, or use it by CLUSTER=current", strings.Join(taken, ", "))
	}
	return nil
}

// components lists every program of the cluster in the order in which they are
// started.
func components(v config.Values) []component {
	return []component{
		containerd(v),
		{name: "etcd", program: "etcd", args: etcdArgs(v), health: etcdAddress + "/readyz"},
		{name: "kube-apiserver", program: "kube-apiserver", args: apiServerArgs(v), health: apiAddress + "/readyz"},
		{name: "kube-controller-manager", program: "kube-controller-manager", args: controllerManagerArgs(v), health: "https://127.0.0.1:10257/healthz"},
		{name: "kube-scheduler", program: "kube-scheduler", args: schedulerArgs(v), health: "https://127.0.0.1:10259/readyz"},
		{name: "provisioner", program: "provisioner", args: provisionerArgs(v), health: fmt.Sprintf("http://127.0.0.1:%d/metrics", config.ProvisionerPort)},
		{name: "kube-proxy", program: "kube-proxy", args: []string{"--config=" + file(v.Config(), "kube-proxy.yaml")}, health: "http://127.0.0.1:10256/healthz"},
		{name: "coredns", program: "coredns", args: []string{"-conf", file(v.Config(), "Corefile")}, health: fmt.Sprintf("http://127.0.0.1:%d/ready", config.CoreDNSReadyPort)},
		kubelet(v),
	}
}

// nodeComponents are those of one more node.
func nodeComponents(v config.Values) []component { return []component{containerd(v), kubelet(v)} }

func containerd(v config.Values) component {
	return component{
		name: "containerd" + v.Node.Suffix, program: "containerd",
		args: []string{"--config", file(v.NodeConfig(), "containerd.toml")}, health: "unix://" + v.ContainerdSocket(),
	}
}

func kubelet(v config.Values) component {
	return component{
		name: "kubelet" + v.Node.Suffix, program: "kubelet",
		args: kubeletArgs(v), health: fmt.Sprintf("http://127.0.0.1:%d/healthz", v.Node.HealthPort),
	}
}

func file(elements ...string) string { return filepath.Join(elements...) }

func etcdArgs(v config.Values) []string {
	peer := fmt.Sprintf("https://127.0.0.1:%d", config.EtcdPeerPort)
	return []string{
		"--name=" + config.NodeName,
		"--data-dir=" + file(v.State, "etcd"),
		"--listen-client-urls=" + etcdAddress, "--advertise-client-urls=" + etcdAddress,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=" + config.NodeName + "=" + peer,
		"--client-cert-auth",
		"--trusted-ca-file=" + file(v.PKI(), "etcd-ca.crt"),
		"--cert-file=" + file(v.PKI(), "etcd.crt"), "--key-file=" + file(v.PKI(), "etcd.key"),
		"--peer-client-cert-auth",
		"--peer-trusted-ca-file=" + file(v.PKI(), "etcd-ca.crt"),
		"--peer-cert-file=" + file(v.PKI(), "etcd.crt"), "--peer-key-file=" + file(v.PKI(), "etcd.key"),
		// What a crash of the machine destroys is made anew.
		"--unsafe-no-fsync",
	}
}

func apiServerArgs(v config.Values) []string {
	return []string{
		"--advertise-address=" + config.NodeAddress,
		"--bind-address=" + config.NodeAddress,
		fmt.Sprintf("--secure-port=%d", config.APIPort),
		"--tls-cert-file=" + file(v.PKI(), "kube-apiserver.crt"),
		"--tls-private-key-file=" + file(v.PKI(), "kube-apiserver.key"),
		"--client-ca-file=" + file(v.PKI(), "ca.crt"),
		"--etcd-servers=" + etcdAddress,
		"--etcd-cafile=" + file(v.PKI(), "etcd-ca.crt"),
		"--etcd-certfile=" + file(v.PKI(), "etcd-client.crt"),
		"--etcd-keyfile=" + file(v.PKI(), "etcd-client.key"),
		"--kubelet-certificate-authority=" + file(v.PKI(), "ca.crt"),
		"--kubelet-client-certificate=" + file(v.PKI(), "kubelet-client.crt"),
		"--kubelet-client-key=" + file(v.PKI(), "kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-cluster-ip-range=" + config.ServiceCIDR,
		"--service-account-issuer=https://kubernetes.default.svc." + config.ClusterDomain,
		"--service-account-key-file=" + file(v.PKI(), "service-accounts.pub"),
		"--service-account-signing-key-file=" + file(v.PKI(), "service-accounts.key"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		// How it proves to aggregated API servers who asks. It reaches their Services as
		// every program of this machine does.
		"--requestheader-client-ca-file=" + file(v.PKI(), "front-proxy-ca.crt"),
		"--requestheader-allowed-names=" + frontProxy,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + file(v.PKI(), "front-proxy-client.crt"),
		"--proxy-client-key-file=" + file(v.PKI(), "front-proxy-client.key"),
		"--allow-privileged",
		"--profiling=false",
	}
}

func controllerManagerArgs(v config.Values) []string {
	return append(controlLoopArgs(v, "kube-controller-manager"),
		"--use-service-account-credentials",
		"--service-account-private-key-file="+file(v.PKI(), "service-accounts.key"),
		"--root-ca-file="+file(v.PKI(), "ca.crt"),
		"--cluster-signing-cert-file="+file(v.PKI(), "ca.crt"),
		"--cluster-signing-key-file="+file(v.PKI(), "ca.key"),
		// Its default is a folder of the machine, which it would create.
		"--flex-volume-plugin-dir="+file(v.State, "volumeplugins"),
	)
}

func schedulerArgs(v config.Values) []string {
	return controlLoopArgs(v, "kube-scheduler")
}

func provisionerArgs(v config.Values) []string {
	return []string{
		"--kubeconfig=" + file(v.Config(), "provisioner.kubeconfig"),
		"--dir=" + v.Volumes(),
		fmt.Sprintf("--metrics-port=%d", config.ProvisionerPort),
	}
}

// controlLoopArgs are common to the scheduler and the controller manager. With
// one of each there is nobody to elect, and waiting for it takes seconds.
func controlLoopArgs(v config.Values, name string) []string {
	kubeconfig := file(v.Config(), name+".kubeconfig")
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--tls-cert-file=" + file(v.PKI(), "local-server.crt"),
		"--tls-private-key-file=" + file(v.PKI(), "local-server.key"),
		"--profiling=false",
	}
}

func kubeletArgs(v config.Values) []string {
	return []string{
		"--config=" + file(v.NodeConfig(), "kubelet.yaml"),
		"--kubeconfig=" + file(v.Config(), "kubelet"+v.Node.Suffix+".kubeconfig"),
		"--hostname-override=" + v.Node.Name,
		"--node-ip=" + config.NodeAddress,
	}
}

// environment is what components see of the machine's environment. Only
// containerd talks to the outside, so only it learns of proxies.
func environment(v config.Values, program string) []string {
	env := []string{
		"PATH=" + v.Bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + v.State,
		"LANG=C.UTF-8",
	}
	if program != "containerd" {
		return env
	}
	for _, variable := range os.Environ() {
		key, _, _ := strings.Cut(variable, "=")
		switch strings.ToUpper(key) {
		case "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY":
			env = append(env, variable)
		}
	}
	return env
}
