package v1alpha1

// What holds where a field of an AgentTask is left out. The API server does not write
// it into objects, so that a later version may have better ones.
const (
	// DefaultTurns is limits.turns.
	DefaultTurns int32 = 100
	// DefaultActiveSeconds is limits.activeSeconds.
	DefaultActiveSeconds int32 = 3600
	// DefaultToolSeconds is limits.toolSeconds.
	DefaultToolSeconds int32 = 600
	// DefaultVerifySeconds is verify[].timeoutSeconds.
	DefaultVerifySeconds int32 = 600
	// DefaultMaxAttempts is retry.maxAttempts.
	DefaultMaxAttempts int32 = 3
)

// OutputsSeconds is how long the outputs of a run may take, after its end.
const OutputsSeconds = 600

// What holds where a field of a Sandbox's template is left out.
const (
	// DefaultWorkspaceSize is workspace.sizeLimit.
	DefaultWorkspaceSize = "10Gi"
	// DefaultCPURequest, DefaultMemoryRequest and DefaultMemoryLimit are resources of
	// the sandbox container.
	DefaultCPURequest    = "50m"
	DefaultMemoryRequest = "128Mi"
	DefaultCPULimit      = "2"
	DefaultMemoryLimit   = "2Gi"
)

// DefaultMaxStarting is maxStarting of a SandboxPool.
const DefaultMaxStarting int32 = 4
