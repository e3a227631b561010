package cluster

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/sampan-dev/sampan/hack/devcluster/internal/config"
	"github.com/sampan-dev/sampan/hack/devcluster/internal/pki"
)

// admin is the user of the kubeconfig that people get.
const admin = "admin"

// clients are those who call the API server with a kubeconfig. The first part
// of a name is what the certificate's files and the kubeconfig are called.
var clients = map[string]pki.Leaf{
	admin:                     {User: "kubernetes-admin", Groups: []string{"system:masters"}},
	"kube-controller-manager": {User: "system:kube-controller-manager"},
	"kube-scheduler":          {User: "system:kube-scheduler"},
	"kube-proxy":              {User: "system:kube-proxy"},
	"coredns":                 {User: "system:coredns"},
	"provisioner":             {User: "system:provisioner"},
	"kubelet":                 node(config.First),
	"kubelet-2":               node(config.Second),
}

func node(n config.Node) pki.Leaf {
	return pki.Leaf{User: "system:node:" + n.Name, Groups: []string{"system:nodes"}}
}

// issued are the other certificates that the cluster's authority signs.
var issued = map[string]pki.Leaf{
	"kubelet-client": {User: "kube-apiserver-kubelet-client"},
	"kubelet-server": {User: config.NodeName, Names: []string{config.NodeName}, Addresses: addresses(config.NodeAddress)},
	"local-server":   {User: "localhost", Names: []string{"localhost"}, Addresses: addresses("127.0.0.1")},
	"kube-apiserver": {
		User: "kube-apiserver",
		Names: []string{
			"kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc." + config.ClusterDomain, "localhost", config.NodeName,
		},
		Addresses: addresses(config.NodeAddress, config.APIServiceAddress, "127.0.0.1"),
	},
}

func addresses(all ...string) []net.IP {
	var ips []net.IP
	for _, address := range all {
		ips = append(ips, net.ParseIP(address))
	}
	return ips
}

// writeCredentials makes every key, certificate and kubeconfig of a new cluster.
func writeCredentials(v config.Values, now time.Time) error {
	if err := os.MkdirAll(v.PKI(), 0o700); err != nil {
		return fmt.Errorf("creating the folder of keys: %w", err)
	}
	authority, err := pki.NewAuthority(v.PKI(), "ca", now)
	if err != nil {
		return err
	}
	for _, leaves := range []map[string]pki.Leaf{clients, issued} {
		for name, leaf := range leaves {
			if err := authority.Issue(v.PKI(), name, leaf); err != nil {
				return err
			}
		}
	}
	if err := pki.NewSigningKey(v.PKI(), "service-accounts"); err != nil {
		return err
	}
	if err := writeEtcdCredentials(v, now); err != nil {
		return err
	}
	if err := writeFrontProxyCredentials(v, now); err != nil {
		return err
	}
	for name := range clients {
		if err := writeKubeconfig(v, name); err != nil {
			return err
		}
	}
	return nil
}

// writeEtcdCredentials gives etcd an authority of its own: whoever has one of
// its certificates may read and write everything.
func writeEtcdCredentials(v config.Values, now time.Time) error {
	authority, err := pki.NewAuthority(v.PKI(), "etcd-ca", now)
	if err != nil {
		return err
	}
	server := pki.Leaf{User: "etcd", Names: []string{"localhost"}, Addresses: addresses("127.0.0.1")}
	if err := authority.Issue(v.PKI(), "etcd", server); err != nil {
		return err
	}
	return authority.Issue(v.PKI(), "etcd-client", pki.Leaf{User: "kube-apiserver"})
}

// frontProxy is the user as whom the API server calls aggregated API servers.
const frontProxy = "front-proxy-client"

// writeFrontProxyCredentials gives the API server's calls of aggregated API servers
// an authority of their own: who has one of its certificates may say that he is anybody.
func writeFrontProxyCredentials(v config.Values, now time.Time) error {
	authority, err := pki.NewAuthority(v.PKI(), "front-proxy-ca", now)
	if err != nil {
		return err
	}
	return authority.Issue(v.PKI(), "front-proxy-client", pki.Leaf{User: frontProxy})
}

func writeKubeconfig(v config.Values, user string) error {
	content, err := config.Kubeconfig(v, user)
	if err != nil {
		return err
	}
	path := filepath.Join(v.Config(), user+".kubeconfig")
	if user == admin {
		path = v.Kubeconfig()
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return fmt.Errorf("writing kubeconfig: %w", err)
	}
	return nil
}
