package sandboxpool

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/controller/warm"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// surge is how many Sandboxes beyond its replicas a pool has while it replaces others.
const surge = 1

// wanted is what a pool is to have.
type wanted struct {
	replicas, maxStarting int
	// template is what is made now, and surroundings the hash of what it is made in.
	template     *v1alpha1.SandboxTemplate
	surroundings string
	// now is the time, and since that from when the pool has not been ready.
	now, since time.Time
	// asIs takes every Sandbox for updated: nothing better can be made now.
	asIs bool
}

// wantedOf is what a pool's spec asks for.
func wantedOf(pool *v1alpha1.SandboxPool, surroundings string) wanted {
	w := wanted{
		replicas: 1, maxStarting: int(cmp.Or(pool.Spec.MaxStarting, v1alpha1.DefaultMaxStarting)),
		template: &pool.Spec.Template, surroundings: surroundings,
	}
	if pool.Spec.Replicas != nil {
		w.replicas = int(*pool.Spec.Replicas)
	}
	return w
}

// current reports whether a Sandbox can be claimed in the surroundings of now.
func (w wanted) current(sb *v1alpha1.Sandbox) bool {
	return w.asIs || sb.Labels[podspec.LabelSurroundings] == w.surroundings
}

// updated reports whether a Sandbox is what would be made now.
func (w wanted) updated(sb *v1alpha1.Sandbox) bool {
	return w.asIs || w.current(sb) && warm.From(sb, w.template)
}

// plan is what is to be done about a pool.
type plan struct {
	// create is how many Sandboxes to make; remove are those to delete.
	create int
	remove []*v1alpha1.Sandbox
	// ready, updated and starting count those that wait.
	ready, updated, starting int
	// readySince is when the youngest of the ready ones became it.
	readySince time.Time
	// stalled is one that a user has to do something about; nil if there is none.
	stalled *v1alpha1.Sandbox
	// next is when the next of those that have failed is removed; 0 if none has.
	next time.Duration
}

// planOf decides what to do about the Sandboxes that wait in a pool. At any time the pool
// has at most surge more than its replicas, of which at most maxStarting are starting. One
// of an earlier template is removed only when a new one is ready in its stead; one that
// nobody can claim at once.
func planOf(w wanted, waiting []*v1alpha1.Sandbox) plan {
	var p plan
	var updated, outdated []*v1alpha1.Sandbox
	for _, sb := range waiting {
		switch {
		case warm.Taken(sb), !w.current(sb), !w.updated(sb) && !warm.Ready(sb), p.over(w, sb):
			p.remove = append(p.remove, sb)
			continue
		case w.updated(sb):
			updated = append(updated, sb)
		default:
			outdated = append(outdated, sb)
		}
		p.count(sb)
	}
	p.updated = len(updated)
	useful := 0
	for _, sb := range updated {
		if warm.Ready(sb) {
			useful++
		}
	}
	// Outdated ones make way for those that have come in their stead.
	byUse(outdated)
	if keep := max(0, w.replicas-useful); len(outdated) > keep {
		p.remove = append(p.remove, outdated[keep:]...)
	}
	byUse(updated)
	if len(updated) > w.replicas {
		p.remove = append(p.remove, updated[w.replicas:]...)
	}
	room := w.replicas - len(updated) - len(outdated)
	if len(outdated) > 0 {
		room = min(w.replicas-len(updated), room+surge)
	}
	p.create = max(0, min(room, w.maxStarting-p.starting))
	return p
}

// over reports whether a Sandbox has failed, and its pause is over. Until then it holds
// its place, and its reason is the pool's: another one of its template would most likely
// fail, too. The pauses grow while the pool does not become ready.
func (p *plan) over(w wanted, sb *v1alpha1.Sandbox) bool {
	failed := warm.Failed(sb)
	if failed == nil {
		return false
	}
	at := failed.LastTransitionTime.Time
	left := kit.Pause(w.since, at) - w.now.Sub(at)
	if left > 0 && (p.next == 0 || left < p.next) {
		p.next = left
	}
	return left <= 0
}

// count counts a Sandbox that waits on.
func (p *plan) count(sb *v1alpha1.Sandbox) {
	ready := meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case !warm.Ready(sb):
		p.starting++
	case ready.LastTransitionTime.After(p.readySince):
		p.readySince = ready.LastTransitionTime.Time
		fallthrough
	default:
		p.ready++
	}
	if p.stalled == nil && (meta.IsStatusConditionTrue(sb.Status.Conditions, v1alpha1.ConditionStalled) || warm.Failed(sb) != nil) {
		p.stalled = sb
	}
}

// byUse puts those first that are to be kept: the ready ones, the oldest of them first.
func byUse(all []*v1alpha1.Sandbox) {
	slices.SortStableFunc(all, func(a, b *v1alpha1.Sandbox) int {
		readyA, readyB := warm.Ready(a), warm.Ready(b)
		switch {
		case readyA != readyB && readyA:
			return -1
		case readyA != readyB:
			return 1
		}
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
}
