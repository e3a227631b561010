package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/apiserver"
	"github.com/sampan-dev/sampan/internal/apiserver/certs"
	"github.com/sampan-dev/sampan/internal/record"
	_ "github.com/sampan-dev/sampan/internal/record/drivers" // for s3://
)

// What the server makes in its own namespace, where config/apiserver has the rights
// for these names.
const (
	secretName    = "sampan-apiserver-tls"
	configMapName = "sampan-record-ca"
)

// options are the server's flags.
type options struct {
	peopleAddr, runnerAddr string
	store                  string
	retain                 time.Duration
	namespace, service     string
	kubeconfig             string
	version                bool

	authentication *genericoptions.DelegatingAuthenticationOptions
	authorization  *genericoptions.DelegatingAuthorizationOptions
	audit          *genericoptions.AuditOptions
	logging        *logsapi.LoggingConfiguration
}

func newOptions() *options {
	return &options{
		authentication: genericoptions.NewDelegatingAuthenticationOptions(),
		authorization:  genericoptions.NewDelegatingAuthorizationOptions(),
		audit:          genericoptions.NewAuditOptions(),
		logging:        logsapi.NewLoggingConfiguration(),
	}
}

// bind adds the flags that are ours.
func (o *options) bind(fs *pflag.FlagSet) {
	fs.StringVar(&o.peopleAddr, "bind-address", ":6443", "Address at which the aggregated API is served, behind an APIService.")
	fs.StringVar(&o.runnerAddr, "runner-bind-address", ":8444", "Address at which runners are served.")
	fs.StringVar(&o.store, "record", "file:///var/lib/sampan-record", "Where records are kept: file:///FOLDER, or s3://BUCKET?region=…&endpoint=…, with credentials as the AWS SDK finds them.")
	fs.DurationVar(&o.retain, "record-retain", 0, "How long a record outlives its AgentTask.")
	fs.StringVar(&o.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "Namespace of the server, for its certificate.")
	fs.StringVar(&o.service, "service-name", "", "Service that the server is behind. Default: the one that the APIService names.")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "Kubeconfig of the API server. Default: that of the pod.")
	fs.BoolVar(&o.version, "version", false, "Print the version, and do nothing else.")
}

// bindLibrary adds the flags that API servers of Kubernetes have in common.
func (o *options) bindLibrary(fs *pflag.FlagSet) {
	o.audit.AddFlags(fs)
	logsapi.AddFlags(o.logging, fs)
}

func (o *options) complete() error {
	if o.namespace == "" {
		return errors.New("--namespace, or POD_NAMESPACE in the environment, is required")
	}
	if o.retain < 0 {
		return fmt.Errorf("--record-retain is %s; use 0 or more", o.retain)
	}
	o.authentication.RemoteKubeConfigFile = o.kubeconfig
	o.authorization.RemoteKubeConfigFile = o.kubeconfig
	if err := utilerrors.NewAggregate(o.audit.Validate()); err != nil {
		return fmt.Errorf("the flags of the audit log: %w", err)
	}
	return nil
}

// server makes the server, waiting for what it cannot serve without.
func (o *options) server(ctx context.Context) (*apiserver.Server, error) {
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("finding the API server: %w", err)
	}
	// Each request of a runner may need one of ours; the API server shares itself out.
	config.QPS = -1
	kube, err := newClient(config)
	if err != nil {
		return nil, err
	}
	keeper, err := o.keeper(ctx, kube)
	if err != nil {
		return nil, err
	}
	if err := keeper.Start(ctx); err != nil {
		return nil, err
	}
	var listen net.ListenConfig
	people, err := listen.Listen(ctx, "tcp", o.peopleAddr)
	if err != nil {
		return nil, fmt.Errorf("listening for the aggregated API: %w", err)
	}
	runners, err := listen.Listen(ctx, "tcp", o.runnerAddr)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening for runners: %w", err), people.Close())
	}
	return apiserver.New(apiserver.Options{
		Config: config, Client: kube, Certificate: keeper, Clock: clock.RealClock{}, Retain: o.retain,
		Open:   func(ctx context.Context) (apiserver.Store, error) { return record.Open(ctx, o.store) },
		People: people, Runners: runners,
		Authentication: o.authentication, Authorization: o.authorization, Audit: o.audit,
	})
}

func newClient(config *rest.Config) (client.Client, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("making a client of the API server: %w", err)
	}
	return c, nil
}

// keeper keeps the certificate for the Service that the APIService names.
func (o *options) keeper(ctx context.Context, c client.Client) (*certs.Keeper, error) {
	name := apiserver.GroupVersion.Version + "." + apiserver.GroupVersion.Group
	if o.service == "" {
		service := certs.NewAPIService(name)
		if err := c.Get(ctx, client.ObjectKeyFromObject(service), service); err != nil {
			return nil, fmt.Errorf("reading APIService %s, to learn the Service's name: %w", name, err)
		}
		found, _, err := unstructured.NestedString(service.Object, "spec", "service", "name")
		if err != nil || found == "" {
			return nil, fmt.Errorf("APIService %s names no Service: set --service-name", name)
		}
		o.service = found
	}
	return &certs.Keeper{
		Client: c, Clock: clock.RealClock{}, Namespace: o.namespace,
		Secret: secretName, ConfigMap: configMapName, Service: o.service, APIService: name,
	}, nil
}
