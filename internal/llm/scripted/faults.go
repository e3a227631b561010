package scripted

import (
	"math"
	"net"
	"net/http"
	"strconv"
	"time"
)

// sentStatus is the HTTP status that a fault puts on the wire, 0 for none.
func (f *Fault) sentStatus() int {
	switch f.Kind {
	case FaultStatus, FaultRaw:
		return f.Status
	case FaultReset, FaultHang:
		return 0
	default:
		return http.StatusOK
	}
}

// header is what a fault sends beside its status.
func (f *Fault) header() http.Header {
	h := http.Header{}
	switch {
	case f.RetryAfter <= 0:
	case f.RetryAfter < time.Second:
		h.Set("Retry-After-Ms", strconv.FormatInt(f.RetryAfter.Milliseconds(), 10))
	default:
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
	}
	return h
}

// body is what a status fault says.
func (f *Fault) body() []byte {
	if f.Body != "" {
		return []byte(f.Body)
	}
	return errorBody("scripted_fault", "the script answers "+strconv.Itoa(f.Status)+" "+http.StatusText(f.Status))
}

// fail plays the fault of a reply.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, req *chatRequest, rep *reply) {
	switch f := rep.fault; f.Kind {
	case FaultStatus:
		for name, values := range f.header() {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(f.Status)
		w.Write(f.body()) //nolint:errcheck // the client is gone
	case FaultRaw:
		w.Header().Set("Content-Type", "application/json")
		if req.Stream {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		w.WriteHeader(f.Status)
		w.Write([]byte(f.Body)) //nolint:errcheck // the client is gone
	case FaultReset:
		reset(w)
	case FaultHang:
		<-r.Context().Done()
	case FaultEmptyChoices:
		s.emptyChoices(w, req, rep)
	case FaultTruncate:
		s.half(w, req, rep)
		// Aborting, not returning: the end of the body must be missing.
		panic(http.ErrAbortHandler)
	case FaultStall:
		s.half(w, req, rep)
		<-r.Context().Done()
	}
}

// half sends the first half of the reply and does not end it.
func (s *Server) half(w http.ResponseWriter, req *chatRequest, rep *reply) {
	if req.Stream {
		// Without the finish event, so that the half can never look whole.
		if events, err := rep.events(req.Model, false); err == nil {
			writeEvents(w, events[:(len(events)+1)/2])
		}
		return
	}
	data, err := rep.whole(req.Model)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.Write(data[:len(data)/2])           //nolint:errcheck // the client is gone
	http.NewResponseController(w).Flush() //nolint:errcheck // the client is gone
}

func (s *Server) emptyChoices(w http.ResponseWriter, req *chatRequest, rep *reply) {
	object := "chat.completion"
	if req.Stream {
		object += ".chunk"
	}
	resp := envelope(object, req.Model, rep.turn)
	resp.Usage = rep.wireUsage()
	data, err := marshalPlain(resp)
	if err != nil {
		return
	}
	if req.Stream {
		writeEvents(w, [][]byte{[]byte(data), []byte("[DONE]")})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write([]byte(data)) //nolint:errcheck // the client is gone
}

// reset closes the connection so that the client gets "connection reset by peer".
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 cannot be hijacked; this resets the stream
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) //nolint:errcheck // then it is closed in the ordinary way
	}
	conn.Close() //nolint:errcheck // it is to break
}
