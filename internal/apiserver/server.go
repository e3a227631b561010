package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/internal/apiserver/certs"
	"github.com/sampan-dev/sampan/internal/record/wire"
	"github.com/sampan-dev/sampan/internal/tunnel"
)

// Options are what a Server is made of.
type Options struct {
	// Config reaches the API server.
	Config *rest.Config
	// Client reads AgentTasks, without a cache.
	Client client.Reader
	// Certificate is what it serves with. It is kept fresh while the server runs.
	Certificate *certs.Keeper
	Open        Opener
	Clock       clock.Clock

	// Retain is how long a record outlives its task.
	Retain time.Duration
	// Reader is the name of the user that the Front is. No other may read for people.
	Reader string
	// Sandboxes: runners may be called back, for who uses Sandboxes.
	Sandboxes bool
	// Listener is where it listens.
	Listener net.Listener
	// Replicas gives where all replicas of the server listen, this one or not among them.
	// It is nil where there are none.
	Replicas func(context.Context) ([]string, error)
}

// Server is the server of the record: for runners, and for the Front.
type Server struct {
	opts    Options
	store   *lazyStore
	http    *http.Server
	sweeper *sweeper
	// hub has the connections of the runners that can be called back.
	hub  *tunnel.Hub
	stop context.CancelFunc
}

// New makes a server. The certificate has to be there.
func New(o Options) (*Server, error) {
	clientset, err := kubernetes.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the API server: %w", err)
	}
	held := newRoom()
	open := func(ctx context.Context) (Store, error) { return o.Open(ctx, held.bytes) }
	store, tokens := newLazyStore(open, o.Clock), clientset.AuthenticationV1().TokenReviews()
	stopping, stop := context.WithCancel(context.Background()) //nolint:gosec // Run calls it
	all := records{store: store, tasks: o.Client}
	s := &Server{opts: o, store: store, stop: stop, sweeper: &sweeper{store: store, tasks: o.Client, clock: o.Clock, retain: o.Retain}}
	who := newIdentifier(o.Clock)
	who.retain = o.Retain
	who.tasks, who.tokens = o.Client, tokens
	door := newRunners(all, held, who.identify)
	front := newFrontDoor(&people{
		records: all, clock: o.Clock, lookInterval: lookInterval,
		streams: semaphore.NewWeighted(maxStreams), room: held, stopping: stopping,
	}, tokens, o.Reader)
	s.hub = &tunnel.Hub{Max: maxTunnels}
	mux := routes(door.handler(), front.handler())
	if o.Sandboxes {
		mux.Handle(wire.TunnelPattern, newTunnels(s.hub, who, o.Client).handler())
		out := &reach{hub: s.hub, sandboxes: o.Client, clock: o.Clock, places: semaphore.NewWeighted(maxReached), identify: front.identify}
		if o.Replicas != nil {
			out.peers = &peers{find: o.Replicas, certificate: o.Certificate}
		}
		mux.Handle("/v1/reach/", out.handler())
	}
	s.http = newHTTPServer(mux, o.Certificate)
	return s, nil
}

// routes are those of the whole port.
func routes(runners, front http.Handler) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/v1/read/", front)
	mux.Handle("/", runners)
	// For kubelet. Without a store it serves as well: it says then what is wrong.
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux
}

func newHTTPServer(h http.Handler, certificate *certs.Keeper) *http.Server {
	return &http.Server{
		Handler:           h,
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate.GetCertificate},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       requestDeadline / 2,
		WriteTimeout:      requestDeadline,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:      maxStreamsPerConnection,
			MaxReceiveBufferPerStream: window, MaxReceiveBufferPerConnection: maxStreamsPerConnection * window,
		},
		// Of handshakes that fail there are as many as somebody likes.
		ErrorLog: log.New(discard{}, "", 0),
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// shutdownTimeout is how long requests may take when the server ends.
const shutdownTimeout = 10 * time.Second

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, s.stop)
	defer stop()
	group.Go(func() error { s.store.run(ctx); return nil })
	group.Go(func() error { s.opts.Certificate.Run(ctx); return nil })
	group.Go(func() error { s.sweeper.run(ctx); return nil })
	group.Go(func() error {
		err := s.http.ServeTLS(&sources{Listener: s.opts.Listener, quota: newQuota(maxConnections)}, "", "")
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serving: %w", err)
	})
	group.Go(func() error {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		s.hub.Close() // their runners call again, perhaps another server
		if err := s.http.Shutdown(ending); err != nil {
			return errors.Join(fmt.Errorf("ending what is asked for: %w", err), s.http.Close())
		}
		return nil
	})
	return group.Wait()
}
