// Package sandboxpool keeps as many Sandboxes warm as each SandboxPool asks for. Tasks
// claim them (internal/controller/agenttask), and the Sandbox controller makes their pods.
package sandboxpool

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/warm"
	"github.com/sampan-dev/sampan/internal/podspec"
)

const (
	// problemInterval is how often something that a user has to fix is looked for where
	// no watch tells.
	problemInterval = 15 * time.Second
	// lookInterval is how often a pool is looked at in any case: the scopes of its
	// namespace, and where the record is, change without a watch.
	lookInterval = 5 * time.Minute
)

// Reconciler reconciles SandboxPools.
type Reconciler struct {
	client.Client
	// APIReader reads past the cache: what is made is counted before more is made.
	APIReader client.Reader
	Recorder  events.EventRecorder
	Clock     clock.PassiveClock
	// Policy is what the administrator lets Sandboxes ask for; nil is the default one.
	Policy       *adminpolicy.Store
	Surroundings *warm.Surroundings
	// Disabled takes every pool for one of 0 replicas.
	Disabled bool
	// Workers is how many pools are reconciled at once.
	Workers int
}

// scope is what one reconcile knows.
type scope struct {
	// pool is changed as the reconcile goes; before is how it was read.
	pool, before *v1alpha1.SandboxPool
	now          time.Time
	wanted       wanted
	plan         plan
	// waiting is how many Sandboxes wait.
	waiting int
	// problem keeps Sandboxes from being made; nil if nothing does.
	problem *problem
	// requeue asks for another look after that time; 0 does not.
	requeue time.Duration
}

// problem is what keeps a pool from being filled.
type problem struct {
	reason, message string
	// passing says that it goes by itself; any other a user has to fix.
	passing bool
}

// +kubebuilder:rbac:groups=sampan.dev,resources=sandboxpools,verbs=get;list;watch
// +kubebuilder:rbac:groups=sampan.dev,resources=sandboxpools/status,verbs=get;patch
// +kubebuilder:rbac:groups=sampan.dev,resources=sandboxpools/finalizers,verbs=update
// +kubebuilder:rbac:groups=sampan.dev,resources=sandboxes,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile brings one pool closer to its spec. Those of a pool that is gone, and that no
// task has claimed, the garbage collector deletes.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pool := &v1alpha1.SandboxPool{}
	if err := r.Get(ctx, req.NamespacedName, pool); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !pool.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	s := &scope{pool: pool, before: pool.DeepCopy(), now: r.Clock.Now()}
	if err := r.reconcile(ctx, s); err != nil {
		return kit.ResultFor(err)
	}
	return r.writeStatus(ctx, s)
}

func (r *Reconciler) reconcile(ctx context.Context, s *scope) error {
	if err := r.want(ctx, s); err != nil {
		return err
	}
	cached, err := r.cached(ctx, s.pool)
	if err != nil {
		return err
	}
	if s.decide(cached); !s.acts() {
		return nil
	}
	// What the cache shows may be old: it is counted again before anything is done.
	live, err := r.live(ctx, s.pool, cached)
	if err != nil {
		return err
	}
	s.decide(live)
	if err := r.remove(ctx, s); err != nil {
		return err
	}
	return r.create(ctx, s)
}

// want tells what the pool is to have.
func (r *Reconciler) want(ctx context.Context, s *scope) error {
	s.requeue = lookInterval
	surroundings := ""
	if r.Disabled {
		s.problem = &problem{reason: v1alpha1.ReasonDisabled, message: "The feature gate SandboxPool is off, so that no Sandbox is kept"}
	} else {
		var err error
		if surroundings, err = r.check(ctx, s); err != nil {
			return err
		}
	}
	s.wanted = wantedOf(s.pool, surroundings)
	s.wanted.asIs, s.wanted.now, s.wanted.since = s.problem != nil, s.now, s.notReadySince()
	if r.Disabled {
		s.wanted.replicas = 0
	}
	return nil
}

// cached are the Sandboxes that wait in a pool, as the cache shows them.
func (r *Reconciler) cached(ctx context.Context, pool *v1alpha1.SandboxPool) ([]*v1alpha1.Sandbox, error) {
	var list v1alpha1.SandboxList
	err := r.List(ctx, &list, client.InNamespace(pool.Namespace), client.MatchingFields{warm.IndexPool: string(pool.UID)})
	if err != nil {
		return nil, fmt.Errorf("listing the Sandboxes of SandboxPool %s: %w", pool.Name, err)
	}
	return warm.Waiting(list.Items, pool.UID), nil
}

