// Package modelprobe has a runner try out the models that a ModelProbe names, once, in a
// pod of its own. The runner writes the results; modelregistry lets them count.
package modelprobe

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
	"github.com/sampan-dev/sampan/internal/controller/budget"
	"github.com/sampan-dev/sampan/internal/controller/fair"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/controller/sandbox"
	"github.com/sampan-dev/sampan/internal/controller/slim"
	"github.com/sampan-dev/sampan/internal/text"
)

// startLimit is how long a probe may wait for its pod to run.
const startLimit = 10 * time.Minute

// maxMessage bounds a condition's message and an event's note.
const maxMessage = 512

// errStale says that the cache is behind the API server.
var errStale = kit.Stale("modelprobes")

// Reconciler reconciles ModelProbes.
type Reconciler struct {
	client.Client
	// APIReader reads past the cache, for decisions that a stale read would spoil.
	APIReader client.Reader
	Recorder  events.EventRecorder
	Clock     clock.PassiveClock
	Registry  *modelregistry.Store
	// Policy is what the administrator allows; nil is the default one.
	Policy *adminpolicy.Store
	// Budgets are those of the tasks; nil has none.
	Budgets *budget.Store
	// Sandboxes makes what all runners of a namespace share.
	Sandboxes *sandbox.Reconciler
}

// scope is what one reconcile knows.
type scope struct {
	// probe is changed as the reconcile goes; before is how it was read or last written.
	probe, before *v1alpha1.ModelProbe
	now           time.Time
	// requeue asks for another look after that time; 0 does not.
	requeue time.Duration
}

// SetupWithManager registers the controller and its watches.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	workers := r.Sandboxes.Options.Workers
	return ctrl.NewControllerManagedBy(mgr).
		Named("modelprobe").
		For(&v1alpha1.ModelProbe{}).
		Owns(&corev1.Pod{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, NewQueue: fair.NewQueue(workers, slim.Large(r.Client, &v1alpha1.ModelProbe{}))}).
		Complete(r)
}

// +kubebuilder:rbac:groups=sampan.dev,resources=modelprobes,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=sampan.dev,resources=modelprobes/status,verbs=get;patch
// +kubebuilder:rbac:groups=sampan.dev,resources=modelprobes/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;update

// Reconcile brings one probe closer to its end. What is left of one that is gone the
// garbage collector deletes.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	probe := &v1alpha1.ModelProbe{}
	if err := r.Get(ctx, req.NamespacedName, probe); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !probe.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	s := &scope{probe: probe, before: probe.DeepCopy(), now: r.Clock.Now()}
	if probe.Status.CompletionTime != nil {
		return r.close(ctx, s)
	}
	if err := r.advance(ctx, s); err != nil {
		return kit.ResultFor(err)
	}
	ended := s.probe.Status.CompletionTime != nil
	if err := r.writeStatus(ctx, s); err != nil {
		return kit.ResultFor(err)
	}
	if ended {
		r.tell(s.probe)
		return r.close(ctx, s)
	}
	return ctrl.Result{RequeueAfter: s.requeue}, nil
}

// advance makes the pod, or looks how far it is. When it began is written before all else,
// since that bounds the wait for what fails before there is anything to say.
func (r *Reconciler) advance(ctx context.Context, s *scope) error {
	if s.probe.Status.StartTime == nil {
		s.probe.Status.StartTime = new(metav1.NewTime(s.now))
		if err := r.writeStatus(ctx, s); err != nil {
			return err
		}
	}
	if s.probe.Status.PodUID == "" {
		return r.begin(ctx, s)
	}
	return r.follow(ctx, s)
}

// close ends what a probe that has ended still has, and the probe after its time.
func (r *Reconciler) close(ctx context.Context, s *scope) (ctrl.Result, error) {
	if err := r.stop(ctx, s); err != nil {
		return kit.ResultFor(err)
	}
	return r.expire(ctx, s)
}

// expire deletes a probe that has ended after its TTL.
func (r *Reconciler) expire(ctx context.Context, s *scope) (ctrl.Result, error) {
	ttl := s.probe.Spec.TTLSecondsAfterFinished
	if ttl == nil {
		return ctrl.Result{}, nil
	}
	if left := s.probe.Status.CompletionTime.Add(time.Duration(*ttl) * time.Second).Sub(s.now); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	err := r.Delete(ctx, s.probe, client.Preconditions{UID: &s.probe.UID, ResourceVersion: &s.probe.ResourceVersion})
	if err == nil {
		logf.FromContext(ctx).Info("Deleted ModelProbe after its TTL")
	}
	return kit.ResultFor(client.IgnoreNotFound(err))
}

// wait says what the probe waits for, and asks for another look.
func (s *scope) wait(reason, message string, look time.Duration) {
	s.condition(metav1.ConditionUnknown, reason, message)
	s.requeue = look
}

// end ends the probe.
func (s *scope) end(status metav1.ConditionStatus, reason, message string) {
	s.condition(status, reason, message)
	s.probe.Status.CompletionTime = new(metav1.NewTime(s.now))
	s.count()
}

func (s *scope) condition(status metav1.ConditionStatus, reason, message string) {
	if message = text.Clip(text.Inline(message), maxMessage); message == "" {
		message = reason
	}
	meta.SetStatusCondition(&s.probe.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionComplete, Status: status, Reason: reason, Message: message,
		ObservedGeneration: s.probe.Generation, LastTransitionTime: metav1.NewTime(s.now),
	})
}

// count counts the results.
func (s *scope) count() {
	var fit, unfit int32
	for _, m := range s.probe.Status.Models {
		switch m.Outcome {
		case v1alpha1.ProbeFits:
			fit++
		case v1alpha1.ProbeBelowLevel:
			unfit++
		case v1alpha1.ProbeFixSetup, v1alpha1.ProbeServerTrouble, v1alpha1.ProbeNotFinished:
		}
	}
	s.probe.Status.Fit, s.probe.Status.Unfit = &fit, &unfit
}

// writeStatus writes the status where it changed, unless somebody has written it since.
func (r *Reconciler) writeStatus(ctx context.Context, s *scope) error {
	if equality.Semantic.DeepEqual(s.before.Status, s.probe.Status) {
		return nil
	}
	patch := client.MergeFromWithOptions(s.before, client.MergeFromWithOptimisticLock{})
	if err := r.Status().Patch(ctx, s.probe, patch); err != nil {
		return fmt.Errorf("writing the status of ModelProbe %s: %w", s.probe.Name, err)
	}
	s.before = s.probe.DeepCopy()
	return nil
}

// tell sends an event of the end.
func (r *Reconciler) tell(probe *v1alpha1.ModelProbe) {
	c := meta.FindStatusCondition(probe.Status.Conditions, v1alpha1.ConditionComplete)
	kind := corev1.EventTypeNormal
	if c.Status != metav1.ConditionTrue {
		kind = corev1.EventTypeWarning
	}
	r.Recorder.Eventf(probe, nil, kind, c.Reason, "Probe", "%s", c.Message)
}
