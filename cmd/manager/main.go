// Command manager runs Sampan's controllers.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/component-base/featuregate"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
	"github.com/sampan-dev/sampan/internal/controller/agenttask"
	"github.com/sampan-dev/sampan/internal/controller/budget"
	"github.com/sampan-dev/sampan/internal/controller/metrics"
	"github.com/sampan-dev/sampan/internal/controller/modelprobe"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/controller/recording"
	"github.com/sampan-dev/sampan/internal/controller/sandbox"
	"github.com/sampan-dev/sampan/internal/controller/sandboxpool"
	"github.com/sampan-dev/sampan/internal/controller/slim"
	"github.com/sampan-dev/sampan/internal/controller/warm"
	"github.com/sampan-dev/sampan/internal/features"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/policy"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/version"
)

// options are the manager's flags.
type options struct {
	metricsAddr, probeAddr string
	// metricsCertDir holds tls.crt and tls.key; empty makes a certificate that nobody signed.
	metricsCertDir string
	// checkPolicy is a file to check instead of running; version says the version instead.
	checkPolicy       string
	version           bool
	leaderElect       bool
	operatorNamespace string
	// podName is the pod that the manager runs in; empty outside of a cluster.
	podName        string
	workers        int
	qps            float64
	record         recording.Mode
	sandbox        sandbox.Options
	features       featuregate.MutableFeatureGate
	userNamespaces string
	zap            zap.Options
}

func (o *options) bind(fs *flag.FlagSet) {
	fs.StringVar(&o.metricsAddr, "metrics-bind-address", ":8443", "Address of the metrics endpoint, HTTPS for those who may get /metrics; 0 turns it off.")
	fs.StringVar(&o.metricsCertDir, "metrics-cert-dir", "", "Folder with tls.crt and tls.key for the metrics endpoint. Default: a certificate that is made at start.")
	fs.StringVar(&o.checkPolicy, "check-policy", "", "Check a file with an administrator's policy, and do nothing else.")
	fs.BoolVar(&o.version, "version", false, "Print the version, and do nothing else.")
	fs.StringVar(&o.probeAddr, "health-probe-bind-address", ":8081", "Address of /healthz and /readyz.")
	fs.BoolVar(&o.leaderElect, "leader-elect", true, "Let only one of several managers be active, by a Lease in the operator's namespace.")
	fs.StringVar(&o.operatorNamespace, "operator-namespace", os.Getenv("POD_NAMESPACE"), "Namespace whose registry serves namespaces without one of their own.")
	fs.IntVar(&o.workers, "workers", 8, "How many objects of a kind are reconciled at once.")
	fs.Float64Var(&o.qps, "kube-api-qps", -1, "Bound on requests to the API server, per second, of each kind of object. Default: none; the number of workers bounds how many are under way, and the API server shares itself out by priority and fairness.")
	o.podName = os.Getenv("POD_NAME")
	fs.StringVar(&o.sandbox.RunnerImage, "runner-image", "", "Image of the runner container. Default: that of the init container runner of the pod that POD_NAME names.")
	fs.StringVar(&o.sandbox.RunnerRole, "runner-role", "", "ClusterRole that runners are bound to. Default: sampan-runner, with the prefix and suffix of the manager's own ServiceAccount.")
	fs.StringVar(&o.sandbox.SandboxImage, "sandbox-image", "", "Image of the sandbox container where a Sandbox names none. Default: the runner image.")
	fs.StringVar(&o.userNamespaces, "user-namespaces", string(sandbox.UserNamespacesAuto), "Run pods in user namespaces (hostUsers: false): off; on, which needs support on every node; or auto, for pods without a claim or a runtime class, while every node says that it has it.")
	fs.Func("run-as-user", "Whom pods run as: fixed (default), user and group 65532; or platform, a user that the platform gives to all containers of a pod, as OpenShift does.", o.setUser)
	o.record = recording.Auto
	fs.Func("record", "Record what tasks do where it outlives their pods: auto (default), where sampan-record runs; required, and start nothing before it has run; or off.", o.setRecord)
	fs.Func("dns-cidrs", "CIDRs, divided by commas, of resolvers that a Restricted Sandbox may ask besides those in kube-system and in 169.254.0.0/16. May be repeated.", o.addDNS)
	o.features = features.New()
	fs.Func("feature-gates", "What is turned on or off, as SandboxPool=false; divided by commas.", o.features.Set)
	o.zap.BindFlags(fs)
}

func (o *options) setUser(kind string) error {
	switch kind {
	case "fixed", "platform":
		o.sandbox.PlatformUser = kind == "platform"
		return nil
	}
	return fmt.Errorf("use fixed or platform")
}

func (o *options) setRecord(mode string) error {
	switch o.record = recording.Mode(mode); o.record {
	case recording.Auto, recording.Required, recording.Off:
		return nil
	}
	return fmt.Errorf("use %s, %s or %s", recording.Auto, recording.Required, recording.Off)
}

