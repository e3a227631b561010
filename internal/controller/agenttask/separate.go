package agenttask

import "github.com/sampan-dev/sampan/api/v1alpha1"

// kindAfter is the kind of the attempt that a hand-over asks for.
func kindAfter(reason string) v1alpha1.AttemptKind {
	if reason == v1alpha1.ReasonVerificationPending {
		return v1alpha1.AttemptVerification
	}
	return v1alpha1.AttemptWork
}

// verifies reports whether the current or next attempt runs Separate verify commands alone.
func verifies(task *v1alpha1.AgentTask) bool {
	return task.Status.AttemptKind == v1alpha1.AttemptVerification
}
