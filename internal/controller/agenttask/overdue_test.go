package agenttask

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// TestOverdue: found are the pods that run on after their tasks have ended, and no others.
func TestOverdue(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, clientgoscheme.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	ended := func(name string, ago time.Duration) *v1alpha1.AgentTask {
		return objects.MakeTask(name).With(func(t *v1alpha1.AgentTask) {
			t.Status.CompletionTime = &metav1.Time{Time: epoch.Add(-ago)}
			t.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue}}
		}).Obj()
	}
	pod := func(sandbox string, phase corev1.PodPhase) *corev1.Pod {
		p := objects.MakePod(sandbox + "-1").Phase(phase).Obj()
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Sandbox", Name: sandbox, UID: "u", Controller: new(true)}}
		return p
	}
	named := ended("dev", time.Hour)
	named.Spec.Sandbox.SandboxRef.Name = "box"      // and a Sandbox of somebody else has its name
	claimed := objects.MakeSandbox("spare-x").Obj() // it waited in a pool
	claimed.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AgentTask", Name: "pooled", UID: "u", Controller: new(true)}}
	objs := []client.Object{
		ended("pooled", time.Minute), claimed, pod("spare-x", corev1.PodRunning),
		ended("late", time.Minute), pod("late", corev1.PodRunning),
		ended("soon", 5*time.Second), pod("soon", corev1.PodRunning),
		ended("done", time.Minute), pod("done", corev1.PodSucceeded),
		objects.MakeTask("busy").Obj(), pod("busy", corev1.PodRunning),
		named, pod("dev", corev1.PodRunning),
		pod("gone", corev1.PodRunning),
	}
	r := &Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objs...).Build(), Clock: clocktesting.NewFakePassiveClock(epoch)}
	got, err := r.overdue(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]types.NamespacedName{{Namespace: "default", Name: "late"}, {Namespace: "default", Name: "pooled"}}, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
