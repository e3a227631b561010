package kit

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// NodeGrace is how long a pod may be terminating before its node counts as lost. A
// runner that is cut off gives up after three minutes without an answer, looked
// for once a minute (internal/runner): it must have by then.
const NodeGrace = 5 * time.Minute

// Finished reports whether a task has ended.
func Finished(task *v1alpha1.AgentTask) bool {
	c := meta.FindStatusCondition(task.Status.Conditions, v1alpha1.ConditionSucceeded)
	return c != nil && c.Status != metav1.ConditionUnknown
}

// AttemptOpen reports whether an attempt of a task was begun and not archived.
func AttemptOpen(task *v1alpha1.AgentTask) bool {
	st := task.Status
	if st.Attempt == 0 {
		return false
	}
	n := len(st.Attempts)
	return n == 0 || st.Attempts[n-1].Number != st.Attempt
}

// Spoke reports whether the runner of a task's current attempt has reported.
func Spoke(task *v1alpha1.AgentTask) bool {
	st := task.Status
	return st.Attempt != 0 && (st.Progress.Attempt == st.Attempt || st.Result.Attempt == st.Attempt)
}

// Reference names an attempt of a task.
func Reference(task *v1alpha1.AgentTask, attempt int32) v1alpha1.TaskReference {
	return v1alpha1.TaskReference{Name: task.Name, UID: string(task.UID), Attempt: attempt}
}
