package inpod

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// What was proved in one workspace is not taken from another.
func TestLostWorkspace(t *testing.T) {
	yes := true
	own := &v1alpha1.Sandbox{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "AgentTask", Name: "fix", UID: "1", Controller: &yes,
	}}}}
	persistent := own.DeepCopy()
	persistent.Spec.Template.Workspace.Persistence = v1alpha1.WorkspacePersistent
	for name, c := range map[string]struct {
		sb                    *v1alpha1.Sandbox
		told, elsewhere, lost bool
	}{
		"ended here":          {own, false, false, false},
		"ended in the pod":    {own, true, false, false},
		"ended elsewhere":     {own, true, true, true},
		"a named Sandbox":     {&v1alpha1.Sandbox{}, true, false, true},
		"a volume of its own": {persistent, true, true, false},
	} {
		if err := lostWorkspace(c.sb, c.told, c.elsewhere); (err != nil) != c.lost {
			t.Errorf("%s: %v", name, err)
		}
	}
}
