package apiserver

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	"k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/healthz"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/client-go/rest"

	"github.com/sampan-dev/sampan/internal/apiserver/certs"
)

// FrontOptions are what a Front is made of.
type FrontOptions struct {
	// Config reaches the API server.
	Config *rest.Config
	// Certificate is what it serves with. It is kept fresh while the server runs.
	Certificate *certs.Keeper
	// Record is whom what is asked for is forwarded to.
	Record *RecordServer
	// Sandboxes: people may use Sandboxes, too.
	Sandboxes bool
	// People is where it listens.
	People net.Listener

	Authentication *genericoptions.DelegatingAuthenticationOptions
	Authorization  *genericoptions.DelegatingAuthorizationOptions
	Audit          *genericoptions.AuditOptions
}

// Front is the aggregated API. It decides who may read what, and has what may be read
// sent by the server of the record. It keeps nothing itself, so that it answers discovery
// whatever becomes of the store and its volume: an aggregated API that does not blocks
// the deletion of namespaces in the whole cluster.
type Front struct {
	opts      FrontOptions
	record    *RecordServer
	forwarder *forwarder
	generic   *server.GenericAPIServer
	stop      context.CancelFunc
}

// NewFront makes a server. The certificate has to be there.
func NewFront(o FrontOptions) (*Front, error) {
	stopping, stop := context.WithCancel(context.Background())
	f := &Front{opts: o, record: o.Record, stop: stop, forwarder: &forwarder{
		record: o.Record, clock: o.Record.Clock, users: newQuota(maxPerUser), sandboxUsers: newQuota(maxSandboxRequests),
		places: semaphore.NewWeighted(maxSandboxes), stopping: stopping,
	}}
	var err error
	if f.generic, err = f.newGeneric(); err != nil {
		stop()
		return nil, err
	}
	return f, nil
}

// Run serves until ctx ends.
func (f *Front) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, f.stop)
	defer stop()
	background, cancel := context.WithCancel(ctx)
	group.Go(func() error { f.opts.Certificate.Run(background); return nil })
	group.Go(func() error {
		defer cancel()
		return f.generic.PrepareRun().RunWithContext(ctx)
	})
	return group.Wait()
}

// newGeneric makes the server of the people's door.
func (f *Front) newGeneric() (*server.GenericAPIServer, error) {
	o := &f.opts
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
	if err := generic.InstallAPIGroup(f.forwarder.group(o.Sandboxes)); err != nil {
		return nil, fmt.Errorf("installing %s: %w", GroupVersion, err)
	}
	healthz.InstallPathHandler(generic.Handler.NonGoRestfulMux, "/healthz/store", f.record.health())
	return generic, nil
}

// longRunning are the requests that may take longer than a minute. They have bounds of
// their own.
func longRunning(_ *http.Request, info *request.RequestInfo) bool {
	if info.IsResourceRequest && info.Resource == sandboxes {
		return info.Subresource != sandboxStatus
	}
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
