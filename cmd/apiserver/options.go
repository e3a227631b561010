package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/semaphore"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/featuregate"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/apiserver"
	"github.com/sampan-dev/sampan/internal/apiserver/certs"
	"github.com/sampan-dev/sampan/internal/features"
	"github.com/sampan-dev/sampan/internal/record"
	_ "github.com/sampan-dev/sampan/internal/record/drivers" // for s3://
)

// What the servers make in their own namespace, where config/apiserver has the rights
// for these names.
const (
	frontSecret   = "sampan-apiserver-tls"
	recordSecret  = "sampan-record-tls"
	configMapName = "sampan-record"
	// recordPort is the port of the record's Service.
	recordPort = 8444
)

// The ServiceAccounts in config/apiserver. The record's Service has the name of its
// account, also where kustomize puts something before or after both.
const (
	frontAccount  = "sampan-apiserver"
	recordAccount = "sampan-record"
	// recordReplicas is the headless Service of the record's server.
	recordReplicas = "sampan-record-replicas"
)

// What a server serves.
const (
	servePeople = "people"
	serveRecord = "record"
)

// options are the flags of both servers.
type options struct {
	serve              string
	address            string
	store              string
	retain             time.Duration
	namespace, service string
	account, reader    string
	replicas           bool
	replicasService    string
	tokenFile          string
	kubeconfig         string
	version            bool
	features           featuregate.MutableFeatureGate

	authentication *genericoptions.DelegatingAuthenticationOptions
	authorization  *genericoptions.DelegatingAuthorizationOptions
	audit          *genericoptions.AuditOptions
	logging        *logsapi.LoggingConfiguration
}

func newOptions() *options {
	return &options{
		account:        os.Getenv("POD_SERVICE_ACCOUNT"),
		features:       features.New(),
		authentication: genericoptions.NewDelegatingAuthenticationOptions(),
		authorization:  genericoptions.NewDelegatingAuthorizationOptions(),
		audit:          genericoptions.NewAuditOptions(),
		logging:        logsapi.NewLoggingConfiguration(),
	}
}

