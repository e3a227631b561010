package v1alpha1

// Reasons of a result that are not an end of the task.
const (
	// ReasonInterrupted: the runner was told to stop (SIGTERM) though its task was not.
	ReasonInterrupted = "Interrupted"
)

// LastWords are what a runner leaves as its container's termination message, in
// JSON, at most 4096 bytes. The operator uses them when the runner could not
// write the task's status.
// +kubebuilder:object:generate=false
type LastWords struct {
	// TaskUID is the UID of the task that was run.
	TaskUID string `json:"taskUID"`
	// Result is what could not be, or was, written to the status.
	Result TaskResult `json:"result"`
	// Progress at the end.
	Progress TaskProgress `json:"progress,omitzero"`
	// Transcript at the end.
	Transcript TranscriptStatus `json:"transcript,omitzero"`
}
