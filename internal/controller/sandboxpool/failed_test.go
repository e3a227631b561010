package sandboxpool

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// died is a Sandbox whose pod has ended for a reason.
func died(reason string, at time.Time) *v1alpha1.Sandbox {
	sb := boxes("stuck")[0]
	for i := range sb.Status.Conditions {
		sb.Status.Conditions[i].Reason, sb.Status.Conditions[i].LastTransitionTime = reason, metav1.NewTime(at)
	}
	return sb
}

// TestPlanOfWhatCannotBeClaimed: what nobody can claim any more holds no place.
func TestPlanOfWhatCannotBeClaimed(t *testing.T) {
	now := time.Unix(10_000, 0)
	suspended := boxes("ready")[0]
	suspended.Spec.State = v1alpha1.SandboxSuspended
	for name, sb := range map[string]*v1alpha1.Sandbox{
		"suspended": suspended, "lost": died(v1alpha1.ReasonNodeLost, now), "evicted": died(v1alpha1.ReasonEvicted, now), "deleted": died(v1alpha1.ReasonPodLost, now),
	} {
		p := planOf(wanted{replicas: 1, maxStarting: 1, template: &newest, surroundings: "here", now: now, since: now}, []*v1alpha1.Sandbox{sb})
		if len(p.remove) != 1 || p.create != 1 || p.starting != 0 || p.ready != 0 {
			t.Errorf("%s: remove %d, create %d, %d starting, %d ready", name, len(p.remove), p.create, p.starting, p.ready)
		}
	}
	image := died(v1alpha1.ReasonImagePullFailed, now.Add(-time.Hour))
	if p := planOf(wanted{replicas: 1, maxStarting: 1, template: &newest, surroundings: "here", now: now, since: now}, []*v1alpha1.Sandbox{image}); len(p.remove) != 0 || p.stalled != image {
		t.Error("one that waits for its image is not left to wait")
	}
}

// TestPauses: Sandboxes that fail as soon as they are made are made less and less often.
func TestPauses(t *testing.T) {
	start := time.Unix(10_000, 0)
	now, made := start, 0
	w := wanted{replicas: 1, maxStarting: 4, template: &newest, surroundings: "here", since: start}
	var waiting []*v1alpha1.Sandbox
	for now.Sub(start) < time.Hour {
		w.now = now
		p := planOf(w, waiting)
		switch {
		case p.next > 0:
			if len(p.remove)+p.create > 0 || p.stalled == nil {
				t.Fatal("it is not left alone in its pause, with its reason")
			}
			now = now.Add(p.next)
		case p.create == 1:
			made++
			now = now.Add(2 * time.Second)
			waiting = []*v1alpha1.Sandbox{died(v1alpha1.ReasonRunnerCrashed, now)}
		default:
			t.Fatalf("it stands still at %s", now.Sub(start))
		}
	}
	if made < 12 || made > 20 {
		t.Errorf("%d were made in an hour", made)
	}
}
