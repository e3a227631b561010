package apiserver

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/sampan-dev/sampan/internal/record/wire"
)

// frontDoor is where the Front reads for people. Who they are and what they may read
// has been decided there.
type frontDoor struct {
	people *people
	tokens tokenReviewer
	// reader is the user that the Front is.
	reader string
	known  *cache.LRUExpireCache
}

func newFrontDoor(p *people, tokens tokenReviewer, reader string) *frontDoor {
	return &frontDoor{people: p, tokens: tokens, reader: reader, known: cache.NewLRUExpireCacheWithClock(maxKnown, p.clock)}
}

func (d *frontDoor) handler() http.Handler {
	mux := http.NewServeMux()
	for path, read := range map[string]reader{
		"/" + transcripts:                      d.people.readTranscript,
		"/" + checkpoints:                      d.people.readCheckpoints,
		"/" + outputs:                          d.people.readOutputs,
		"/" + outputs + "/{" + output + "...}": d.people.readOutputs,
	} {
		mux.HandleFunc("GET "+wire.ReadPattern+path, func(w http.ResponseWriter, req *http.Request) {
			d.serve(w, req, read)
		})
	}
	mux.HandleFunc("GET "+wire.ReadStore, func(w http.ResponseWriter, req *http.Request) {
		d.serve(w, req, func(_ context.Context, _ string, w http.ResponseWriter, _ *http.Request) error {
			if _, err := d.people.store.get(); err != nil {
				return err
			}
			w.WriteHeader(http.StatusNoContent)
			return nil
		})
	})
	return mux
}

func (d *frontDoor) serve(w http.ResponseWriter, req *http.Request, read reader) {
	if err := d.identify(req); err != nil {
		answerProblem(w, problemOf(err))
		return
	}
	// An answer has bounds of its own, and may be followed for longer than others take.
	ending := http.NewResponseController(w)
	if err := errors.Join(ending.SetReadDeadline(time.Time{}), ending.SetWriteDeadline(d.people.clock.Now().Add(maxFollow))); err != nil {
		answerStatus(w, err)
		return
	}
	ctx := request.WithNamespace(req.Context(), req.PathValue("namespace"))
	if err := read(ctx, req.PathValue("name"), w, req); err != nil {
		answerStatus(w, err)
	}
}

// identify refuses everybody but the Front.
func (d *frontDoor) identify(req *http.Request) error {
	token, err := bearer(req)
	if err != nil {
		return err
	}
	key := sha256.Sum256([]byte(token))
	if _, known := d.known.Get(key); known {
		return nil
	}
	user, err := review(req.Context(), d.tokens, token, wire.ReadAudience)
	if err != nil {
		return err
	}
	if user.Username != d.reader {
		return refusal(wire.CodeForbidden, "the token is not that of %s", d.reader)
	}
	d.known.Add(key, true, knownFor)
	return nil
}

// answerStatus answers with an error as people get it.
func answerStatus(w http.ResponseWriter, err error) {
	var failed apierrors.APIStatus
	if !errors.As(asStatus(err), &failed) {
		failed = apierrors.NewInternalError(err)
	}
	status := failed.Status()
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	// The Front tells of an answer that it does not get.
	_ = answerJSON(w, int(status.Code), status)
}
