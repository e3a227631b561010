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
	// Listener is one that listens at SocketPath already; nil has the server make it.
	Listener *net.UnixListener
	// Workspace is the folder that tools work in.
	Workspace string
	// Engine are the limits of commands and outputs.
	Engine engine.Options
	// MaxFileBytes bounds one uploaded file (default 512 MiB).
	MaxFileBytes int64
	// Heartbeat is after how long a stream without events gets a sign of life (default 15 s).
	Heartbeat time.Duration
	// Log is where the server tells of itself; nil is silence.
	Log *slog.Logger
}

const (
	defaultMaxFileBytes = 512 << 20
	defaultHeartbeat    = 15 * time.Second
	// maxRequestBytes bounds a JSON request: a command, its environment and stdin.
	maxRequestBytes = 32 << 20
	// bodyDeadline is how long a request may take to arrive.
	bodyDeadline = 5 * time.Minute
	// answerDeadline is how long an answer may take to be taken, once it is ready.
	answerDeadline = time.Minute
	// streamDeadline is how long a client may take for what is sent to it at once. One
	// that takes longer is left behind.
	streamDeadline = 30 * time.Second
	// stdinDeadline is how long a process may take to read what it is given.
	stdinDeadline = time.Minute
	// idleTimeout must be longer than the client's, so that the client never
	// sends on a connection that is being closed.
	idleTimeout = 10 * time.Minute
	// stopDeadline bounds the end: what then still runs dies with PID 1.
	stopDeadline = 800 * time.Millisecond
)

// Run serves until ctx ends, the process gets SIGTERM or SIGINT, or a client
// asks it to shut down; it then kills everything that it started and returns
// nil within a second. As PID 1 its return ends the container.
func Run(ctx context.Context, opts Options) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	d := newDoor(stop)
	opts.Engine.BackgroundStopped = d.conns.endOthers
	h, err := NewHandler(opts)
	if err != nil {
		return err
	}
	d.handler = h
	l, err := opts.listen(h.opts.Log) //nolint:contextcheck // a look at the socket, see stale
	if err != nil {
		return errors.Join(err, h.Close())
	}
	return d.serve(ctx, l)
}

func (d *door) serve(ctx context.Context, l *socket) error {
	log := d.handler.opts.Log
	hs := &http.Server{
		Handler:           d,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		// Requests outlive ctx: they end because the engine does, and can then still say so.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ConnContext: d.conns.remember,
		ConnState:   d.conns.changed,
	}
	failed := make(chan error, 1)
	go func() { failed <- hs.Serve(l) }()
	log.Info("Serving the sandbox", "socket", l.path, "workspace", d.handler.engine.Workspace())
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serving %s: %w", l.path, err)
	}
	return errors.Join(err, d.end(ctx, hs, l))
}

// end kills what runs while the server still answers, then closes everything.
func (d *door) end(ctx context.Context, hs *http.Server, l *socket) error {
	l.remove()
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopDeadline)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- d.handler.Close() }()
	_ = hs.Shutdown(deadline)
	_ = hs.Close()
	select {
	case err := <-closed:
		d.handler.opts.Log.Info("Stopped the sandbox")
		return err
	case <-deadline.Done():
		return errors.New("some commands did not end in time")
	}
}
