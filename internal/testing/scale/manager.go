package scale

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/operator"
)

// startPatience bounds the start of a manager.
const startPatience = time.Minute

// manager is one whose metrics and profiles can be read.
type manager struct {
	*operator.Manager
	api                  rest.Interface
	metricsURL, pprofURL string
	token                string
	http                 *http.Client
}

func startManager(ctx context.Context, api *cluster.Cluster, dir string, args []string) (*manager, error) {
	addresses, err := freeAddresses(2)
	if err != nil {
		return nil, err
	}
	set, err := kubernetes.NewForConfig(api.Config)
	if err != nil {
		return nil, err
	}
	m := &manager{api: set.RESTClient(), metricsURL: "https://" + addresses[0] + "/metrics", pprofURL: "http://" + addresses[1] + "/debug/pprof/",
		http: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}}
	if m.token, err = metricsToken(ctx, api); err != nil {
		return nil, err
	}
	if m.Manager, err = operator.Build(ctx, api, dir, "pprof"); err != nil {
		return nil, err
	}
	m.Args = append([]string{"--metrics-bind-address=" + addresses[0]}, args...)
	m.Env = []string{"PPROF_ADDRESS=" + addresses[1]}
	if err := m.Start(ctx); err != nil {
		return nil, err
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, startPatience, true, func(ctx context.Context) (bool, error) {
		_, err := m.metrics(ctx)
		return err == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("the manager serves no metrics: %w: %s", err, m.Tail())
	}
	return m, nil
}

// freeAddresses are some that nobody listens on now.
func freeAddresses(n int) (out []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it takes no time
		if err != nil {
			return nil, err
		}
		defer l.Close() //nolint:errcheck // nothing was sent
		out = append(out, l.Addr().String())
	}
	return out, nil
}

// metricsToken is of a service account that may read the metrics.
func metricsToken(ctx context.Context, api *cluster.Cluster) (string, error) {
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "metrics-reader", Namespace: "default"}}
	request := &authenticationv1.TokenRequest{}
	for _, obj := range []client.Object{sa, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: sa.Name},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "sampan-metrics-reader"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: sa.Name, Namespace: sa.Namespace}}}} {
		if err := api.Client.Create(ctx, obj); err != nil {
			return "", err
		}
	}
	if err := api.Client.SubResource("token").Create(ctx, sa, request); err != nil {
		return "", err
	}
	return request.Status.Token, nil
}

func (m *manager) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+m.token)
	resp, err := m.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.200s", url, resp.Status, data)
	}
	return data, err
}

// metrics reads the manager's.
func (m *manager) metrics(ctx context.Context) (families, error) {
	data, err := m.get(ctx, m.metricsURL)
	if err != nil {
		return nil, err
	}
	return parse(data)
}

// serverMetrics reads the API server's.
func (m *manager) serverMetrics(ctx context.Context) (families, error) {
	data, err := m.api.Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	return parse(data)
}

// profile begins profiles of the time that the manager and the API server take, if
// they are wanted.
func (b *bench) profile(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	if b.Profiles == "" {
		done <- nil
		return done
	}
	path := fmt.Sprintf("profile?seconds=%d", int(b.ProfileTime.Seconds()))
	go func() {
		var server errgroup.Group
		server.Go(func() error {
			data, err := b.manager.api.Get().RequestURI("/debug/pprof/" + path).DoRaw(ctx)
			return b.writeProfile("apiserver", data, err)
		})
		data, err := b.manager.get(ctx, b.manager.pprofURL+path)
		done <- errors.Join(b.writeProfile("manager", data, err), server.Wait())
	}()
	return done
}

func (b *bench) writeProfile(name string, data []byte, err error) error {
	if err != nil || b.Profiles == "" {
		return err
	}
	return os.WriteFile(filepath.Join(b.Profiles, fmt.Sprintf("%s-%d.pprof", name, b.Tasks)), data, 0o600)
}