func (o *options) addDNS(list string) error {
	for text := range strings.SplitSeq(list, ",") {
		cidr, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return err
		}
		o.sandbox.DNS = append(o.sandbox.DNS, cidr.Masked())
	}
	return nil
}

func (o *options) complete() error {
	if o.sandbox.RunnerImage == "" && o.podName == "" {
		return fmt.Errorf("--runner-image, or POD_NAME in the environment, is required")
	}
	if o.operatorNamespace == "" {
		return fmt.Errorf("--operator-namespace, or POD_NAMESPACE in the environment, is required")
	}
	o.sandbox.Workers = o.workers
	mode := sandbox.UserNamespaceMode(o.userNamespaces)
	if mode == sandbox.UserNamespacesAuto && o.sandbox.PlatformUser {
		mode = sandbox.UserNamespacesOff // they have users up to 65535, and a platform's are usually above
	}
	switch mode {
	case sandbox.UserNamespacesOff, sandbox.UserNamespacesOn, sandbox.UserNamespacesAuto:
		o.sandbox.UserNamespaces = &sandbox.UserNamespaces{Mode: mode, Clock: clock.RealClock{}}
	default:
		return fmt.Errorf("--user-namespaces is %q; use off, on or auto", mode)
	}
	return nil
}

func main() {
	var o options
	o.bind(flag.CommandLine)
	flag.Parse()
	switch {
	case o.version:
		fmt.Println(version.String())
		return
	case o.checkPolicy != "":
		if err := checkPolicy(o.checkPolicy); err != nil {
			fmt.Fprintln(text.NewWriter(os.Stderr), err)
			os.Exit(1)
		}
		return
	}
	ctrl.SetLogger(logger(os.Stderr, &o.zap))
	if err := run(ctrl.SetupSignalHandler(), &o); err != nil {
		ctrl.Log.Error(err, "Manager stopped")
		os.Exit(1)
	}
}

// checkPolicy says what is wrong with a policy's document, line by line.
func checkPolicy(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if _, err := policy.Parse(data); err != nil {
		return fmt.Errorf("%s:\n%w", path, err)
	}
	return nil
}

// logger logs what objects, registries and containers say in characters that are
// safe to be shown.
func logger(w io.Writer, o *zap.Options) logr.Logger {
	return zap.New(zap.UseFlagOptions(o), zap.WriteTo(text.NewLogWriter(w)))
}

// run runs the manager until ctx ends.
func run(ctx context.Context, o *options) error {
	if err := o.complete(); err != nil {
		return err
	}
	mgr, err := newManager(o)
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	if err := o.fromPod(ctx, mgr.GetAPIReader()); err != nil {
		return err
	}
	o.sandbox.SandboxImage = cmp.Or(o.sandbox.SandboxImage, o.sandbox.RunnerImage)
	o.sandbox.RunnerRole = cmp.Or(o.sandbox.RunnerRole, podspec.RunnerName)
	o.sandbox.UserNamespaces.Nodes = mgr.GetAPIReader()
	recorder := mgr.GetEventRecorder("sampan")
	cached := slim.Client(mgr.GetClient(), mgr.GetAPIReader())
	store := &modelregistry.Store{Reader: mgr.GetCache(), Live: mgr.GetAPIReader(), OperatorNamespace: o.operatorNamespace, Recorder: recorder}
	bounds, err := adminpolicy.Watch(mgr, o.operatorNamespace, recorder)
	if err != nil {
		return err
	}
	record := &recording.Finder{Reader: mgr.GetAPIReader(), Namespace: o.operatorNamespace, Mode: o.record, Clock: clock.RealClock{}}
	surroundings, err := o.setUpPools(ctx, mgr, &sandboxpool.Reconciler{
		Client: cached, APIReader: mgr.GetAPIReader(), Recorder: recorder, Clock: clock.RealClock{}, Policy: bounds, Workers: o.workers,
		Surroundings: &warm.Surroundings{
			Registry: store, Images: []string{o.sandbox.RunnerImage, o.sandbox.SandboxImage},
			Others: []func(context.Context) (string, error){bounds.Document, record.Text},
		},
	})
	if err != nil {
		return fmt.Errorf("setting up the sandboxpool controller: %w", err)
	}
	if err := o.setUpTasks(ctx, mgr, &agenttask.Reconciler{
		Client: cached, APIReader: mgr.GetAPIReader(), Recorder: recorder,
		Clock: clock.RealClock{}, Registry: store, Policy: bounds, Surroundings: surroundings, Workers: o.workers,
	}, record); err != nil {
		return err
	}
	if err := mgr.Add(&metrics.Watcher{Cache: mgr.GetCache(), Clock: clock.RealClock{}}); err != nil {
		return fmt.Errorf("setting up the metrics: %w", err)
	}
	if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("readyz", healthz.Ping); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// setUpTasks sets up the controllers of tasks and of what they need: Budgets, Sandboxes and
// probed models.
func (o *options) setUpTasks(ctx context.Context, mgr ctrl.Manager, tasks *agenttask.Reconciler, record *recording.Finder) error {
	tasks.Budgets = &budget.Store{Client: tasks.Client, APIReader: tasks.APIReader, Clock: tasks.Clock}
	if err := (&budget.Reconciler{Store: tasks.Budgets, Workers: o.workers}).SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the budget controller: %w", err)
	}
	if err := tasks.SetupWithManager(ctx, mgr); err != nil {
		return fmt.Errorf("setting up the agenttask controller: %w", err)
	}
	sandboxes := &sandbox.Reconciler{
		Client: tasks.Client, APIReader: tasks.APIReader, Recorder: tasks.Recorder,
		Clock: tasks.Clock, Registry: tasks.Registry, Policy: tasks.Policy, Options: o.sandbox,
		Record: record,
	}
	if err := sandboxes.SetupWithManager(mgr); err != nil { //nolint:contextcheck // a queue looks into the cache, which takes no time
		return fmt.Errorf("setting up the sandbox controller: %w", err)
	}
	if err := (&modelprobe.Reconciler{
		Client: tasks.Client, APIReader: tasks.APIReader, Recorder: tasks.Recorder,
		Clock: tasks.Clock, Registry: tasks.Registry, Policy: tasks.Policy, Budgets: tasks.Budgets, Sandboxes: sandboxes,
	}).SetupWithManager(mgr); err != nil { //nolint:contextcheck // a queue looks into the cache, which takes no time
		return fmt.Errorf("setting up the modelprobe controller: %w", err)
	}
	return nil
}

