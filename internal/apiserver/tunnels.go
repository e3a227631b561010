package apiserver

import (
	"errors"
	"fmt"
	"net/http"

	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
	"github.com/sampan-dev/sampan/internal/tunnel"
)

// maxTunnels bounds the runners that can be called back.
const maxTunnels = 10_000

// tunnels lets runners in that want to be called back, for the Sandbox whose pod they
// are in.
type tunnels struct {
	hub       *tunnel.Hub
	who       *identifier
	sandboxes client.Reader
	// unknown shares requests out, by address, until it is known who makes them.
	unknown *quota
}

func newTunnels(hub *tunnel.Hub, who *identifier, sandboxes client.Reader) *tunnels {
	return &tunnels{hub: hub, who: who, sandboxes: sandboxes, unknown: newQuota(maxUnknown)}
}

func (t *tunnels) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.TunnelPattern, func(w http.ResponseWriter, req *http.Request) {
		key, err := t.known(req)
		if err == nil {
			klog.FromContext(req.Context()).V(2).Info("A runner can be called back", "namespace", key.Namespace, "sandbox", key.Name)
			err = t.hub.Accept(w, req, key)
		}
		if errors.Is(err, tunnel.ErrFull) {
			err = fmt.Errorf("%w: %w", record.ErrUnavailable, err)
		}
		if err != nil {
			answerProblem(w, problemOf(err))
		}
	})
	return mux
}

// known gives the Sandbox whose runner makes a request.
func (t *tunnels) known(req *http.Request) (tunnel.Key, error) {
	known, err := t.unknown.takeUnknown(req)
	if err != nil {
		return tunnel.Key{}, err
	}
	defer known()
	p := place{Task: record.Task{Namespace: req.PathValue("namespace"), UID: req.PathValue("uid")}, name: req.PathValue("name")}
	if err := p.check(); err != nil {
		return tunnel.Key{}, err
	}
	token, err := bearer(req)
	if err != nil {
		return tunnel.Key{}, err
	}
	pod, err := t.who.pod(req.Context(), token, p.Namespace)
	if err != nil {
		return tunnel.Key{}, err
	}
	sb, err := sandboxOf(req.Context(), t.sandboxes, pod, p)
	if err != nil {
		return tunnel.Key{}, err
	}
	return keyOf(sb), nil
}

func keyOf(sb *v1alpha1.Sandbox) tunnel.Key {
	return tunnel.Key{Namespace: sb.Namespace, Name: sb.Name, UID: string(sb.UID)}
}
