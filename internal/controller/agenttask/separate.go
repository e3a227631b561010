package agenttask

import (
	"fmt"
	"slices"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// kindAfter is the kind of the attempt that a hand-over asks for.
func kindAfter(reason string) v1alpha1.AttemptKind {
	if reason == v1alpha1.ReasonVerificationPending {
		return v1alpha1.AttemptVerification
	}
	return v1alpha1.AttemptWork
}

// handOverMessage says what comes after an attempt that has handed over.
func handOverMessage(attempt int32, reason string) string {
	return fmt.Sprintf("Attempt %d has ended (%s); the next one is about to start", attempt, reason)
}

// verifies reports whether the current or next attempt runs Separate verify commands alone.
func verifies(task *v1alpha1.AgentTask) bool {
	return task.Status.AttemptKind == v1alpha1.AttemptVerification
}

// separate reports whether a task has Separate verify commands.
func separate(task *v1alpha1.AgentTask) bool {
	return slices.ContainsFunc(task.Spec.Verify, func(v v1alpha1.Verification) bool { return v.Isolation == v1alpha1.VerificationSeparate })
}
