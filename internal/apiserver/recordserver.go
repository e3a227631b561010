package apiserver

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/transport"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/internal/apiserver/certs"
	"github.com/sampan-dev/sampan/internal/record"
)

const (
	// foundFor is how long it is not asked again where the server is.
	foundFor = 10 * time.Second
	// answerDeadline bounds what comes until an answer begins.
	answerDeadline = 2 * time.Minute
)

// RecordServer is the server of the record as the Front reaches it: where the ConfigMap
// says that it is, and trusting nobody but the authority that stands there.
type RecordServer struct {
	Client    client.Reader
	Clock     clock.PassiveClock
	Namespace string
	ConfigMap string
	// TokenFile has the token that is shown to the server.
	TokenFile string

	mu    sync.Mutex
	asked time.Time
	found reached
}

// reached is a server that was found.
type reached struct {
	url, ca   string
	transport http.RoundTripper
	// patient waits for as long as a sandbox takes to answer.
	patient http.RoundTripper
	leave   func()
}

// find gives the URL of the server, and what reaches it.
func (r *RecordServer) find(ctx context.Context) (url string, via http.RoundTripper, err error) {
	found, err := r.reached(ctx)
	return found.url, found.transport, err
}

// findPatient is find for what may take long to be answered.
func (r *RecordServer) findPatient(ctx context.Context) (url string, via http.RoundTripper, err error) {
	found, err := r.reached(ctx)
	return found.url, found.patient, err
}

func (r *RecordServer) reached(ctx context.Context) (reached, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found.url == "" || r.Clock.Since(r.asked) >= foundFor {
		switch err := r.look(ctx); {
		case err != nil && r.found.url == "":
			return reached{}, fmt.Errorf("%w: %w", record.ErrUnavailable, err)
		case err != nil: // what was found is still worth a try
			klog.FromContext(ctx).Error(err, "It is unknown whether the server of the record is elsewhere now. It is asked where it was.")
		default:
			r.asked = r.Clock.Now()
		}
	}
	return r.found, nil
}

func (r *RecordServer) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askDeadline)
	defer cancel()
	var cm corev1.ConfigMap
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: r.ConfigMap}, &cm); err != nil {
		return fmt.Errorf("the server of the record says in ConfigMap %s/%s where it is, which cannot be read: %w", r.Namespace, r.ConfigMap, err)
	}
	url, ca := cm.Data[certs.KeyURL], cm.Data[certs.KeyAuthority]
	if url == r.found.url && ca == r.found.ca {
		return nil
	}
	pool := x509.NewCertPool()
	if url == "" || !pool.AppendCertsFromPEM([]byte(ca)) {
		return fmt.Errorf("ConfigMap %s/%s does not say where the server of the record is", r.Namespace, r.ConfigMap)
	}
	if r.found.leave != nil {
		r.found.leave()
	}
	to, patient := newTransport(pool, ""), newTransport(pool, "")
	to.ResponseHeaderTimeout = answerDeadline
	show := transport.ResettableTokenSourceWrapTransport(transport.NewCachedFileTokenSource(r.TokenFile))
	r.found = reached{url: url, ca: ca, transport: show(to), patient: show(patient), leave: func() {
		to.CloseIdleConnections()
		patient.CloseIdleConnections()
	}}
	return nil
}

// health is that of the store. It is no part of what decides whether the Front is alive
// or ready.
func (r *RecordServer) health() healthz.HealthChecker {
	return healthz.NamedCheck("store", func(req *http.Request) error { return r.storeState(req.Context()) })
}
