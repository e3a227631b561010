package v1alpha1

// PoolReference names a SandboxPool of the same namespace, and says what a task brings
// into the Sandbox that it gets from there.
type PoolReference struct {
	// name of the SandboxPool.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	Name string `json:"name,omitempty"`

	// git is checked out instead of the repository of the pool's template. The
	// credentials of the template are used for the template's own URL alone.
	// +optional
	Git GitSource `json:"git,omitzero"`

	// env is added to the environment of tools and of verify commands. Never put a
	// credential here.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Env []EnvVar `json:"env,omitempty"`
}

// ClaimStatus says how a task came by its Sandbox, where it asked a pool for one.
type ClaimStatus struct {
	// outcome is Hit where the Sandbox was warm, and Miss where one was made for the
	// task from the pool's template.
	// +required
	Outcome ClaimOutcome `json:"outcome,omitempty"`

	// reason says why: Warm of a Hit, any other of a Miss.
	// +required
	Reason ClaimReason `json:"reason,omitempty"`

	// message says more, for people.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Message string `json:"message,omitempty"`

	// sandboxUID is that of the Sandbox which was claimed, of a Hit.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	SandboxUID string `json:"sandboxUID,omitempty"`

	// templateHash is that of the template which the Sandbox is made from.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	TemplateHash string `json:"templateHash,omitempty"`
}

// ClaimOutcome says whether a claim found a warm Sandbox.
// +kubebuilder:validation:Enum=Hit;Miss
type ClaimOutcome string

// The outcomes of a claim.
const (
	ClaimHit  ClaimOutcome = "Hit"
	ClaimMiss ClaimOutcome = "Miss"
)

// ClaimReason says why a claim came out as it did.
// +kubebuilder:validation:Enum=Warm;PoolEmpty;NoneReady;NotUpdated;NeedsOwnPod;LaterAttempt;Disabled
type ClaimReason string

// The reasons of a claim's outcome.
const (
	// ClaimWarm: a warm Sandbox was claimed.
	ClaimWarm ClaimReason = "Warm"
	// ClaimPoolEmpty: the pool has no Sandbox that waits, as all are taken or its
	// replicas are 0.
	ClaimPoolEmpty ClaimReason = "PoolEmpty"
	// ClaimNoneReady: those that the pool has are still starting, cannot start, or have
	// just lost their pods.
	ClaimNoneReady ClaimReason = "NoneReady"
	// ClaimNotUpdated: those that wait have the model registry or the runner of
	// before a change, and are about to be replaced.
	ClaimNotUpdated ClaimReason = "NotUpdated"
	// ClaimNeedsOwnPod: the task asks for something that a pod has from its creation
	// or not at all, such as promptFrom. The message names the field.
	ClaimNeedsOwnPod ClaimReason = "NeedsOwnPod"
	// ClaimLaterAttempt: warm ones are for first attempts, and the Sandbox of the first
	// was deleted, or the task was suspended before it had one.
	ClaimLaterAttempt ClaimReason = "LaterAttempt"
	// ClaimDisabled: the feature gate SandboxPool is off.
	ClaimDisabled ClaimReason = "Disabled"
)
