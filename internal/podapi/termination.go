package podapi

import "github.com/sampan-dev/sampan/api/v1alpha1"

// MaxTerminationMessageBytes is what kubelet keeps of a termination message.
const MaxTerminationMessageBytes = 4096

// TerminationMessage is what a runner leaves as its container's termination
// message, as JSON in at most MaxTerminationMessageBytes. The operator uses it when
// the runner could not write the task's status. Only the runner and kubelet write
// there.
type TerminationMessage struct {
	// TaskUID is the UID of the task that was run, empty with Error.
	TaskUID string `json:"taskUID,omitempty"`
	// Result, Progress and Transcript are those of the status.
	Result     v1alpha1.TaskResult       `json:"result,omitzero"`
	Progress   v1alpha1.TaskProgress     `json:"progress,omitzero"`
	Transcript v1alpha1.TranscriptStatus `json:"transcript,omitzero"`
	// Error is why a runner ended that has no result to leave, in one line. It is shown,
	// and decides nothing.
	Error string `json:"error,omitempty"`
}

// MaxTerminationErrorBytes bounds TerminationMessage.Error.
const MaxTerminationErrorBytes = 512
