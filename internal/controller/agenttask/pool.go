package agenttask

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/warm"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/text"
)

// maxTries bounds how many Sandboxes of a pool are looked at whose pods turn out to be gone.
const maxTries = 8

// maxClaimMessage is the API's bound.
const maxClaimMessage = 128

// pool reads the pool that a task asks; nil if there is none.
func (r *Reconciler) pool(ctx context.Context, task *v1alpha1.AgentTask) (*v1alpha1.SandboxPool, error) {
	var pool v1alpha1.SandboxPool
	key := types.NamespacedName{Namespace: task.Namespace, Name: task.Spec.Sandbox.PoolRef.Name}
	err := r.Get(ctx, key, &pool)
	if apierrors.IsNotFound(err) {
		err = r.APIReader.Get(ctx, key, &pool) // it may have been created together with the task
	}
	switch {
	case apierrors.IsNotFound(err), err == nil && !pool.DeletionTimestamp.IsZero():
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading SandboxPool %s: %w", key.Name, err)
	}
	return &pool, nil
}

func noPool(task *v1alpha1.AgentTask) string {
	return fmt.Sprintf("spec.sandbox.poolRef: there is no SandboxPool %s in namespace %s", task.Spec.Sandbox.PoolRef.Name, task.Namespace)
}

// place chooses the Sandbox of an attempt of a task that asks a pool: the one that it has;
// else a warm one; else one that is made for it. The choice is in the status before
// anything is claimed or made for it. It reports whether there is a pool to choose from.
func (r *Reconciler) place(ctx context.Context, s *scope, attempt int32) (bool, error) {
	st := &s.task.Status
	if kept, err := r.keepsSandbox(ctx, s); err != nil || kept {
		return kept, err
	}
	pool, err := r.pool(ctx, s.task)
	if err != nil || pool == nil {
		return false, err
	}
	sb, miss, err := r.pickWarm(ctx, s, pool, attempt)
	if err != nil {
		return false, err
	}
	if sb != nil {
		st.SandboxName = sb.Name
		st.Claim = v1alpha1.ClaimStatus{Outcome: v1alpha1.ClaimHit, Reason: v1alpha1.ClaimWarm,
			SandboxUID: string(sb.UID), TemplateHash: warm.TemplateHash(&sb.Spec.Template)}
		return true, nil
	}
	st.SandboxName = s.task.Name
	st.Claim = v1alpha1.ClaimStatus{
		Outcome: v1alpha1.ClaimMiss, Reason: miss.reason, Message: text.Clip(miss.message, maxClaimMessage),
		TemplateHash: warm.TemplateHash(warm.Cold(pool, s.task)),
	}
	return true, nil
}

// keepsSandbox reports whether the task has its Sandbox already.
func (r *Reconciler) keepsSandbox(ctx context.Context, s *scope) (bool, error) {
	if s.task.Status.SandboxName == "" {
		return false, nil
	}
	if s.sandbox == nil {
		if err := s.readSandbox(ctx, r.APIReader); err != nil {
			return false, err
		}
	}
	return s.sandbox != nil && s.sandbox.DeletionTimestamp.IsZero(), nil
}

// miss says why a task gets no warm Sandbox.
type miss struct {
	reason  v1alpha1.ClaimReason
	message string
}

// pickWarm finds a Sandbox of a pool that can be claimed, those of the newest template first.
func (r *Reconciler) pickWarm(ctx context.Context, s *scope, pool *v1alpha1.SandboxPool, attempt int32) (*v1alpha1.Sandbox, miss, error) {
	field := warm.NeedsOwnPod(&pool.Spec.Template, s.task)
	switch {
	case r.Surroundings == nil:
		return nil, miss{v1alpha1.ClaimDisabled, "The feature gate SandboxPool is off"}, nil
	case attempt > 1:
		return nil, miss{v1alpha1.ClaimLaterAttempt, "Warm Sandboxes are for first attempts, and the first has lost its own, or ended before it had one"}, nil
	case field != "":
		return nil, miss{v1alpha1.ClaimNeedsOwnPod, "A pod that is there cannot get " + field}, nil
	}
	surroundings, err := r.Surroundings.Hash(ctx, r, pool.Namespace)
	if err != nil {
		return nil, miss{}, err
	}
	var list v1alpha1.SandboxList
	err = r.List(ctx, &list, client.InNamespace(pool.Namespace), client.MatchingFields{warm.IndexPool: string(pool.UID)}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, miss{}, fmt.Errorf("listing the Sandboxes of SandboxPool %s: %w", pool.Name, err)
	}
	candidates, why := choose(warm.Waiting(list.Items, pool.UID), &pool.Spec.Template, surroundings)
	if len(candidates) == 0 {
		return nil, why, nil
	}
	return r.reserve(ctx, s, candidates)
}

