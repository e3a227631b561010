package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AgentTaskStatus is what is known of a task. The controller owns conditions,
// names, attempts and times; the runner owns progress, transcript, checkpoint, outputs and
// result. At all of its bounds it has less than 32 KiB.
// +kubebuilder:validation:MinProperties=1
type AgentTaskStatus struct {
	// conditions are Succeeded (Unknown until the task ended, its reason says
	// where the task stands), ModelResolved, Ready, Recorded once the task has run,
	// and, while they hold, Reconciling and Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`

	// observedGeneration is the generation of the spec that the conditions speak of.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// fromUID is the UID of the task that spec.from names, from the first attempt on:
	// a later task of that name does not take its place.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=36
	FromUID string `json:"fromUID,omitempty"`

	// sandboxName is the Sandbox that the task runs in.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	SandboxName string `json:"sandboxName,omitempty"`

	// claim says how the task came by that Sandbox, where spec.sandbox.poolRef names a pool.
	// +optional
	Claim ClaimStatus `json:"claim,omitzero"`

	// podName is the pod of the current or last attempt: the only one whose runner
	// may write progress and result.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	PodName string `json:"podName,omitempty"`

	// podUID is the UID of that pod, once it runs.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=36
	PodUID string `json:"podUID,omitempty"`

	// attempt is the number of the current or last attempt, from 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Attempt int32 `json:"attempt,omitempty"`

	// attemptKind says what the pod of that attempt is for: Work, also where it is unset, or
	// Verification, which runs the Separate commands of verify and no agent. Once that
	// attempt has handed over, it is the kind of the next one.
	// +optional
	AttemptKind AttemptKind `json:"attemptKind,omitempty"`

	// attemptStartTime is when the current attempt was begun.
	// +optional
	AttemptStartTime *metav1.Time `json:"attemptStartTime,omitempty"`

	// runningTime is when the runner of the current attempt was first heard of.
	// limits.activeSeconds counts from it.
	// +optional
	RunningTime *metav1.Time `json:"runningTime,omitempty"`

	// activeSeconds is how long ended attempts were running, since the task was
	// started or last resumed.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ActiveSeconds int64 `json:"activeSeconds,omitempty"`

	// failedAttempts is how many attempts were lost in a way that
	// retry.maxAttempts bounds: a crash, a memory limit, a deleted pod.
	// +optional
	// +kubebuilder:validation:Minimum=1
	FailedAttempts int32 `json:"failedAttempts,omitempty"`

	// interruptions is how many attempts were lost to the cluster: an eviction, a
	// drain, a preemption, a node that was lost or refused the pod. They are tried
	// again after a pause that grows, and do not count as failed.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Interruptions int32 `json:"interruptions,omitempty"`

	// attempts are the ended attempts, oldest first; the last 10 are kept.
	// +optional
	// +listType=map
	// +listMapKey=number
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=10
	Attempts []AttemptStatus `json:"attempts,omitempty"`

	// stopRequestTime is when the operator saw that spec.state asks for a stop.
	// +optional
	StopRequestTime *metav1.Time `json:"stopRequestTime,omitempty"`

	// startTime is when the task was started or last resumed.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// completionTime is when the task ended.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// budget is what the Budgets of the namespace let the task spend; absent where there
	// was none when its attempt began.
	// +optional
	Budget TaskBudget `json:"budget,omitzero"`

	// progress is where the run stands, summed over all attempts.
	// +optional
	Progress TaskProgress `json:"progress,omitzero"`

	// transcript points at the transcript: of the whole task where it is recorded,
	// else of the current or last attempt.
	// +optional
	Transcript TranscriptStatus `json:"transcript,omitzero"`

	// checkpoint is the state that another pod would go on from. Only a task that
	// is recorded, in a Sandbox of its own, has one.
	// +optional
	Checkpoint CheckpointStatus `json:"checkpoint,omitzero"`

	// outputs are what the run has left, by name.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Outputs []OutputStatus `json:"outputs,omitempty"`

	// result is how the run ended.
	// +optional
	Result TaskResult `json:"result,omitzero"`
}

// AttemptKind says what the pod of an attempt is for.
// +kubebuilder:validation:Enum=Work;Verification
type AttemptKind string

// The kinds of attempts.
const (
	AttemptWork         AttemptKind = "Work"
	AttemptVerification AttemptKind = "Verification"
)

// TaskBudget is what a task may spend. Amounts are in US dollars, over all attempts.
type TaskBudget struct {
	// grantedUSD is what the task may come to cost: no model call begins that could
	// bring it above that.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?$`
	GrantedUSD string `json:"grantedUSD,omitempty"`

	// refusedUSD is the last of progress.requestedUSD for which there was no room. The
	// attempt is paused.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?$`
	RefusedUSD string `json:"refusedUSD,omitempty"`
}

// AttemptStatus is an ended attempt.
type AttemptStatus struct {
	// number of the attempt, from 1.
	// +required
	// +kubebuilder:validation:Minimum=1
	Number int32 `json:"number,omitempty"`

	// podName is the pod it ran in; empty when it never got one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	PodName string `json:"podName,omitempty"`

	// nodeName is the node it ran on; left out where the name is longer, and where
	// the Sandbox, which knows it, was deleted.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=80
	NodeName string `json:"nodeName,omitempty"`

	// startTime is when it was begun.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// completionTime is when its end was seen.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// reason it ended.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Reason string `json:"reason,omitempty"`

	// message says more, for people.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Message string `json:"message,omitempty"`

	// turns it made, as far as it could report them.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Turns *int32 `json:"turns,omitempty"`
}

