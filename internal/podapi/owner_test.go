package podapi

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// TestOwners: an owner is one of our API group, which only the operator may write.
func TestOwners(t *testing.T) {
	for apiVersion, ours := range map[string]bool{
		v1alpha1.GroupVersion.String(): true, "sampan.dev/v1": true, "example.com/v1alpha1": false,
		"sampan.dev.example.com/v1alpha1": false, "v1": false, "": false, "a/b/c": false,
	} {
		for kind, of := range map[string]func(*v1alpha1.Sandbox) *metav1.OwnerReference{"AgentTask": OwnerTask, "SandboxPool": OwnerPool} {
			sb := &v1alpha1.Sandbox{}
			sb.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: "x", UID: "u", Controller: new(true)}}
			if got := of(sb) != nil; got != ours {
				t.Errorf("%s of %q is an owner of ours: %v, want %v", kind, apiVersion, got, ours)
			}
		}
	}
}
