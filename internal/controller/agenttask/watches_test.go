package agenttask

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// TestTasksOfNamedSandbox: who holds it is woken even though it has ended, since it may
// have ended before it could see its claim; of a long queue the first is, once.
func TestTasksOfNamedSandbox(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	age := time.Duration(0)
	task := func(name string, status metav1.ConditionStatus, reason string) *v1alpha1.AgentTask {
		age += time.Second
		return objects.MakeTask(name).In("dev").With(func(t *v1alpha1.AgentTask) {
			t.UID, t.CreationTimestamp = types.UID(name), metav1.NewTime(epoch.Add(age))
			t.Spec.State = v1alpha1.TaskActive
			t.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: status, Reason: reason}}
		}).Obj()
	}
	objs := []client.Object{
		task("ended", metav1.ConditionFalse, v1alpha1.ReasonCancelled), task("other", metav1.ConditionTrue, v1alpha1.ReasonCompleted),
		task("first", metav1.ConditionUnknown, v1alpha1.ReasonSandboxBusy), task("second", metav1.ConditionUnknown, v1alpha1.ReasonSandboxBusy),
		task("lacks", metav1.ConditionUnknown, v1alpha1.ReasonSandboxNotFound),
	}
	r := &Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objs...).WithIndex(&v1alpha1.AgentTask{}, indexSandboxRef, IndexSandboxRef).Build()}
	for holder, want := range map[string]string{"": "lacks first", "ended": "ended lacks", "second": "lacks second", "gone": "lacks"} {
		sb := objects.MakeSandbox("dev").Obj()
		sb.Namespace = objs[0].GetNamespace()
		sb.Status.TaskRef = v1alpha1.TaskReference{Name: holder, UID: holder}
		var got []string
		for _, request := range r.tasksOfSandbox(t.Context(), sb) {
			got = append(got, request.Name)
		}
		if d := cmp.Diff(want, strings.Join(got, " ")); d != "" {
			t.Errorf("held by %q: -want +got:\n%s", holder, d)
		}
	}
}