// TaskProgress is where a run stands, summed over all attempts.
type TaskProgress struct {
	// attempt whose runner reported last.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Attempt int32 `json:"attempt,omitempty"`

	// model is the registry id of the model that answered last.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Model string `json:"model,omitempty"`

	// turns is how many model calls were made.
	// +required
	// +kubebuilder:validation:Minimum=0
	Turns *int32 `json:"turns,omitempty"`

	// toolCalls is how many tool calls were run.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ToolCalls *int32 `json:"toolCalls,omitempty"`

	// failedToolCalls is how many of them failed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	FailedToolCalls *int32 `json:"failedToolCalls,omitempty"`

	// usage is what was used.
	// +optional
	Usage TaskUsage `json:"usage,omitzero"`

	// requestedUSD is what the next model calls may bring the cost to, where that is more
	// than budget.grantedUSD.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?$`
	RequestedUSD string `json:"requestedUSD,omitempty"`

	// activity says in a few words what is going on.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Activity string `json:"activity,omitempty"`

	// lastProgressTime is when the run last got further.
	// +optional
	LastProgressTime *metav1.Time `json:"lastProgressTime,omitempty"`
}

// TaskUsage counts tokens and money.
// +kubebuilder:validation:MinProperties=1
type TaskUsage struct {
	// inputTokens were sent, cached ones included.
	// +optional
	// +kubebuilder:validation:Minimum=0
	InputTokens *int64 `json:"inputTokens,omitempty"`

	// cachedInputTokens of them were read from the provider's cache.
	// +optional
	// +kubebuilder:validation:Minimum=0
	CachedInputTokens *int64 `json:"cachedInputTokens,omitempty"`

	// outputTokens were received, reasoning included.
	// +optional
	// +kubebuilder:validation:Minimum=0
	OutputTokens *int64 `json:"outputTokens,omitempty"`

	// costUSD is the cost in US dollars as a decimal string.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	CostUSD string `json:"costUSD,omitempty"`

	// accuracy is Estimated when a server did not report usage for some call.
	// +optional
	Accuracy UsageAccuracy `json:"accuracy,omitempty"`
}

// UsageAccuracy says where usage numbers come from.
// +kubebuilder:validation:Enum=Reported;Estimated
type UsageAccuracy string

// The usage accuracies.
const (
	UsageReported  UsageAccuracy = "Reported"
	UsageEstimated UsageAccuracy = "Estimated"
)

// TranscriptStatus points at a transcript.
type TranscriptStatus struct {
	// uri is a path of the Kubernetes API: `kubectl get --raw URI` prints the transcript.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	URI string `json:"uri,omitempty"`

	// events is how many lines it has.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Events *int64 `json:"events,omitempty"`

	// bytes is how long it is.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Bytes *int64 `json:"bytes,omitempty"`

	// digest is "sha256:" and the hex digest of those bytes.
	// +optional
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`
}

// CheckpointStatus is a checkpoint in the record of a task.
type CheckpointStatus struct {
	// turn that it was taken after; 0 is before the first.
	// +required
	// +kubebuilder:validation:Minimum=0
	Turn *int32 `json:"turn,omitempty"`

	// events is how many lines of the transcript led to it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Events *int64 `json:"events,omitempty"`

	// files is how many files, folders and links of the workspace it has.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Files *int64 `json:"files,omitempty"`

	// bytes is how large they are.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Bytes *int64 `json:"bytes,omitempty"`

	// message says what it leaves out, or why no later one is taken.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
}

// TaskResult is how a run ended.
type TaskResult struct {
	// attempt that the result is of.
	// +required
	// +kubebuilder:validation:Minimum=1
	Attempt int32 `json:"attempt,omitempty"`

	// reason of the end; only Completed is success.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Z][A-Za-z0-9]*$`
	Reason string `json:"reason,omitempty"`

	// message is the model's last words, or what stopped the run. The whole of
	// it is in the transcript.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`

	// truncated lists what was cut to fit.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Truncated []TruncatedField `json:"truncated,omitempty"`

	// verifications are how each verify command last went.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Verifications []VerificationStatus `json:"verifications,omitempty"`
}

// TruncatedField names a field of the result that was cut.
// +kubebuilder:validation:Enum=Message;Verifications
type TruncatedField string

// The fields that may be cut.
const (
	TruncatedMessage       TruncatedField = "Message"
	TruncatedVerifications TruncatedField = "Verifications"
)

// VerificationStatus is how a verify command last went.
type VerificationStatus struct {
	// name of the verification.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// outcome of its last run.
	// +required
	Outcome VerificationOutcome `json:"outcome,omitempty"`

	// exitCode of the command; unset when it did not exit by itself.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=255
	ExitCode *int32 `json:"exitCode,omitempty"`

	// message is the end of its output.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Message string `json:"message,omitempty"`
}

// VerificationOutcome is how a verify command went.
// +kubebuilder:validation:Enum=Passed;Failed
type VerificationOutcome string

// The verification outcomes.
const (
	VerificationPassed VerificationOutcome = "Passed"
	VerificationFailed VerificationOutcome = "Failed"
)
