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
	"k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/healthz"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/internal/apiserver/certs"
)

// Options are what a server is made of.
type Options struct {
	// Config reaches the API server.
	Config *rest.Config
	// Client reads AgentTasks, without a cache.
	Client client.Reader
	// Certificate is what both doors serve with. It is kept fresh while the server runs.
	Certificate *certs.Keeper
	Open        Opener
	Clock       clock.Clock

	// Retain is how long a record outlives its task.
	Retain time.Duration

	// People and Runners are where the doors are.
	People, Runners net.Listener

	Authentication *genericoptions.DelegatingAuthenticationOptions
	Authorization  *genericoptions.DelegatingAuthorizationOptions
	Audit          *genericoptions.AuditOptions
}

// Server serves people and runners.
type Server struct {
	opts    Options
	store   *lazyStore
	people  *people
	generic *server.GenericAPIServer
	runners *http.Server
	sweeper *sweeper
	stop    context.CancelFunc
}

// New makes a server. The certificate has to be there.
func New(o Options) (*Server, error) {
	clientset, err := kubernetes.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the API server: %w", err)
	}
	store := newLazyStore(o.Open, o.Clock)
	stopping, stop := context.WithCancel(context.Background()) //nolint:gosec // Run calls it
	all := records{store: store, tasks: o.Client}
	s := &Server{opts: o, store: store, stop: stop, people: &people{
		records: all, clock: o.Clock, lookInterval: lookInterval,
		streams: semaphore.NewWeighted(maxStreams), stopping: stopping,
	}}
	if s.generic, err = s.newGeneric(); err != nil {
		return nil, err
	}
	s.sweeper = &sweeper{store: store, tasks: o.Client, clock: o.Clock}
	who := newIdentifier(o.Clock)
	who.retain = o.Retain
	who.tasks, who.tokens = o.Client, clientset.AuthenticationV1().TokenReviews()
	door := &runners{
		records: all, identify: who.identify,
		bodies: semaphore.NewWeighted(maxBodies), requests: semaphore.NewWeighted(maxRequests),
	}
	s.runners = newRunnersServer(door.handler(), o.Certificate)
	return s, nil
}

// newGeneric makes the server of the people's door.
func (s *Server) newGeneric() (*server.GenericAPIServer, error) {
	o := &s.opts
	config := server.NewRecommendedConfig(codecs)
	config.ClientConfig = o.Config
	config.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	config.EnableProfiling = false
	config.LongRunningFunc = longRunning
	namer := openapi.NewDefinitionNamer(scheme)
	config.OpenAPIConfig = server.DefaultOpenAPIConfig(definitions, namer)
	config.OpenAPIV3Config = server.DefaultOpenAPIV3Config(definitions, namer)
	config.OpenAPIConfig.Info.Title, config.OpenAPIV3Config.Info.Title = "Sampan", "Sampan"

	serving := genericoptions.NewSecureServingOptions().WithLoopback()
	serving.Listener = o.People
	serving.HTTP2MaxStreamsPerConnection = 1000
	serving.ServerCert.GeneratedCert = o.Certificate
	if err := serving.ApplyToConfig(&config.Config); err != nil {
		return nil, fmt.Errorf("setting up the serving certificate: %w", err)
	}
	if err := o.Authentication.ApplyTo(&config.Authentication, config.SecureServing, config.OpenAPIConfig); err != nil {
		return nil, fmt.Errorf("setting up authentication: %w", err)
	}
	if err := o.Authorization.ApplyTo(&config.Authorization); err != nil {
		return nil, fmt.Errorf("setting up authorization: %w", err)
	}
	if err := o.Audit.ApplyTo(&config.Config); err != nil {
		return nil, fmt.Errorf("setting up the audit log: %w", err)
	}
	generic, err := config.Complete().New("sampan-apiserver", server.NewEmptyDelegate())
	if err != nil {
		return nil, fmt.Errorf("making the server: %w", err)
	}
	if err := generic.InstallAPIGroup(s.people.group()); err != nil {
		return nil, fmt.Errorf("installing %s: %w", GroupVersion, err)
	}
	healthz.InstallPathHandler(generic.Handler.NonGoRestfulMux, "/healthz/store", s.store.health())
	return generic, nil
}

// longRunning are the requests that may take longer than a minute. They have bounds of
// their own.
func longRunning(_ *http.Request, info *request.RequestInfo) bool {
	if !info.IsResourceRequest || info.Resource != agentTasks {
		return false
	}
	switch info.Subresource {
	case transcripts, logs:
		return true
	case outputs:
		return len(info.Parts) > 3
	}
	return false
}

func newRunnersServer(h http.Handler, certificate *certs.Keeper) *http.Server {
	return &http.Server{
		Handler:           h,
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate.GetCertificate},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       requestDeadline / 2,
		WriteTimeout:      requestDeadline,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
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
	background, cancel := context.WithCancel(ctx)
	group.Go(func() error { s.store.run(background); return nil })
	group.Go(func() error { s.opts.Certificate.Run(background); return nil })
	group.Go(func() error { s.sweeper.run(background); return nil })
	group.Go(func() error {
		defer cancel()
		return s.generic.PrepareRun().RunWithContext(ctx)
	})
	group.Go(func() error {
		err := s.runners.ServeTLS(s.opts.Runners, "", "")
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serving runners: %w", err)
	})
	group.Go(func() error {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := s.runners.Shutdown(ending); err != nil {
			return errors.Join(fmt.Errorf("ending what runners asked for: %w", err), s.runners.Close())
		}
		return nil
	})
	return group.Wait()
}
