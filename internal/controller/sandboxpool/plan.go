package sandboxpool

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/sampan-dev/sampan/api/v1alpha1"
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

// updated reports whether a Sandbox is what would be made now.
func (w wanted) updated(sb *v1alpha1.Sandbox) bool {
	return w.asIs || warm.From(sb, w.template) && sb.Labels[podspec.LabelSurroundings] == w.surroundings
}

// plan is what is to be done about a pool.
type plan struct {
	// create is how many Sandboxes to make; remove are those to delete.
	create int
	remove []*v1alpha1.Sandbox
	// ready, updated and starting count those that wait.
	ready, updated, starting int
	// stalled is one that a user has to do something about; nil if there is none.
	stalled *v1alpha1.Sandbox
}

// planOf decides what to do about the Sandboxes that wait in a pool. At any time the pool
// has at most surge more than its replicas, of which at most maxStarting are starting. One
// of an earlier template is removed only when a new one is ready in its stead.
func planOf(w wanted, waiting []*v1alpha1.Sandbox) plan {
	var p plan
	var updated, outdated []*v1alpha1.Sandbox
	for _, sb := range waiting {
		switch {
		case warm.Replaced(sb):
			p.remove = append(p.remove, sb) // its first pod is gone, so that nobody can claim it
			continue
		case w.updated(sb):
			updated = append(updated, sb)
		default:
			outdated = append(outdated, sb)
		}
		if warm.Ready(sb) {
			p.ready++
		} else {
			p.starting++
		}
		if p.stalled == nil && meta.IsStatusConditionTrue(sb.Status.Conditions, v1alpha1.ConditionStalled) {
			p.stalled = sb
		}
	}
	p.updated = len(updated)
	useful := len(slices.DeleteFunc(slices.Clone(updated), func(sb *v1alpha1.Sandbox) bool { return !warm.Ready(sb) }))
	// Outdated ones that cannot be claimed are of no use, and the others make way for
	// those that have come in their stead.
	byUse(outdated)
	keep := max(0, w.replicas-useful)
	for i, sb := range outdated {
		if i >= keep || !warm.Ready(sb) {
			p.remove = append(p.remove, sb)
		}
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
