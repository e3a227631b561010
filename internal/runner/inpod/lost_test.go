package inpod

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
)

// What was proved in one workspace is not taken from another.
func TestLostWorkspace(t *testing.T) {
	res := harness.Result{Progress: harness.Progress{Turns: 7}}
	yes := true
	own := &v1alpha1.Sandbox{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "AgentTask", Name: "fix", UID: "1", Controller: &yes,
	}}}}
	persistent := own.DeepCopy()
	persistent.Spec.Template.Workspace.Persistence = v1alpha1.WorkspacePersistent
	for name, c := range map[string]struct {
		sb       *v1alpha1.Sandbox
		told     bool
		restored *harness.Restored
		lost     bool
	}{
		"ended here":            {own, false, &harness.Restored{Turn: 3}, false},
		"the end's checkpoint":  {own, true, &harness.Restored{Turn: 7}, false},
		"an earlier checkpoint": {own, true, &harness.Restored{Turn: 6}, true},
		"a new checkout":        {own, true, &harness.Restored{Events: 1}, true},
		"the same pod":          {own, true, nil, false},
		"a named Sandbox":       {&v1alpha1.Sandbox{}, true, nil, true},
		"a volume of its own":   {persistent, true, &harness.Restored{Events: 1}, false},
	} {
		if err := lostWorkspace(c.sb, c.told, c.restored, res); (err != nil) != c.lost {
			t.Errorf("%s: %v", name, err)
		}
	}
}