// live are the same, read past the cache: by their label and, if somebody has taken that
// from one which the cache shows, by its name.
func (r *Reconciler) live(ctx context.Context, pool *v1alpha1.SandboxPool, cached []*v1alpha1.Sandbox) ([]*v1alpha1.Sandbox, error) {
	var list v1alpha1.SandboxList
	err := r.APIReader.List(ctx, &list, client.InNamespace(pool.Namespace), client.MatchingLabels{podspec.LabelPool: pool.Name})
	if err != nil {
		return nil, fmt.Errorf("listing the Sandboxes of SandboxPool %s: %w", pool.Name, err)
	}
	found := map[types.UID]bool{}
	for i := range list.Items {
		found[list.Items[i].UID] = true
	}
	for _, sb := range cached {
		if found[sb.UID] {
			continue
		}
		var one v1alpha1.Sandbox
		err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(sb), &one)
		switch {
		case err == nil:
			list.Items = append(list.Items, one)
		case !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("reading Sandbox %s: %w", sb.Name, err)
		}
	}
	return warm.Waiting(list.Items, pool.UID), nil
}

// decide plans what to do about the Sandboxes that wait.
func (s *scope) decide(waiting []*v1alpha1.Sandbox) {
	s.waiting, s.plan = len(waiting), planOf(s.wanted, waiting)
	if s.problem != nil {
		s.plan.create = 0
	}
	if s.plan.next > 0 {
		s.requeueWithin(s.plan.next)
	}
}

// acts reports whether there is something to do.
func (s *scope) acts() bool { return s.plan.create > 0 || len(s.plan.remove) > 0 }

// remove deletes Sandboxes that nobody is to claim any more. The resourceVersion keeps it
// from deleting one that a task claims at the same time.
func (r *Reconciler) remove(ctx context.Context, s *scope) error {
	for _, sb := range s.plan.remove {
		err := r.Delete(ctx, sb, client.Preconditions{UID: &sb.UID, ResourceVersion: &sb.ResourceVersion})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting Sandbox %s: %w", sb.Name, err)
		}
		s.waiting--
		logf.FromContext(ctx).Info("Deleted Sandbox that waited", "sandbox", sb.Name)
	}
	return nil
}

// create makes Sandboxes, as many as there is room for.
func (r *Reconciler) create(ctx context.Context, s *scope) error {
	for range s.plan.create {
		sb := sandboxOf(s.pool, s.wanted)
		if err := controllerutil.SetControllerReference(s.pool, sb, r.Scheme()); err != nil {
			return err
		}
		err := r.Create(ctx, sb)
		if refusal := kit.RefusalOf(err); refusal != nil {
			s.refused(refusal)
			return nil
		}
		if err != nil {
			return fmt.Errorf("creating a Sandbox of SandboxPool %s: %w", s.pool.Name, err)
		}
		s.waiting++
		s.plan.updated++
		s.plan.starting++
		logf.FromContext(ctx).Info("Created Sandbox", "sandbox", sb.Name)
	}
	return nil
}

// refused says what the API server has said of a Sandbox.
func (s *scope) refused(refusal *kit.Refusal) {
	s.problem = &problem{reason: v1alpha1.ReasonSandboxRefused, message: refusal.Message, passing: !refusal.Lasting}
	if refusal.Quota {
		s.problem.reason = v1alpha1.ReasonQuotaExceeded
	}
	s.requeueWithin(refusal.Pause(s.notReadySince(), s.now))
}

// sandboxOf is a Sandbox that waits in a pool. The names of those that were claimed are in
// use as long as their tasks are there, so that each has a new one.
func sandboxOf(pool *v1alpha1.SandboxPool, w wanted) *v1alpha1.Sandbox {
	return &v1alpha1.Sandbox{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: pool.Name + "-", Namespace: pool.Namespace,
			Labels: map[string]string{
				podspec.LabelManagedBy: podspec.ManagedBy, podspec.LabelPool: pool.Name,
				podspec.LabelTemplate: warm.TemplateHash(w.template), podspec.LabelSurroundings: w.surroundings,
			},
		},
		Spec: v1alpha1.SandboxSpec{Template: *pool.Spec.Template.DeepCopy(), State: v1alpha1.SandboxRunning},
	}
}

// requeueWithin asks for a look after d at the latest.
func (s *scope) requeueWithin(d time.Duration) {
	if s.requeue == 0 || d < s.requeue {
		s.requeue = d
	}
}
