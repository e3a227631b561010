package podapi

import "github.com/sampan-dev/sampan/api/v1alpha1"

// MaxTerminationMessageBytes is what kubelet keeps of a termination message.
const MaxTerminationMessageBytes = 4096

// TerminationMessage is what a runner leaves as its container's termination
// message, as JSON in at most MaxTerminationMessageBytes. The operator uses it when
// the runner could not write the task's status. Only the runner and kubelet write
// there.
type TerminationMessage struct {
	// TaskUID is the UID of the task that was run.
	TaskUID string `json:"taskUID"`
	// Result, Progress and Transcript are those of the status.
	Result     v1alpha1.TaskResult       `json:"result"`
	Progress   v1alpha1.TaskProgress     `json:"progress,omitzero"`
	Transcript v1alpha1.TranscriptStatus `json:"transcript,omitzero"`
}
