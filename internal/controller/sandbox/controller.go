// Package sandbox gives every Sandbox its pod, exactly one at a time, and says
// on the Sandbox how that pod is doing.
package sandbox

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/controller/recording"
	"github.com/sampan-dev/sampan/internal/text"
)

// Options are what every pod is made with.
type Options struct {
	RunnerImage  string
	SandboxImage string
	// RunnerRole is the ClusterRole that runners are bound to.
	RunnerRole string
	// PlatformUser leaves the user of pods to the platform.
	PlatformUser bool
	// UserNamespaces is nil for none.
	UserNamespaces *UserNamespaces
	// DNS are resolvers that are neither in kube-system nor node-local.
	DNS []netip.Prefix
	// Workers is how many Sandboxes are reconciled at once.
	Workers int
}

// Reconciler reconciles Sandboxes.
type Reconciler struct {
	client.Client
	// APIReader reads past the cache, for decisions that a stale read would spoil.
	APIReader client.Reader
	Recorder  events.EventRecorder
	Clock     clock.PassiveClock
	Registry  *modelregistry.Store
	// Policy is what the administrator lets Sandboxes ask for; nil is the default one.
	Policy *adminpolicy.Store
	// Record finds where runners record; a nil one finds nothing.
	Record  *recording.Finder
	Options Options

	// made are the pods that this process has made and no status has yet.
	made uidSet
}

// scope is what one reconcile knows.
type scope struct {
	// sandbox is changed as the reconcile goes; before is how it was read.
	sandbox, before *v1alpha1.Sandbox
	// holder is whom the pod works for.
	holder holder
	// pod is the pod of status.podName, or nil.
	pod *corev1.Pod
	// facts become the conditions.
	facts facts
	// confirmed: the API server has the Sandbox just as it was read.
	confirmed bool
	// holderConfirmed: and it is held as it seemed.
	holderConfirmed bool
	// events are sent after the status was written. warnings become events when
	// a pod has been made.
	events, warnings []event
	// requeue asks for another look after that time; 0 does not.
	requeue time.Duration
}

type event struct{ kind, reason, action, note string }

func (s *scope) event(kind, reason, action, format string, args ...any) {
	s.events = append(s.events, event{kind, reason, action, text.Clip(text.OneLine(fmt.Sprintf(format, args...)), maxMessage)})
}

// +kubebuilder:rbac:groups=sampan.dev,resources=sandboxes,verbs=get;list;watch;update;patch;delete
// +kubebuilder:rbac:groups=sampan.dev,resources=sandboxes/status,verbs=get;patch
// +kubebuilder:rbac:groups=sampan.dev,resources=sandboxes/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=get;list;watch;create
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=rolebindings,verbs=get;list;watch;create;update
// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch;create
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups="",resources=services,resourceNames=kubernetes,verbs=get;list;watch
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,resourceNames=kubernetes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=nodes,verbs=list
// +kubebuilder:rbac:groups="",resources=events,verbs=list
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile brings one Sandbox closer to its spec.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	sb := &v1alpha1.Sandbox{}
	if err := r.Get(ctx, req.NamespacedName, sb); err != nil {
		if apierrors.IsNotFound(err) {
			return r.swept(ctx, req)
		}
		return ctrl.Result{}, err
	}
	s := &scope{sandbox: sb, before: sb.DeepCopy(), facts: facts{now: r.Clock.Now()}}
	if !sb.DeletionTimestamp.IsZero() {
		return r.finalize(ctx, s)
	}
	if s.idleFor(sb.Spec.TTLSeconds) {
		return r.expire(ctx, s)
	}
	if err := r.dropFinalizer(ctx, s); err != nil {
		return kit.ResultFor(err)
	}
	if released, err := r.releaseVanished(ctx, s); err != nil || released {
		return kit.ResultFor(err) // the write brings the next reconcile
	}
	if err := r.reconcilePod(ctx, s); err != nil {
		return kit.ResultFor(err)
	}
	if s.facts.obstructed() {
		s.requeue = obstacleInterval // no watch need tell when what is in the way goes
	}
	return r.writeStatus(ctx, s)
}

// finalizer is what earlier versions have kept Sandboxes by, until their pods were
// gone. Where they are deleted together with the manager nobody would take it off.
const finalizer = "sampan.dev/sandbox"

func (r *Reconciler) dropFinalizer(ctx context.Context, s *scope) error {
	if !controllerutil.RemoveFinalizer(s.sandbox, finalizer) {
		return nil
	}
	if err := r.Patch(ctx, s.sandbox, client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("removing the finalizer: %w", err)
	}
	s.before = s.sandbox.DeepCopy()
	return nil
}

// swept removes what the garbage collector leaves of a Sandbox that is gone.
func (r *Reconciler) swept(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	waiting, err := r.sweepPolicy(ctx, req.NamespacedName, "")
	if err != nil || !waiting {
		return kit.ResultFor(err)
	}
	return ctrl.Result{RequeueAfter: podGoneInterval}, nil
}

// writeStatus turns facts into conditions and writes them where they changed.
func (r *Reconciler) writeStatus(ctx context.Context, s *scope) (ctrl.Result, error) {
	s.noteActivity()
	s.requeueForIdle()
	if !s.quiet() {
		s.facts.apply(s.sandbox)
	}
	if !s.quiet() && !equality.Semantic.DeepEqual(s.before.Status, s.sandbox.Status) {
		patch := client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})
		if err := r.Status().Patch(ctx, s.sandbox, patch); err != nil {
			return kit.ResultFor(err)
		}
	}
	for _, e := range s.events {
		r.Recorder.Eventf(s.sandbox, nil, e.kind, e.reason, e.action, "%s", e.note)
	}
	return ctrl.Result{RequeueAfter: s.requeue}, nil
}
