package apiserver

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sampan-dev/sampan/internal/apiserver/certs"
	"github.com/sampan-dev/sampan/internal/record/wire"
	"github.com/sampan-dev/sampan/internal/tunnel"
)

const (
	// peerDeadline bounds the question whether another replica has a connection.
	peerDeadline = 5 * time.Second
	// maxPeers bounds how many are asked.
	maxPeers = 16
)

// peers are the replicas of a Server, among them perhaps itself. A runner is connected to
// one of them, and the Front asks any.
type peers struct {
	find        func(context.Context) ([]string, error)
	certificate *certs.Keeper

	mu        sync.Mutex
	authority string
	transport *http.Transport
}

// proxyTo gives what passes requests on to the replica that has the connection of a key;
// it is nil where none has. They are asked with the Front's own token.
func (p *peers) proxyTo(ctx context.Context, key tunnel.Key, authorization string) (*httputil.ReverseProxy, error) {
	to := p.reached()
	at, err := p.with(ctx, to, key, authorization)
	if at == "" {
		return nil, err
	}
	return &httputil.ReverseProxy{
		Transport: to,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "https", at, p.certificate.Host()
			r.Out.Header.Set(wire.Relayed, "yes")
		},
	}, nil
}

// with asks all where the connection of a key is. An error says that there may be one
// that could not be asked.
func (p *peers) with(ctx context.Context, via http.RoundTripper, key tunnel.Key, authorization string) (at string, err error) {
	ctx, cancel := context.WithTimeout(ctx, peerDeadline)
	defer cancel()
	addresses, err := p.find(ctx)
	if err != nil {
		return "", fmt.Errorf("finding the other replicas of the record's server: %w", err)
	}
	found := make(chan string, maxPeers)
	var asking errgroup.Group
	for _, address := range addresses[:min(len(addresses), maxPeers)] {
		asking.Go(func() error {
			has, err := connectedTo(ctx, via, address, key, authorization)
			if has {
				found <- address
				cancel() // the others' answers are not needed
			}
			return err
		})
	}
	err = asking.Wait()
	select {
	case at = <-found:
		return at, nil
	default:
		return "", err
	}
}

// connectedTo asks one replica whether it has the connection of a key.
func connectedTo(ctx context.Context, via http.RoundTripper, address string, key tunnel.Key, authorization string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+wire.ConnectedPath(key.Namespace, key.Name, key.UID), nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", authorization)
	resp, err := via.RoundTrip(req)
	if err != nil {
		return false, fmt.Errorf("asking another replica of the record's server: %w", err)
	}
	switch err := resp.Body.Close(); {
	case err != nil:
		return false, err
	case resp.StatusCode == http.StatusNoContent:
		return true, nil
	case resp.StatusCode == http.StatusNotFound:
		return false, nil
	}
	return false, errors.New("another replica of the record's server answers " + resp.Status)
}

// reached gives what reaches them, and trusts nobody but who signs this server's own
// certificate.
func (p *peers) reached() *http.Transport {
	p.mu.Lock()
	defer p.mu.Unlock()
	authority := string(p.certificate.Authority())
	if p.transport != nil && p.authority == authority {
		return p.transport
	}
	if p.transport != nil {
		p.transport.CloseIdleConnections()
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(authority))
	p.authority, p.transport = authority, newTransport(pool, p.certificate.Host())
	return p.transport
}
