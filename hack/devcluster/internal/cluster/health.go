package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/hack/devcluster/internal/config"
	"github.com/sampan-dev/sampan/hack/devcluster/internal/proc"
)

// pollInterval is how often a component is asked whether it is ready.
const pollInterval = 50 * time.Millisecond

// probe asks components how they are.
type probe struct {
	// clients are by the start of the address that each is for. The one for the
	// empty start shows no certificate: a component that does not know the
	// cluster's authority yet would refuse it, and keep on refusing it for as long
	// as the connection is open.
	clients map[string]*http.Client
}

func newProbe(v config.Values) (*probe, error) {
	p := &probe{clients: map[string]*http.Client{}}
	for _, server := range []struct{ address, authority, client string }{
		{"", "ca", ""},
		{apiAddress, "ca", admin},
		{etcdAddress, "etcd-ca", "etcd-client"},
	} {
		settings := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		certificate, err := os.ReadFile(filepath.Join(v.PKI(), server.authority+".crt"))
		if err != nil {
			return nil, fmt.Errorf("reading the cluster's authority: %w", err)
		}
		settings.RootCAs.AppendCertsFromPEM(certificate)
		if server.client != "" {
			base := filepath.Join(v.PKI(), server.client)
			pair, err := tls.LoadX509KeyPair(base+".crt", base+".key")
			if err != nil {
				return nil, fmt.Errorf("reading the certificate of %s: %w", server.client, err)
			}
			settings.Certificates = []tls.Certificate{pair}
		}
		p.clients[server.address] = &http.Client{
			Timeout:   5 * time.Second,
			Transport: &http.Transport{TLSClientConfig: settings},
		}
	}
	return p, nil
}

// client returns the one that may call the address.
func (p *probe) client(address string) *http.Client {
	for start, client := range p.clients {
		if start != "" && strings.HasPrefix(address, start+"/") {
			return client
		}
	}
	return p.clients[""]
}

// healthy returns nil when the address answers that all is well.
func (p *probe) healthy(ctx context.Context, address string) error {
	if socket, ok := strings.CutPrefix(address, "unix://"); ok {
		connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err != nil {
			return err
		}
		return connection.Close()
	}
	_, err := p.get(ctx, address)
	return err
}

func (p *probe) get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := p.client(address).Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", address, response.Status)
	}
	return body, nil
}

// nodeReady returns nil when pods can be scheduled: the node is ready, and the
// ServiceAccount that pods have by default was made.
func (p *probe) nodeReady(ctx context.Context, n config.Node) error {
	body, err := p.get(ctx, apiAddress+"/api/v1/nodes/"+n.Name)
	if err != nil {
		return err
	}
	var node struct {
		Spec struct {
			Taints []struct{ Key, Effect string }
		}
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := json.Unmarshal(body, &node); err != nil {
		return fmt.Errorf("reading the node: %w", err)
	}
	err = errors.New("the node has not reported yet")
	for _, condition := range node.Status.Conditions {
		if condition.Type == "Ready" && condition.Status == "True" {
			err = nil
		} else if condition.Type == "Ready" {
			err = fmt.Errorf("the node is not ready: %s", condition.Message)
		}
	}
	if err != nil {
		return err
	}
	for _, taint := range node.Spec.Taints {
		if n.Spare && taint.Key == config.SpareTaint {
			continue
		}
		return fmt.Errorf("the node is tainted %s:%s", taint.Key, taint.Effect)
	}
	_, err = p.get(ctx, apiAddress+"/api/v1/namespaces/default/serviceaccounts/default")
	return err
}

// wait waits until check succeeds. It gives up when the context ends, or as soon
// as the process that is waited for does.
func wait(ctx context.Context, v config.Values, name string, id proc.Identity, check func(context.Context) error) error {
	var last error
	err := proc.Poll(ctx, pollInterval, func() (bool, error) {
		if !id.Alive() {
			return false, errors.New("it ended")
		}
		last = check(ctx)
		return last == nil, nil
	})
	if err == nil {
		return nil
	}
	log := filepath.Join(v.Logs(), name+".log")
	if last != nil {
		err = fmt.Errorf("%w (the last answer: %w)", err, last)
	}
	return fmt.Errorf("waiting for %s: %w\n%s\nsee %s", name, err, tail(log, 5), log)
}

// tail returns the last lines of a file, indented, to show in an error.
func tail(path string, lines int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return "    " + err.Error()
	}
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return "    " + strings.Join(all, "\n    ")
}