// setUpPools sets the controller of pools up, and gives what warm Sandboxes are made in, or
// nil where pools are turned off: the controller then empties those that there are.
func (o *options) setUpPools(ctx context.Context, mgr ctrl.Manager, r *sandboxpool.Reconciler) (*warm.Surroundings, error) {
	if err := sandboxpool.IndexPools(ctx, mgr); err != nil {
		return nil, err
	}
	surroundings := r.Surroundings
	if r.Disabled = !o.features.Enabled(features.SandboxPool); r.Disabled {
		surroundings = nil
	}
	return surroundings, r.SetupWithManager(mgr) //nolint:contextcheck // a queue looks into the cache, which takes no time
}

// An API server that is busy with what tenants write answers late, and a manager that
// gives its lease up then has all of that to read again. One that ends in order
// releases the lease; after any other end the next one waits for leaseDuration.
const (
	leaseDuration = 45 * time.Second
	renewDeadline = 30 * time.Second
	renewInterval = 5 * time.Second
)

// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=system,resources=leases,verbs=get;create;update
// +kubebuilder:rbac:groups=operator.sampan.dev,resources=identities,verbs=use
// +kubebuilder:rbac:groups="",namespace=system,resources=events,verbs=create;patch

func newManager(o *options) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = float32(o.qps), int(2*o.qps)
	return ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme,
		Metrics: metricsserver.Options{
			BindAddress: o.metricsAddr, SecureServing: true, CertDir: o.metricsCertDir,
			FilterProvider: authenticated,
		},
		HealthProbeBindAddress:        o.probeAddr,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "sampan.dev",
		LeaderElectionNamespace:       o.operatorNamespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(leaseDuration),
		RenewDeadline:                 new(renewDeadline),
		RetryPeriod:                   new(renewInterval),
		Cache:                         cacheOptions(),
	})
}

// cacheOptions say what is cached. Of other people's objects only those that we look
// at are, and of all of them only what is looked at.
func cacheOptions() cache.Options {
	ours := labels.SelectorFromSet(labels.Set{podspec.LabelManagedBy: podspec.ManagedBy})
	// Webhooks of a platform are known to write the common label managed-by, so pods
	// are known by one that is ours alone.
	sandboxed, err := labels.NewRequirement(podspec.LabelSandbox, selection.Exists, nil)
	utilruntime.Must(err)
	pods := labels.NewSelector().Add(*sandboxed)
	// The right to read them is for that name alone.
	apiServer := cache.ByObject{Field: named(sandbox.APIServer.Name), Namespaces: map[string]cache.Config{sandbox.APIServer.Namespace: {}}}
	return cache.Options{
		DefaultTransform: slim.Transform,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:                   {Label: pods},
			&corev1.ServiceAccount{}:        {Field: named(podspec.RunnerName)},
			&corev1.PersistentVolumeClaim{}: {Label: ours},
			&rbacv1.RoleBinding{}:           {Label: ours},
			&networkingv1.NetworkPolicy{}:   {Label: ours},
			&corev1.ConfigMap{}:             {Field: named(modelregistry.ConfigMapName)},
			&corev1.Service{}:               apiServer,
			&discoveryv1.EndpointSlice{}:    apiServer,
		},
	}
}

func named(name string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", name) }
