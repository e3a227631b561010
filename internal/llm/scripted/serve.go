package scripted

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// shutdownGrace is how long replies under way may take once the server is to stop.
const shutdownGrace = 5 * time.Second

// Options say what Serve serves.
type Options struct {
	// Addr is where to listen, "127.0.0.1:0" for any free port.
	Addr string
	// ScriptPath is the YAML file to play.
	ScriptPath string
	// APIKey is asked for as bearer token when set.
	APIKey string
	// Ready, when set, is called once with the address that is listened on.
	Ready func(net.Addr)
}

// Serve plays a script over HTTP until ctx ends, then stops gracefully: no new
// request is taken, those under way are given five seconds, and the ones that hang
// by script are let go at once. It returns nil after such an end.
func Serve(ctx context.Context, opts Options) error {
	script, err := Load(opts.ScriptPath)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", opts.Addr)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", opts.Addr, err)
	}
	server := &http.Server{
		Handler:           NewServer(script, opts.APIKey),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		// Delays and hangs end with the server's context.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		err := server.Shutdown(grace)
		if err != nil {
			err = errors.Join(err, server.Close())
		}
		stopped <- err
	})
	if opts.Ready != nil {
		opts.Ready(listener.Addr())
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serving: %w", err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("stopping: %w", err)
	}
	return nil
}
