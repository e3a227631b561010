// Package server is the server in the sandbox container: it runs commands
// and reads and writes files for a runner that is trusted, in a container that
// is not.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/engine"
)

// Protocol is the version of the interface that this server speaks.
const Protocol = api.Protocol

// Options are a server's settings.
type Options struct {
	// SocketPath is where the unix socket is put; its folder must exist.
	SocketPath string
	// Workspace is the folder that tools work in.
	Workspace string
	// Engine are the limits of commands and outputs.
	Engine engine.Options
	// MaxFileBytes bounds one uploaded file (default 512 MiB).
	MaxFileBytes int64
	// Log is where the server tells of itself; nil is silence.
	Log *slog.Logger
}

const (
	defaultMaxFileBytes = 512 << 20
	// maxRequestBytes bounds a JSON request: a command, its environment and stdin.
	maxRequestBytes = 32 << 20
	// bodyDeadline is how long a request may take to arrive.
	bodyDeadline = 5 * time.Minute
	// answerDeadline is how long an answer may take to be taken, once it is ready.
	answerDeadline = time.Minute
	// idleTimeout must be longer than the client's, so that the client never
	// sends on a connection that is being closed.
	idleTimeout = 10 * time.Minute
	// stopDeadline bounds the end: what then still runs dies with PID 1.
	stopDeadline = 800 * time.Millisecond
)

// server answers requests with an engine.
type server struct {
	opts   Options
	engine *engine.Engine
	began  time.Time
	conns  *connections
	owner  owner
	// stop ends Run.
	stop context.CancelFunc
}

// Run serves until ctx ends, the process gets SIGTERM or SIGINT, or a client
// asks it to shut down; it then kills everything that it started and returns
// nil within a second. As PID 1 its return ends the container.
func Run(ctx context.Context, opts Options) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.MaxFileBytes <= 0 {
		opts.MaxFileBytes = defaultMaxFileBytes
	}
	s := &server{opts: opts, began: time.Now(), conns: newConnections(), stop: stop}
	opts.Engine.Log, opts.Engine.BackgroundStopped = opts.Log, s.conns.endOthers
	var err error
	if s.engine, err = engine.New(opts.Workspace, opts.Engine); err != nil {
		return err
	}
	l, err := listen(opts.SocketPath, opts.Log) //nolint:contextcheck // a look at the socket, see stale
	if err != nil {
		return errors.Join(err, s.engine.Close())
	}
	return s.serve(ctx, l)
}

func (s *server) serve(ctx context.Context, l *socket) error {
	hs := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug),
		// Requests outlive ctx: they end because the engine does, and can then still say so.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ConnContext: s.conns.remember,
		ConnState:   s.conns.changed,
	}
	failed := make(chan error, 1)
	go func() { failed <- hs.Serve(l) }()
	s.opts.Log.Info("Serving the sandbox", "socket", s.opts.SocketPath, "workspace", s.engine.Workspace())
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serving %s: %w", s.opts.SocketPath, err)
	}
	return errors.Join(err, s.end(ctx, hs, l))
}

// end kills what runs while the server still answers, then closes everything.
func (s *server) end(ctx context.Context, hs *http.Server, l *socket) error {
	l.remove()
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopDeadline)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- s.engine.Close() }()
	_ = hs.Shutdown(deadline)
	_ = hs.Close()
	select {
	case err := <-closed:
		s.opts.Log.Info("Stopped the sandbox")
		return err
	case <-deadline.Done():
		return errors.New("some commands did not end in time")
	}
}

// handler routes. File paths are taken from the URL as it was sent: a mux would
// answer ".." with a redirect instead of a refusal.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("POST /v1/exec", s.exec)
	mux.HandleFunc("GET /v1/processes", s.listProcesses)
	mux.HandleFunc("DELETE /v1/processes", s.killAll)
	mux.HandleFunc("DELETE /v1/processes/{id}", s.killProcess)
	mux.HandleFunc("POST /v1/lines", s.entering(s.lines))
	mux.HandleFunc("POST /v1/grep", s.entering(s.grep))
	mux.HandleFunc("POST /v1/glob", s.entering(s.glob))
	mux.HandleFunc("DELETE /v1/owner", s.release)
	mux.HandleFunc("POST /v1/shutdown", s.shutdown)
	mux.HandleFunc("/", s.noRoute)
	files := s.entering(s.files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.conns.ending(r.Context()) {
			panic(http.ErrAbortHandler) // it was sent before the one that had to be exclusive
		}
		w = farewell{w, func() bool { return s.conns.ending(r.Context()) }} //nolint:contextcheck // the request's own
		defer s.contain(w, r)
		// The last request's deadline must not end this one.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		if err := s.owner.check(r.Header.Get("Authorization")); err != nil {
			writeError(w, r, err)
			return
		}
		if strings.HasPrefix(r.URL.EscapedPath(), filesPrefix) {
			files(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// entering lets a request in beside others, and ends it when one must be exclusive.
// Commands do so themselves.
func (s *server) entering(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, leave, err := s.engine.Enter(r.Context())
		if err != nil {
			writeError(w, r, err)
			return
		}
		defer leave()
		h(w, r.WithContext(ctx))
	}
}

// contain turns a bug in one request into that request's error.
func (s *server) contain(w http.ResponseWriter, r *http.Request) {
	if v := recover(); v != nil {
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v)
		}
		s.opts.Log.Error("Recovered from a panic", "method", r.Method, "path", r.URL.Path, "panic", v)
		writeError(w, r, fmt.Errorf("bug in the sandbox server: %v", v))
	}
}

func (s *server) noRoute(w http.ResponseWriter, r *http.Request) {
	writeCode(w, r, http.StatusNotFound, api.Error{Code: api.CodeRoute, Message: r.Method + " " + r.URL.Path + ": no such route"})
}
