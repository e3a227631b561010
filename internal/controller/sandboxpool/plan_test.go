package sandboxpool

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// newest is the template of now.
var newest = v1alpha1.SandboxTemplate{Image: "tools:new"}

// boxes makes Sandboxes that wait: "ready", "starting", "old" (ready, of an earlier
// template), "old-starting", "other" (ready, of an earlier registry), "dead" (its pod was
// replaced) or "stuck" (starting, and stalled). Each is a second younger than the one before.
func boxes(kinds ...string) []*v1alpha1.Sandbox {
	var out []*v1alpha1.Sandbox
	for i, kind := range kinds {
		sb := objects.MakeSandbox(fmt.Sprintf("%s%d", kind, i)).Obj()
		sb.CreationTimestamp = metav1.Unix(int64(i), 0)
		sb.Spec.Template = newest
		sb.Labels = map[string]string{podspec.LabelTemplate: "the same of all", podspec.LabelSurroundings: "here"}
		if strings.HasPrefix(kind, "old") {
			sb.Spec.Template.Image = "tools:old"
		}
		if kind == "other" {
			sb.Labels[podspec.LabelSurroundings] = "elsewhere"
		}
		if kind == "dead" {
			sb.Status.Restarts = new(int32(1))
		}
		ready := metav1.ConditionTrue
		if strings.HasSuffix(kind, "starting") || kind == "stuck" || kind == "dead" {
			ready = metav1.ConditionFalse
		}
		sb.Status.PodName, sb.Status.PodUID = sb.Name+"-1", "u"
		sb.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: ready}}
		if kind == "stuck" {
			sb.Status.Conditions = append(sb.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue})
		}
		out = append(out, sb)
	}
	return out
}

func TestPlan(t *testing.T) {
	tests := map[string]struct {
		replicas int
		waiting  string
		// want is "create N, remove A B".
		want string
	}{
		"empty":                                   {3, "", "create 3, remove"},
		"more than may start at once":             {9, "", "create 4, remove"},
		"some start":                              {9, "starting starting ready", "create 2, remove"},
		"as many start as may":                    {9, "starting starting starting starting ready", "create 0, remove"},
		"those that are stuck count as starting":  {9, "stuck stuck stuck stuck", "create 0, remove"},
		"full":                                    {2, "ready starting", "create 0, remove"},
		"scaled down, the ready and oldest stay":  {1, "starting ready ready", "create 0, remove ready2 starting0"},
		"scaled to 0":                             {0, "ready starting old", "create 0, remove old2 ready0 starting1"},
		"a pod was replaced":                      {2, "dead ready", "create 1, remove dead0"},
		"a new template: one more is made":        {2, "old old", "create 1, remove"},
		"it has not started":                      {2, "old old starting", "create 0, remove"},
		"it has":                                  {2, "old old ready", "create 0, remove old1"},
		"the next":                                {2, "old ready", "create 1, remove"},
		"the last is removed":                     {2, "old ready ready", "create 0, remove old0"},
		"one of an earlier template that starts":  {2, "old-starting old", "create 2, remove old-starting0"},
		"one of another registry goes at once":    {1, "other", "create 1, remove other0"},
		"all of another registry do":              {3, "other other other ready", "create 2, remove other0 other1 other2"},
		"of a single one the old waits for a new": {1, "old starting", "create 0, remove"},
		"fewer and a new template":                {1, "old old old", "create 0, remove old1 old2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := planOf(wanted{replicas: tt.replicas, maxStarting: 4, template: &newest, surroundings: "here"}, boxes(strings.Fields(tt.waiting)...))
			got := fmt.Sprintf("create %d, remove", p.create)
			for _, sb := range p.remove {
				got += " " + sb.Name
			}
			want, have := strings.Fields(tt.want), strings.Fields(got)
			slices.Sort(want)
			slices.Sort(have)
			if !slices.Equal(want, have) {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// TestRoll: from any mixture a pool comes to what it is to have, with never fewer that can
// be claimed than before, and never more than one beyond its replicas.
func TestRoll(t *testing.T) {
	w := wanted{replicas: 5, maxStarting: 2, template: &newest, surroundings: "here"}
	waiting := boxes("old", "old", "other", "old", "old")
	for round := range 100 {
		p := planOf(w, waiting)
		if p.create == 0 && len(p.remove) == 0 && p.starting == 0 {
			if p.ready != w.replicas || p.updated != w.replicas {
				t.Fatalf("it stands at %d ready, %d updated", p.ready, p.updated)
			}
			return
		}
		kept := waiting[:0:0]
		for _, sb := range waiting {
			gone := false
			for _, r := range p.remove {
				gone = gone || r == sb
			}
			if !gone {
				kept = append(kept, sb)
			}
		}
		made := boxes(strings.Fields(strings.Repeat("ready ", p.create))...) // as they are a round later
		for i, sb := range made {
			sb.Name, sb.CreationTimestamp = fmt.Sprintf("made-%d-%d", round, i), metav1.NewTime(time.Unix(int64(100+round), 0))
			sb.Status.PodName = sb.Name + "-1"
		}
		waiting = append(kept, made...)
		if n := len(waiting); n < w.replicas || n > w.replicas+surge {
			t.Fatalf("round %d: %d wait", round, n)
		}
	}
	t.Fatal("it does not come to an end")
}
