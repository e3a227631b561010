package kit_test

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// newCluster has a Sandbox dev and an AgentTask x, both of UID new.
func newCluster(t *testing.T) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	sb, task := objects.MakeSandbox("dev").Obj(), objects.MakeTask("x").Obj()
	sb.UID, task.UID = "new", "new"
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(sb, task).Build()
}

func podOf(owners ...metav1.OwnerReference) *corev1.Pod {
	pod := objects.MakePod("p").Obj()
	pod.OwnerReferences = owners
	return pod
}

var old = metav1.OwnerReference{APIVersion: "sampan.dev/v1alpha1", Kind: "Sandbox", Name: "dev", UID: "old", Controller: new(true)}

func TestBlockingOwner(t *testing.T) {
	owner := func(change func(*metav1.OwnerReference)) *corev1.Pod {
		o := old
		change(&o)
		return podOf(o)
	}
	leaving := func(pod *corev1.Pod) *corev1.Pod { pod.DeletionTimestamp = new(metav1.Unix(900, 0)); return pod }
	const ofDev, deleted = "Waiting for Pod p of an earlier Sandbox dev to be removed", "Waiting for Pod p to be removed: it is being deleted"
	tests := map[string]struct {
		pod  *corev1.Pod
		want string
	}{
		"nobody's":                         {podOf(), ""},
		"nobody's, being deleted":          {leaving(podOf()), deleted},
		"an earlier Sandbox's":             {podOf(old), ofDev},
		"an earlier one's, being deleted":  {leaving(podOf(old)), ofDev},
		"a Sandbox's that is gone":         {owner(func(o *metav1.OwnerReference) { o.Name = "gone" }), "Waiting for Pod p of an earlier Sandbox gone to be removed"},
		"an earlier AgentTask's":           {owner(func(o *metav1.OwnerReference) { o.Kind, o.Name = "AgentTask", "x" }), "Waiting for Pod p of an earlier AgentTask x to be removed"},
		"of another version of the API":    {owner(func(o *metav1.OwnerReference) { o.APIVersion = "sampan.dev/v1beta1" }), ofDev},
		"a Sandbox's":                      {owner(func(o *metav1.OwnerReference) { o.UID = "new" }), ""},
		"a Sandbox's, being deleted":       {leaving(owner(func(o *metav1.OwnerReference) { o.UID = "new" })), deleted},
		"an earlier ModelProbe's":          {owner(func(o *metav1.OwnerReference) { o.Kind, o.Name = "ModelProbe", "nightly" }), "Waiting for Pod p of an earlier ModelProbe nightly to be removed"},
		"an AgentTask's":                   {owner(func(o *metav1.OwnerReference) { o.Kind, o.Name, o.UID = "AgentTask", "x", "new" }), ""},
		"another API's":                    {owner(func(o *metav1.OwnerReference) { o.APIVersion = "agents.example.com/v1alpha1" }), ""},
		"a ReplicaSet's":                   {owner(func(o *metav1.OwnerReference) { o.APIVersion, o.Kind = "apps/v1", "ReplicaSet" }), ""},
		"of an owner that controls it not": {owner(func(o *metav1.OwnerReference) { o.Controller = nil }), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := kit.BlockingOwner(context.Background(), newCluster(t), "Pod", tt.pod)
			if err != nil || got != tt.want {
				t.Errorf("BlockingOwner = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestAnOwnerThatCannotBeReadIsNotGone(t *testing.T) {
	away := errors.New("the API server is away")
	c := interceptor.NewClient(newCluster(t), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return away
		},
	})
	if got, err := kit.BlockingOwner(context.Background(), c, "Pod", podOf(old)); got != "" || !errors.Is(err, away) {
		t.Errorf("BlockingOwner = %q, %v", got, err)
	}
}