// bind adds the flags that are ours.
func (o *options) bind(fs *pflag.FlagSet) {
	fs.StringVar(&o.serve, "serve", "", "What is served: people, behind an APIService, from what the record has; or the record itself. Required.")
	fs.StringVar(&o.address, "bind-address", "", "Address to listen at. Default: :6443 for people, :8444 for the record.")
	fs.StringVar(&o.store, "record", "file:///var/lib/sampan-record", "Where records are kept: file:///FOLDER, or s3://BUCKET?region=…&endpoint=…, with credentials as the AWS SDK finds them.")
	fs.DurationVar(&o.retain, "record-retain", 0, "How long a record outlives its AgentTask.")
	fs.StringVar(&o.reader, "reader-account", "", "ServiceAccount that reads the record for people. Default: the one that stands beside POD_SERVICE_ACCOUNT in the install.")
	fs.BoolVar(&o.replicas, "replicas", false, "Whether the record's server has replicas. One to which a Sandbox is not connected then asks the others, which are the pods of the headless Service "+recordReplicas+".")
	fs.StringVar(&o.tokenFile, "record-token-file", "/var/run/secrets/sampan-record/token", "File with the token that the server for people shows to that of the record.")
	fs.StringVar(&o.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "Namespace of the server, for its certificate.")
	fs.StringVar(&o.service, "service-name", "", "Service that the server is behind. Default: for people the one that the APIService names, for the record that of the name POD_SERVICE_ACCOUNT.")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "Kubeconfig of the API server. Default: that of the pod.")
	o.features.AddFlag(fs)
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
	switch o.serve {
	case servePeople:
		o.address = cmp.Or(o.address, ":6443")
	case serveRecord:
		o.address = cmp.Or(o.address, ":8444")
		if err := o.completeRecord(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("--serve is %q; use %s or %s", o.serve, servePeople, serveRecord)
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

// completeRecord takes from the name of the server's own account what no flag says.
func (o *options) completeRecord() error {
	o.service = cmp.Or(o.service, o.account)
	before, after, _ := strings.Cut(o.account, recordAccount)
	if o.reader == "" && o.account == before+recordAccount+after {
		o.reader = before + frontAccount + after
	}
	o.replicasService = before + recordReplicas + after
	if o.service == "" || o.reader == "" {
		return fmt.Errorf("POD_SERVICE_ACCOUNT is %q, which says neither where the server is nor who reads for people: set --service-name and --reader-account", o.account)
	}
	return nil
}

// server is what run runs.
type server interface{ Run(context.Context) error }

// server makes the server, waiting for what it cannot serve without.
func (o *options) server(ctx context.Context) (server, error) {
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("finding the API server: %w", err)
	}
	// Each request may need one of ours; the API server shares itself out.
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
	listener, err := listen.Listen(ctx, "tcp", o.address)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	if o.serve == serveRecord {
		replicas, err := o.replicasOf(listener)
		if err != nil {
			return nil, err
		}
		return apiserver.New(apiserver.Options{
			Config: config, Client: kube, Certificate: keeper, Clock: clock.RealClock{}, Retain: o.retain,
			Open: func(ctx context.Context, room *semaphore.Weighted) (apiserver.Store, error) {
				return record.OpenWith(ctx, o.store, record.Options{Room: room})
			},
			Reader: serviceaccount.MakeUsername(o.namespace, o.reader), Listener: listener, Replicas: replicas,
			Sandboxes: o.features.Enabled(features.SandboxAPI),
		})
	}
	return apiserver.NewFront(apiserver.FrontOptions{
		Config: config, Certificate: keeper, People: listener,
		Record: &apiserver.RecordServer{
			Client: kube, Clock: clock.RealClock{}, Namespace: o.namespace, ConfigMap: configMapName, TokenFile: o.tokenFile,
		},
		Authentication: o.authentication, Authorization: o.authorization, Audit: o.audit,
		Sandboxes: o.features.Enabled(features.SandboxAPI),
	})
}

// replicasOf gives what finds the replicas of a server, if there may be some. They all
// listen at its port.
func (o *options) replicasOf(l net.Listener) (func(context.Context) ([]string, error), error) {
	if !o.replicas {
		return nil, nil
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("the port of the replicas: %w", err)
	}
	return func(ctx context.Context) ([]string, error) {
		hosts, err := net.DefaultResolver.LookupHost(ctx, o.replicasService+"."+o.namespace+".svc")
		for i, host := range hosts {
			hosts[i] = net.JoinHostPort(host, port)
		}
		return hosts, err
	}, nil
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

// keeper keeps the certificate of the server.
func (o *options) keeper(ctx context.Context, c client.Client) (*certs.Keeper, error) {
	k := &certs.Keeper{Client: c, Clock: clock.RealClock{}, Namespace: o.namespace, Service: o.service}
	if o.serve == serveRecord {
		k.Secret, k.ConfigMap, k.Port = recordSecret, configMapName, recordPort
		return k, nil
	}
	k.Secret, k.APIService = frontSecret, apiserver.GroupVersion.Version+"."+apiserver.GroupVersion.Group
	if k.Service != "" {
		return k, nil
	}
	service := certs.NewAPIService(k.APIService)
	if err := c.Get(ctx, client.ObjectKeyFromObject(service), service); err != nil {
		return nil, fmt.Errorf("reading APIService %s, to learn the Service's name: %w", k.APIService, err)
	}
	var err error
	if k.Service, _, err = unstructured.NestedString(service.Object, "spec", "service", "name"); err != nil || k.Service == "" {
		return nil, fmt.Errorf("APIService %s names no Service: set --service-name", k.APIService)
	}
	return k, nil
}
