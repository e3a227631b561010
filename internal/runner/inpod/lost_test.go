package inpod

import (
	"testing"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
)

// What was proved in one workspace is not taken from another.
func TestLostWorkspace(t *testing.T) {
	res := harness.Result{Progress: harness.Progress{Turns: 7}}
	persistent := &v1alpha1.Sandbox{}
	persistent.Spec.Template.Workspace.Persistence = v1alpha1.WorkspacePersistent
	for name, c := range map[string]struct {
		sb       *v1alpha1.Sandbox
		told     bool
		restored *harness.Restored
		lost     bool
	}{
		"ended here":            {&v1alpha1.Sandbox{}, false, &harness.Restored{Turn: 3}, false},
		"the end's checkpoint":  {&v1alpha1.Sandbox{}, true, &harness.Restored{Turn: 7}, false},
		"an earlier checkpoint": {&v1alpha1.Sandbox{}, true, &harness.Restored{Turn: 6}, true},
		"a new checkout":        {&v1alpha1.Sandbox{}, true, &harness.Restored{Events: 1}, true},
		"the same pod":          {&v1alpha1.Sandbox{}, true, nil, false},
		"a volume of its own":   {persistent, true, &harness.Restored{Events: 1}, false},
	} {
		if err := lostWorkspace(c.sb, c.told, c.restored, res); (err != nil) != c.lost {
			t.Errorf("%s: %v", name, err)
		}
	}
}
