package apiserver

import (
	"cmp"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/record"
)

// ended reports whether a task has ended for good.
func ended(task *v1alpha1.AgentTask) bool {
	c := meta.FindStatusCondition(task.Status.Conditions, v1alpha1.ConditionSucceeded)
	return c != nil && c.Status != metav1.ConditionUnknown
}

// infoOf is what a record knows of its task. retain is for one that does not say how long
// its record outlives it.
func infoOf(task *v1alpha1.AgentTask, retain time.Duration) record.Info {
	return record.Info{
		Name: task.Name, Created: task.CreationTimestamp.UTC(),
		RetainSeconds: cmp.Or(task.Spec.Record.RetainSeconds, int64(retain.Seconds())),
	}
}
