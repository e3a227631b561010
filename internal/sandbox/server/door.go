package server

import (
	"context"
	"net/http"
)

// door is before a Handler on the sandbox's socket: it lets the owner's requests in,
// and ends connections when a request has to be exclusive.
type door struct {
	handler *Handler
	conns   *connections
	owner   owner
	mux     *http.ServeMux
	// stop ends Run.
	stop context.CancelFunc
}

func newDoor(stop context.CancelFunc) *door {
	d := &door{conns: newConnections(), stop: stop, mux: http.NewServeMux()}
	for pattern, handler := range d.handlers() {
		d.mux.HandleFunc(pattern, handler)
	}
	return d
}

// handlers are those of routes that only an owner has.
func (d *door) handlers() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"DELETE /v1/owner":  d.release,
		"POST /v1/shutdown": d.shutdown,
	}
}

// ServeHTTP implements http.Handler.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.conns.ending(r.Context()) {
		panic(http.ErrAbortHandler) // it was sent before the one that had to be exclusive
	}
	f := &farewell{ResponseWriter: w, ending: func() bool { return d.conns.ending(r.Context()) }} //nolint:contextcheck // the request's own
	d.serveOwner(f, r)
	if !r.Close {
		f.leave()
	}
}

func (d *door) serveOwner(w http.ResponseWriter, r *http.Request) {
	if err := d.owner.check(r.Header.Get("Authorization")); err != nil {
		writeError(w, r, err)
		return
	}
	if h, pattern := d.mux.Handler(r); pattern != "" {
		h.ServeHTTP(w, r)
		return
	}
	d.handler.ServeHTTP(w, r)
}

// release ends everything that the owner has started and lets the next client
// become the owner.
func (d *door) release(w http.ResponseWriter, r *http.Request) {
	if err := d.handler.engine.StopAll(r.Context()); err != nil {
		writeError(w, r, err)
		return
	}
	d.handler.engine.Forget() // the next one has no part in what this one's commands printed
	d.owner.forget()
	w.WriteHeader(http.StatusNoContent)
}

// shutdown answers and then ends Run; the answer is on its way before.
func (d *door) shutdown(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusAccepted)
	_ = http.NewResponseController(w).Flush()
	d.stop()
}
