package deaths

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// maxAnswer bounds an answer that passes a proxy.
const maxAnswer = 64 << 20

// pass lets a request of a pod pass, kills what is to be killed, and reports whether the
// pod is to have the answer. serve has a server do the request.
func (r *run) pass(p *pod, to Kind, what string, serve func() error) (answered bool) {
	timing, dies := r.arrives(p, what)
	if !dies {
		return serve() == nil
	}
	// The request is cut off with its server, and with its runner.
	cut := r.plan.Kind == to || r.plan.Kind == Runner || r.plan.Kind == Pod
	switch timing {
	case Before:
		r.die(p)
		return !cut && r.plan.Kind != Silent && serve() == nil
	case During:
		dead := make(chan struct{})
		go func() {
			defer close(dead)
			r.die(p)
		}()
		err := serve()
		<-dead
		return !cut && err == nil
	default:
		err := serve()
		r.die(p)
		return !cut && err == nil
	}
}

// answer is one that waits to be sent.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) send(w http.ResponseWriter) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// recordProxy stands before the record's server.
func (r *run) recordProxy(w http.ResponseWriter, req *http.Request) {
	p := r.podOf(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
	body, err := io.ReadAll(req.Body)
	if err != nil || p == nil {
		panic(http.ErrAbortHandler)
	}
	what := recordStep(req)
	seen := r.beforeRecord(p, what)
	var a *answer
	if !r.pass(p, Record, what, func() (err error) { //nolint:contextcheck // the processes of a run end by signals
		a, err = r.askRecord(req, body)
		r.afterRecord(p, what, req, body, seen, a)
		return err
	}) {
		panic(http.ErrAbortHandler)
	}
	a.send(w)
}

// recordStep names a request to the record.
func recordStep(req *http.Request) string {
	path := req.URL.Path[strings.Index(req.URL.Path, taskUID)+len(taskUID)+1:]
	first, _, _ := strings.Cut(path, "/")
	switch {
	case path == "chunks/missing":
		return "ask for chunks"
	case first == "log" && req.Method == http.MethodPost:
		return "append"
	case first == "log":
		return "read log"
	case first == "chunks" && req.Method == http.MethodPut:
		return "put chunk"
	case first == "chunks":
		return "restore chunk"
	case path == "checkpoints/latest":
		return "latest"
	}
	return "commit"
}

// askRecord asks the record's server, as it is then; the request is the server's also when
// the pod is dead.
func (r *run) askRecord(req *http.Request, body []byte) (*answer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), patience)
	defer cancel()
	url := "https://" + r.record.where() + req.URL.RequestURI()
	out, err := http.NewRequestWithContext(ctx, req.Method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	out.Header = req.Header.Clone()
	resp, err := r.client.Do(out)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return &answer{resp.StatusCode, resp.Header, data}, err
}

// modelEndpoint is the model, and counts its calls.
func (r *run) modelEndpoint(w http.ResponseWriter, req *http.Request) {
	token, path, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	p := r.podOf(token)
	body, err := io.ReadAll(req.Body)
	if err != nil || p == nil {
		panic(http.ErrAbortHandler)
	}
	rec := httptest.NewRecorder()
	if !r.pass(p, "", "model call", func() error { //nolint:contextcheck // the processes of a run end by signals
		r.mu.Lock()
		r.modelCalls++
		if !p.start.IsZero() && p.attempt > 1 {
			r.out.Next = append(r.out.Next, time.Since(p.start))
		}
		p.start = time.Time{}
		r.mu.Unlock()
		inner := req.Clone(context.WithoutCancel(req.Context()))
		inner.URL.Path, inner.RequestURI, inner.Body = "/"+path, "", io.NopCloser(bytes.NewReader(body))
		r.model.ServeHTTP(rec, inner)
		if rec.Code != http.StatusOK {
			r.fault(func(f *Faults) { f.Broken++ }, "the script is at an end: %s", rec.Body)
		}
		return nil
	}) {
		panic(http.ErrAbortHandler)
	}
	(&answer{rec.Code, rec.Header(), rec.Body.Bytes()}).send(w)
}

// serveSandbox is the proxy before a pod's sandbox: each connection has one to the
// server, so that it lives and dies with that.
func (r *run) serveSandbox(p *pod, l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close() //nolint:errcheck // the other side has what it gets
			r.sandboxConnection(p, conn)
		}()
	}
}

func (r *run) sandboxConnection(p *pod, conn net.Conn) {
	server, err := net.Dial("unix", p.serverSocket) //nolint:noctx // a socket of this machine
	if err != nil {
		return
	}
	defer server.Close() //nolint:errcheck // as above
	from, back := bufio.NewReader(conn), bufio.NewReader(server)
	for {
		req, err := http.ReadRequest(from)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		req.ContentLength = int64(len(body))
		// A runner that goes away, dead or not, takes its connection with it.
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			if _, err := from.Peek(1); err != nil {
				_ = server.Close()
			}
		}()
		var resp *http.Response
		var data []byte
		answered := r.pass(p, Sandbox, sandboxStep(req, body), func() (err error) {
			if err = req.Write(server); err != nil {
				return err
			}
			if resp, err = http.ReadResponse(back, req); err != nil { //nolint:bodyclose // of a connection that is closed
				return err
			}
			data, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
			return err
		})
		if !answered {
			return
		}
		resp.Body, resp.ContentLength, resp.TransferEncoding = io.NopCloser(bytes.NewReader(data)), int64(len(data)), nil
		if resp.Write(conn) != nil || resp.Close {
			return
		}
		<-gone // the next request, or the end
	}
}

// sandboxStep names a request to the sandbox.
func sandboxStep(req *http.Request, body []byte) string {
	switch {
	case req.URL.Path == "/v1/status":
		return "sandbox status"
	case req.URL.Path == "/v1/exec" && bytes.Contains(body, []byte(`"isolated":true`)):
		return "verification"
	case req.URL.Path == "/v1/exec":
		return "command"
	}
	return "file"
}

// listen serves HTTP at a free port.
func listen(h http.HandlerFunc, config *tls.Config) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a port of this machine
	if err != nil {
		return "", nil, err
	}
	url = "http://" + l.Addr().String()
	if config != nil {
		l, url = tls.NewListener(l, config), "https://"+l.Addr().String()
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: silent}
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(fmt.Sprintf("a proxy ended: %v", err))
		}
	}()
	return url, func() { _ = s.Close() }, nil
}
