// Package agenttask drives AgentTasks: it opens attempts, gives each a Sandbox,
// and turns what the runner and the Sandbox report into the task's status.
package agenttask

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
	"github.com/sampan-dev/sampan/internal/controller/budget"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/controller/slim"
	"github.com/sampan-dev/sampan/internal/controller/warm"
	"github.com/sampan-dev/sampan/internal/text"
)

// finalizer is what earlier versions have kept an AgentTask by, until the named Sandbox
// that it has claimed was given back. Now the Sandbox controller sees to that.
const finalizer = "sampan.dev/agenttask"

// Reconciler reconciles AgentTasks.
type Reconciler struct {
	client.Client
	// APIReader reads past the cache, for decisions that a stale read would spoil.
	APIReader client.Reader
	Recorder  events.EventRecorder
	Clock     clock.PassiveClock
	Registry  *modelregistry.Store
	// Policy is what the administrator lets tasks ask for; nil is the default one.
	Policy *adminpolicy.Store
	// Budgets bound what the tasks of a namespace spend; nil bounds nothing.
	Budgets *budget.Store
	// Surroundings are what warm Sandboxes must have been made in; nil claims none.
	Surroundings *warm.Surroundings
	// Workers is how many tasks are reconciled at once.
	Workers int

	reserved reservations
}

// scope is what one reconcile knows.
type scope struct {
	// task is changed as the reconcile goes; before is how it was read.
	task, before *v1alpha1.AgentTask
	// sandbox of the current or last attempt, or nil.
	sandbox *v1alpha1.Sandbox
	// pod of that Sandbox, or nil.
	pod *corev1.Pod
	// budgeted: the namespace has Budgets.
	budgeted bool
	// written: this reconcile has written the task's status, so it is no stale one.
	written bool
	// now is one time for all of a step.
	now time.Time
	// events are sent after the status was written.
	events []event
	// requeue asks for another look after that time; 0 does not.
	requeue time.Duration
}

type event struct{ kind, reason, action, note string }

func (s *scope) event(kind, reason, action, format string, args ...any) {
	s.events = append(s.events, event{kind, reason, action, text.Clip(text.OneLine(fmt.Sprintf(format, args...)), maxMessage)})
}

// requeueWithin asks for a look after d at the latest.
func (s *scope) requeueWithin(d time.Duration) {
	d = max(d, time.Millisecond)
	if s.requeue == 0 || d < s.requeue {
		s.requeue = d
	}
}

// +kubebuilder:rbac:groups=sampan.dev,resources=agenttasks,verbs=get;list;watch;update;patch;delete
// +kubebuilder:rbac:groups=sampan.dev,resources=agenttasks/status,verbs=get;patch
// +kubebuilder:rbac:groups=sampan.dev,resources=agenttasks/finalizers,verbs=update
// +kubebuilder:rbac:groups=sampan.dev,resources=sandboxes,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=sampan.dev,resources=sandboxpools,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile brings one task closer to its end.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	task := &v1alpha1.AgentTask{}
	if err := slim.GetUnlessIdle(ctx, r.Client, req.NamespacedName, task, func() bool { return asleep(task) }); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if slim.Partial(task) {
		return ctrl.Result{}, nil
	}
	s := &scope{task: task, before: task.DeepCopy()}
	if !task.DeletionTimestamp.IsZero() {
		return settle(s, r.finalize(ctx, s))
	}
	if err := r.dropFinalizer(ctx, s); err != nil {
		return settle(s, err)
	}
	// Each step writes at most one status and then acts only on what was
	// written, so a crash between two steps loses nothing.
	for range maxSteps {
		if err := r.step(ctx, s); err != nil {
			return settle(s, err)
		}
		wrote, err := r.writeStatus(ctx, s)
		if err != nil || !wrote {
			return settle(s, err)
		}
	}
	s.requeueWithin(time.Second)
	return settle(s, nil)
}

// asleep reports whether a task is suspended, has never been started, and says so.
func asleep(task *v1alpha1.AgentTask) bool {
	c := meta.FindStatusCondition(task.Status.Conditions, v1alpha1.ConditionSucceeded)
	return task.Spec.State == v1alpha1.TaskSuspended && task.Status.Attempt == 0 && task.DeletionTimestamp.IsZero() &&
		task.Status.ObservedGeneration == task.Generation && c != nil && c.Reason == v1alpha1.ReasonSuspended
}

// maxSteps bounds how far one reconcile goes: start, open, create, observe.
const maxSteps = 5

// step does the next thing for the task.
func (r *Reconciler) step(ctx context.Context, s *scope) error {
	s.requeue, s.now = 0, r.Clock.Now()
	if err := r.gather(ctx, s); err != nil {
		return err
	}
	switch {
	case kit.Finished(s.task):
		return r.cleanUp(ctx, s)
	case kit.AttemptOpen(s.task):
		return r.reconcileAttempt(ctx, s)
	}
	return r.begin(ctx, s)
}

// writeStatus writes the status where it changed, then sends the events.
func (r *Reconciler) writeStatus(ctx context.Context, s *scope) (bool, error) {
	s.task.Status.ObservedGeneration = s.task.Generation
	if equality.Semantic.DeepEqual(s.before.Status, s.task.Status) {
		return false, nil
	}
	if err := r.Status().Patch(ctx, s.task, optimistic(s.before)); err != nil {
		return false, err
	}
	s.before, s.written = s.task.DeepCopy(), true
	for _, e := range s.events {
		r.Recorder.Eventf(s.task, nil, e.kind, e.reason, e.action, "%s", e.note)
	}
	s.events = nil
	return true, nil
}

// optimistic patches only if nobody else has written since before was read.
func optimistic(before client.Object) client.Patch {
	return client.MergeFromWithOptions(before.DeepCopyObject().(client.Object), client.MergeFromWithOptimisticLock{})
}

// settle ends a reconcile.
func settle(s *scope, err error) (ctrl.Result, error) {
	if err != nil {
		return kit.ResultFor(err)
	}
	return ctrl.Result{RequeueAfter: s.requeue}, nil
}
