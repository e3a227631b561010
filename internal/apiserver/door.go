package apiserver

import (
	"context"
	"net/http"
	"strings"

	"k8s.io/utils/clock"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
)

// RunnersDoor is the door for runners over a store that is open, where somebody else
// than an API server knows who a bearer token belongs to.
func RunnersDoor(store Store, who func(token string) (record.Writer, bool)) http.Handler {
	lazy := newLazyStore(nil, clock.RealClock{})
	lazy.set(store, nil)
	d := newRunners(records{store: lazy}, newRoom(), func(_ context.Context, req *http.Request, p place) (*runner, error) {
		token, isBearer := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
		w, known := who(token)
		if !isBearer || !known {
			return nil, refusal(wire.CodeUnauthorized, "nobody knows the token")
		}
		return &runner{writer: w, info: record.Info{Name: p.name}}, nil
	})
	return d.handler()
}
