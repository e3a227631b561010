package inpod

import (
	"testing"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// What was proved in one workspace is not taken from another.
func TestLostWorkspace(t *testing.T) {
	persistent := &v1alpha1.Sandbox{}
	persistent.Spec.Template.Workspace.Persistence = v1alpha1.WorkspacePersistent
	for name, c := range map[string]struct {
		sb              *v1alpha1.Sandbox
		elsewhere, lost bool
	}{
		"ended here":          {&v1alpha1.Sandbox{}, false, false},
		"ended elsewhere":     {&v1alpha1.Sandbox{}, true, true},
		"a volume of its own": {persistent, true, false},
	} {
		if err := lostWorkspace(c.sb, c.elsewhere); (err != nil) != c.lost {
			t.Errorf("%s: %v", name, err)
		}
	}
}
