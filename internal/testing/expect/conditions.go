// Package expect says what must hold of every object after every step.
package expect

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// Consistent lists what is wrong with an object's conditions: Ready must be
// there, Reconciling and Stalled must not be there together and only as True,
// nothing may speak of a generation to come, and each must have words.
func Consistent(obj client.Object) []string {
	conditions, observed, ok := statusOf(obj)
	if !ok {
		return []string{fmt.Sprintf("%T has no conditions that are known here", obj)}
	}
	var wrong []string
	say := func(format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("%T %s: ", obj, obj.GetName())+fmt.Sprintf(format, args...))
	}
	if meta.FindStatusCondition(conditions, v1alpha1.ConditionReady) == nil {
		say("there is no condition Ready")
	}
	if observed > obj.GetGeneration() || observed == 0 {
		say("observedGeneration is %d, generation %d", observed, obj.GetGeneration())
	}
	reconciling := meta.FindStatusCondition(conditions, v1alpha1.ConditionReconciling)
	stalled := meta.FindStatusCondition(conditions, v1alpha1.ConditionStalled)
	if reconciling != nil && stalled != nil {
		say("Reconciling and Stalled are there together")
	}
	for _, c := range conditions {
		abnormal := c.Type == v1alpha1.ConditionReconciling || c.Type == v1alpha1.ConditionStalled
		switch {
		case abnormal && c.Status != metav1.ConditionTrue:
			say("%s is %s; it must be absent unless True", c.Type, c.Status)
		case c.Reason == "" || c.Message == "":
			say("%s has reason %q and message %q", c.Type, c.Reason, c.Message)
		case c.ObservedGeneration > obj.GetGeneration():
			say("%s speaks of generation %d, the object's is %d", c.Type, c.ObservedGeneration, obj.GetGeneration())
		case c.LastTransitionTime.IsZero():
			say("%s has no lastTransitionTime", c.Type)
		}
	}
	return append(wrong, taskConsistent(obj, conditions)...)
}

// taskConsistent adds what must hold of a task: Ready follows Succeeded, and
// an end has a time.
func taskConsistent(obj client.Object, conditions []metav1.Condition) []string {
	task, ok := obj.(*v1alpha1.AgentTask)
	if !ok {
		return nil
	}
	succeeded := meta.FindStatusCondition(conditions, v1alpha1.ConditionSucceeded)
	if succeeded == nil {
		return []string{"AgentTask " + task.Name + ": there is no condition Succeeded"}
	}
	var wrong []string
	if meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady) != (succeeded.Status == metav1.ConditionTrue) {
		wrong = append(wrong, "AgentTask "+task.Name+": Ready and Succeeded do not agree")
	}
	if (task.Status.CompletionTime != nil) != (succeeded.Status != metav1.ConditionUnknown) {
		wrong = append(wrong, "AgentTask "+task.Name+": completionTime is set exactly when the task has ended")
	}
	return wrong
}

func statusOf(obj client.Object) (conditions []metav1.Condition, observed int64, ok bool) {
	switch o := obj.(type) {
	case *v1alpha1.AgentTask:
		return o.Status.Conditions, o.Status.ObservedGeneration, true
	case *v1alpha1.Sandbox:
		return o.Status.Conditions, o.Status.ObservedGeneration, true
	case *v1alpha1.SandboxPool:
		return o.Status.Conditions, o.Status.ObservedGeneration, true
	}
	return nil, 0, false
}
