package sandbox

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// TestRoomInAQuotaWakesTheLongestWaiting of its namespace, and nobody who does not wait.
func TestRoomInAQuotaWakesTheLongestWaiting(t *testing.T) {
	waiting := func(namespace, name string, age time.Duration, reason string) client.Object {
		return objects.MakeSandbox(name).Namespace(namespace).With(func(sb *v1alpha1.Sandbox) {
			sb.CreationTimestamp = metav1.NewTime(time.Unix(100000, 0).Add(-age))
			sb.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: reason}}
		}).Obj()
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	r := &Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		waiting("ns", "young", time.Minute, v1alpha1.ReasonQuotaExceeded), waiting("ns", "old", time.Hour, v1alpha1.ReasonQuotaExceeded),
		waiting("ns", "middle", time.Minute*30, v1alpha1.ReasonQuotaExceeded), waiting("ns", "refused", 2*time.Hour, v1alpha1.ReasonPodRefused),
		waiting("other", "older", 3*time.Hour, v1alpha1.ReasonQuotaExceeded)).Build()}
	for namespace, want := range map[string]string{"ns": "old", "other": "older", "none": ""} {
		got := r.sandboxOverQuota(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: namespace}})
		if want == "" && len(got) != 0 || want != "" && (len(got) != 1 || got[0].Name != want || got[0].Namespace != namespace) {
			t.Errorf("room in %s wakes %v, want %q", namespace, got, want)
		}
	}
}
