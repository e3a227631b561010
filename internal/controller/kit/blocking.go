package kit

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// BlockingOwner says what is waited for where an object that is in the way goes by itself:
// it is being deleted, or the garbage collector will come for it. Empty: it stays,
// until somebody deletes it. The reader is to read past the cache.
func BlockingOwner(ctx context.Context, live client.Reader, kind string, obj client.Object) (string, error) {
	if owner := podspec.Owner(obj); owner != nil {
		collected, err := gone(ctx, live, obj.GetNamespace(), owner)
		if err != nil {
			return "", err
		}
		if collected {
			return fmt.Sprintf("Waiting for %s %s of an earlier %s %s to be removed", kind, obj.GetName(), owner.Kind, owner.Name), nil
		}
	}
	if obj.GetDeletionTimestamp() != nil {
		return fmt.Sprintf("Waiting for %s %s to be removed: it is being deleted", kind, obj.GetName()), nil
	}
	return "", nil
}

// gone reports whether an owner is a Sandbox, an AgentTask or a ModelProbe that does not exist
// any more. One of the same name and another UID is another. Who else owns things
// is not ours to read.
func gone(ctx context.Context, live client.Reader, namespace string, owner *metav1.OwnerReference) (bool, error) {
	var found client.Object
	switch gv, _ := schema.ParseGroupVersion(owner.APIVersion); gv.WithKind(owner.Kind).GroupKind() {
	case v1alpha1.GroupVersion.WithKind("Sandbox").GroupKind():
		found = &v1alpha1.Sandbox{}
	case v1alpha1.GroupVersion.WithKind("AgentTask").GroupKind():
		found = &v1alpha1.AgentTask{}
	case v1alpha1.GroupVersion.WithKind("ModelProbe").GroupKind():
		found = &v1alpha1.ModelProbe{}
	default:
		return false, nil
	}
	err := live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: owner.Name}, found)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading %s %s: %w", owner.Kind, owner.Name, err)
	}
	return err != nil || found.GetUID() != owner.UID, nil
}