// choose gives the Sandboxes that may be claimed, in the order in which they are tried,
// and what is said if there are none.
func choose(waiting []*v1alpha1.Sandbox, template *v1alpha1.SandboxTemplate, surroundings string) ([]*v1alpha1.Sandbox, miss) {
	ready, usable, newest := 0, []*v1alpha1.Sandbox{}, map[*v1alpha1.Sandbox]bool{}
	for _, sb := range waiting {
		if !warm.Ready(sb) {
			continue
		}
		if ready++; sb.Labels[podspec.LabelSurroundings] == surroundings {
			usable = append(usable, sb)
			newest[sb] = warm.From(sb, template)
		}
	}
	slices.SortStableFunc(usable, func(a, b *v1alpha1.Sandbox) int {
		switch {
		case newest[a] && !newest[b]:
			return -1
		case newest[b] && !newest[a]:
			return 1
		}
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	switch {
	case len(waiting) == 0:
		return nil, miss{v1alpha1.ClaimPoolEmpty, "No Sandbox of the pool waits"}
	case ready == 0:
		return nil, miss{v1alpha1.ClaimNoneReady, fmt.Sprintf("None of %d Sandboxes that wait is ready", len(waiting))}
	case len(usable) == 0:
		return nil, miss{v1alpha1.ClaimNotUpdated, fmt.Sprintf("%d Sandboxes have an earlier registry or runner, and are being replaced", ready)}
	}
	return usable, miss{}
}

// reserve takes the first Sandbox that no other task of this process is about to claim,
// and whose pod is there; or says what there is about those that were looked at.
func (r *Reconciler) reserve(ctx context.Context, s *scope, candidates []*v1alpha1.Sandbox) (*v1alpha1.Sandbox, miss, error) {
	tries, why := 0, miss{v1alpha1.ClaimPoolEmpty, "The Sandboxes of the pool that were ready are taken"}
	for _, c := range candidates {
		if tries == maxTries {
			break
		}
		if !r.reserved.take(c.UID, s.task.UID, s.now) {
			continue
		}
		tries++
		sb := &v1alpha1.Sandbox{}
		err := r.Get(ctx, client.ObjectKeyFromObject(c), sb) // the whole of it
		if client.IgnoreNotFound(err) != nil {
			return nil, miss{}, fmt.Errorf("reading Sandbox %s: %w", c.Name, err)
		}
		if err != nil || !claimable(sb, s.task) {
			continue
		}
		if field := warm.NeedsOwnPod(&sb.Spec.Template, s.task); field != "" {
			why = miss{v1alpha1.ClaimNeedsOwnPod, "A pod of an earlier template cannot get " + field}
			continue
		}
		pod, err := r.servingPod(ctx, sb)
		switch {
		case err != nil:
			return nil, miss{}, err
		case pod == nil:
			why = miss{v1alpha1.ClaimNoneReady, "The pods of the Sandboxes that were ready are gone"}
		case !podspec.Recorded(pod) && separate(s.task): // which is then refused
			why = miss{v1alpha1.ClaimNeedsOwnPod, "A pod that is there and keeps no record cannot have isolation Separate"}
		default:
			return sb, miss{}, nil
		}
	}
	return nil, why, nil
}

// servingPod reads past the cache the pod of a Sandbox; nil unless both its containers may
// still work.
func (r *Reconciler) servingPod(ctx context.Context, sb *v1alpha1.Sandbox) (*corev1.Pod, error) {
	var pod corev1.Pod
	err := r.APIReader.Get(ctx, types.NamespacedName{Namespace: sb.Namespace, Name: sb.Status.PodName}, &pod)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading Pod %s: %w", sb.Status.PodName, err)
	}
	if err != nil || string(pod.UID) != sb.Status.PodUID || pod.DeletionTimestamp != nil || podEnded(&pod) ||
		containerEnded(&pod, podapi.RunnerContainer) || containerEnded(&pod, podapi.SandboxContainer) {
		return nil, nil
	}
	return &pod, nil
}

// claimable reports whether a Sandbox waits in the pool that the task asks.
func claimable(sb *v1alpha1.Sandbox, task *v1alpha1.AgentTask) bool {
	owner := podapi.OwnerPool(sb)
	return owner != nil && owner.Name == task.Spec.Sandbox.PoolRef.Name && sb.DeletionTimestamp.IsZero() && warm.Ready(sb)
}

// makePooled claims or makes the Sandbox that was chosen for an open attempt.
func (r *Reconciler) makePooled(ctx context.Context, s *scope, d *decision) error {
	if s.task.Status.Claim.Outcome == v1alpha1.ClaimHit {
		return r.claimWarm(ctx, s, d)
	}
	pool, err := r.pool(ctx, s.task)
	if err != nil {
		return err
	}
	if pool == nil {
		s.lacksPool(d)
		return nil
	}
	template := warm.Cold(pool, s.task)
	if hash := warm.TemplateHash(template); hash != s.task.Status.Claim.TemplateHash {
		if kept, err := r.keepsSandbox(ctx, s); err != nil || kept {
			return err
		}
		s.task.Status.Claim.TemplateHash = hash // the template was changed meanwhile; what is made is written first
		return nil
	}
	return r.createSandbox(ctx, s, d, template)
}

func (s *scope) lacksPool(d *decision) {
	d.reason, d.message, d.wait = v1alpha1.ReasonPoolNotFound, noPool(s.task), stalls
	s.requeueWithin(inputInterval)
}

// claimWarm makes the warm Sandbox that was chosen the task's own, by one guarded write.
// Where another task came first, or its pod is gone, another one is chosen.
func (r *Reconciler) claimWarm(ctx context.Context, s *scope, d *decision) error {
	st := &s.task.Status
	key := types.NamespacedName{Namespace: s.task.Namespace, Name: st.SandboxName}
	var sb v1alpha1.Sandbox
	chosen := func() bool { return string(sb.UID) == st.Claim.SandboxUID && claimable(&sb, s.task) }
	if err := r.Get(ctx, key, &sb); err != nil || !chosen() {
		sb = v1alpha1.Sandbox{}
		if err := r.APIReader.Get(ctx, key, &sb); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("reading Sandbox %s: %w", key.Name, err)
		}
		if !chosen() {
			return r.placeAgain(ctx, s, d)
		}
	}
	before := sb.DeepCopy()
	warm.Claim(&sb, s.task)
	err := r.Patch(ctx, &sb, optimistic(before))
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return errStale
	case err != nil:
		return fmt.Errorf("claiming Sandbox %s: %w", sb.Name, err)
	}
	logf.FromContext(ctx).Info("Claimed Sandbox", "sandbox", sb.Name, "pool", s.task.Spec.Sandbox.PoolRef.Name)
	return nil
}

// placeAgain chooses another Sandbox for the open attempt, unless the task has got the one
// that was chosen, which the cache does not show yet.
func (r *Reconciler) placeAgain(ctx context.Context, s *scope, d *decision) error {
	st := &s.task.Status
	found, err := r.place(ctx, s, st.Attempt)
	if err != nil {
		return err
	}
	if !found {
		s.lacksPool(d)
		return nil
	}
	st.PodName, st.PodUID = podapi.PodName(st.SandboxName, st.Attempt), ""
	d.message = startingMessage(s.task)
	return nil
}
