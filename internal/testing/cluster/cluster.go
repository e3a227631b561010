// Package cluster starts an API server with Sampan's types and admission
// policies, and nothing else: no kubelet, scheduler or garbage collector.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// Cluster is a running API server.
type Cluster struct {
	Config *rest.Config
	Scheme *apiruntime.Scheme
	// Client reads and writes without a cache, as an administrator.
	Client client.WithWatch

	env *envtest.Environment
}

// Option changes an API server before it starts.
type Option func(*envtest.Environment)

// Roomy lets etcd hold so many bytes, and has what was overwritten dropped soon.
func Roomy(bytes int64) Option {
	return func(env *envtest.Environment) {
		env.ControlPlane.Etcd = &envtest.Etcd{}
		env.ControlPlane.Etcd.Configure().Set("quota-backend-bytes", strconv.FormatInt(bytes, 10))
		env.ControlPlane.GetAPIServer().Configure().Set("etcd-compaction-interval", "1m")
	}
}

// Start starts an API server. KUBEBUILDER_ASSETS says where its binaries are;
// `make test` sets it, and leaves them where they are found without it later.
func Start(options ...Option) (*Cluster, error) {
	scheme := apiruntime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	env := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join(Root(), "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
	env.BinaryAssetsDirectory = assets()
	for _, o := range options {
		o(env)
	}
	config, err := env.Start()
	if err != nil {
		return nil, fmt.Errorf("starting an API server (`make test` gets its binaries): %w", err)
	}
	config.QPS, config.Burst = -1, -1
	c := &Cluster{Config: config, Scheme: scheme, env: env}
	if c.Client, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return nil, errors.Join(err, env.Stop())
	}
	return c, nil
}

// Stop stops the API server.
func (c *Cluster) Stop() error { return c.env.Stop() }

// Kubeconfig writes a kubeconfig with a token of a service account, as a pod of it has.
func (c *Cluster) Kubeconfig(ctx context.Context, path, namespace, serviceAccount string) error {
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: serviceAccount, Namespace: namespace}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(tokenSeconds)}}
	if err := c.Client.SubResource("token").Create(ctx, sa, request); err != nil {
		return fmt.Errorf("asking for a token of ServiceAccount %s: %w", serviceAccount, err)
	}
	auth := clientcmdapi.NewAuthInfo()
	auth.Token = request.Status.Token
	return c.writeKubeconfig(path, auth)
}

// AdminKubeconfig writes a kubeconfig of somebody who may do everything.
func (c *Cluster) AdminKubeconfig(path string) error {
	auth := clientcmdapi.NewAuthInfo()
	auth.ClientCertificateData, auth.ClientKeyData = c.Config.CertData, c.Config.KeyData
	return c.writeKubeconfig(path, auth)
}

func (c *Cluster) writeKubeconfig(path string, auth *clientcmdapi.AuthInfo) error {
	server := clientcmdapi.NewCluster()
	server.Server, server.CertificateAuthorityData = c.Config.Host, c.Config.CAData
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.AuthInfos["user"], kubeconfig.Clusters["test"] = auth, server
	kubeconfig.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "user"}
	kubeconfig.CurrentContext = "test"
	return clientcmd.WriteToFile(*kubeconfig, path)
}

// tokenSeconds is longer than any test or measurement.
const tokenSeconds int64 = 4 * 60 * 60

// Load reads the objects of a YAML file.
func Load(path string) ([]*unstructured.Unstructured, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out, err := Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return out, nil
}

// Decode reads the objects of YAML documents.
func Decode(r io.Reader) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(r, 4096)
	for {
		obj := &unstructured.Unstructured{}
		switch err := decoder.Decode(&obj.Object); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, err
		}
		if len(obj.Object) > 0 {
			out = append(out, obj)
		}
	}
}

// assets is where an API server's binaries are.
func assets() string {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return dir
	}
	return filepath.Join(Root(), "bin", "devcluster")
}

// Root is the repository's root.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}
