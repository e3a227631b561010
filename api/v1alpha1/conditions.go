package v1alpha1

// Condition types of AgentTask.
const (
	// ConditionSucceeded is Unknown until the task ended; its reason then says
	// where the task stands. True: the model finished by itself and every verify
	// command passed. False: it ended any other way; the reason says which.
	ConditionSucceeded = "Succeeded"

	// ConditionModelResolved is True when the registry names a model for the
	// task. With reason LastValidRegistry it is True too, but the registry's
	// newest edit is broken: mend it. False: no model could be named; the reason
	// says why and the task waits.
	ConditionModelResolved = "ModelResolved"
)

// Condition types of AgentTask, Sandbox and SandboxPool, as kstatus reads them.
const (
	// ConditionReady is True when the object is what its spec asks for: a task
	// that succeeded, a Sandbox whose containers run, a pool that is full. Always present.
	ConditionReady = "Ready"

	// ConditionReconciling is present, and True, while the operator is still
	// working towards Ready.
	ConditionReconciling = "Reconciling"

	// ConditionStalled is present, and True, when the operator cannot go on by
	// itself: the task failed for good, or waits for a user to mend something.
	// Never together with Reconciling.
	ConditionStalled = "Stalled"
)

// ConditionSuspending is present, and True, on a Sandbox whose pod is about to go, while its
// workspace is kept: nothing runs in it, and nobody is let in. Its reason is Suspended or Idle.
const ConditionSuspending = "Suspending"

// ConditionRecorded is True while the transcript of a task, and the state to go on
// from, are kept where they outlive its pods, and False where they go with the pod.
// Present once the task has run.
const ConditionRecorded = "Recorded"

// Reasons of Recorded.
const (
	// ReasonRecorded: whatever the task does is recorded before it takes effect.
	ReasonRecorded = "Recorded"
	// ReasonNoRecord: the cluster has no record. Install sampan-record.
	ReasonNoRecord = "NoRecord"
)

// ReasonRecordUnavailable says that the cluster is to have a record, and its server has not
// said yet where it is. See to the Deployment sampan-record.
const ReasonRecordUnavailable = "RecordUnavailable"

// Reasons of Succeeded=Unknown.
const (
	// ReasonPending: nothing has been started yet.
	ReasonPending = "Pending"
	// ReasonStarting: the attempt's pod is being made or is starting, and its
	// runner has not reported yet.
	ReasonStarting = "Starting"
	// ReasonRunning: the runner has reported and drives the task.
	ReasonRunning = "Running"
	// ReasonRetrying: an attempt was lost and the next one is about to start.
	ReasonRetrying = "Retrying"
	// ReasonSuspending: spec.state is Suspended and the pod is being stopped. Of a
	// Sandbox: its workspace is being kept before its pod goes.
	ReasonSuspending = "Suspending"
	// ReasonSuspended: spec.state is Suspended and nothing runs. Set it to Active to go on.
	ReasonSuspended = "Suspended"
	// ReasonCancelling: spec.state is Cancelled and the pod is being stopped.
	ReasonCancelling = "Cancelling"
	// ReasonBudgetSpent: a Budget of the namespace has no room for the task's next model
	// call. Nothing runs and nothing is lost: it starts, or goes on, by itself when the
	// next period begins, when another task gives back what it has reserved, or when the
	// Budget is raised.
	ReasonBudgetSpent = "BudgetSpent"
	// ReasonSandboxBusy: the named Sandbox runs another task; this one waits its turn.
	ReasonSandboxBusy = "SandboxBusy"
	// ReasonSandboxNotFound: the named Sandbox does not exist. Create it.
	ReasonSandboxNotFound = "SandboxNotFound"
	// ReasonSandboxNotShared: the named Sandbox is one that another task has made
	// for itself, or one of a pool. Name a Sandbox that you have created.
	ReasonSandboxNotShared = "SandboxNotShared"
	// ReasonSandboxRefused: the API server refused to create the task's Sandbox. The
	// message is the API server's. It is tried again.
	ReasonSandboxRefused = "SandboxRefused"
	// ReasonPoolNotFound: the SandboxPool that the task names does not exist. Create it.
	ReasonPoolNotFound = "PoolNotFound"
	// ReasonSandboxSuspended: the named Sandbox is suspended. Set its spec.state to Running.
	ReasonSandboxSuspended = "SandboxSuspended"
	// ReasonRegistryNotFound: there is no ConfigMap sampan-models in the task's
	// namespace nor in the operator's. Create it.
	ReasonRegistryNotFound = "RegistryNotFound"
	// ReasonRegistryInvalid: the registry does not parse and there is no earlier
	// valid one. The message has the line; mend it.
	ReasonRegistryInvalid = "RegistryInvalid"
	// ReasonModelNotFound: the registry has no model that fits spec.model. Mend
	// the registry, or create a task with another model.
	ReasonModelNotFound = "ModelNotFound"
	// ReasonPolicyViolation: the task or the Sandbox asks for something that the
	// administrator's policy does not allow. The message has the field, its value and
	// the policy's key. Leave it out, or ask for it. It starts by itself when the
	// policy comes to allow it.
	ReasonPolicyViolation = "PolicyViolation"
	// ReasonPolicyInvalid: the administrator's policy is broken and there is no
	// earlier valid one, so nothing starts. The message has the line; fix it.
	ReasonPolicyInvalid = "PolicyInvalid"
	// ReasonVerifyFilesNotFound: the ConfigMap or a key that files of verify name does not exist.
	ReasonVerifyFilesNotFound = "VerifyFilesNotFound"
	// ReasonIsolationUnavailable: a verify command's isolation Separate cannot be had, since
	// the cluster keeps no record, or since tools can write to a volume that outlives the pod.
	ReasonIsolationUnavailable = "IsolationUnavailable"
	// ReasonPromptNotFound: the ConfigMap or key that promptFrom names does not exist.
	ReasonPromptNotFound = "PromptNotFound"
	// ReasonOriginNotFound: the task that spec.from names does not exist. Create it, or, if
	// it was deleted and its record is kept, name it by its UID in another task.
	ReasonOriginNotFound = "OriginNotFound"
	// ReasonOriginNotReady: the task that spec.from names has not come to the turn yet, or
	// has no checkpoint yet. It starts by itself when there is one, or when that task has ended.
	ReasonOriginNotReady = "OriginNotReady"
)

// Reasons of ModelResolved.
const (
	// ReasonResolved: the registry names a model for the task.
	ReasonResolved = "Resolved"
	// ReasonLastValidRegistry: the registry's newest edit is broken, the last
	// valid one is used. The message has the line; mend it.
	ReasonLastValidRegistry = "LastValidRegistry"
)

// Reasons of Succeeded at the end of a task. Completed is the only one of True.
const (
	// ReasonCompleted: the model finished by itself and every verify command passed.
	ReasonCompleted = "Completed"
	// ReasonVerificationFailed: a verify command failed to the end.
	ReasonVerificationFailed = "VerificationFailed"
	// ReasonMaxTurns: limits.turns was reached.
	ReasonMaxTurns = "MaxTurns"
	// ReasonDeadlineExceeded: limits.activeSeconds was reached.
	ReasonDeadlineExceeded = "DeadlineExceeded"
	// ReasonBudgetExceeded: a limit on tokens or cost was reached.
	ReasonBudgetExceeded = "BudgetExceeded"
	// ReasonLoopDetected: the model repeated itself without getting further.
	ReasonLoopDetected = "LoopDetected"
	// ReasonEmptyResponse: the model kept answering with nothing.
	ReasonEmptyResponse = "EmptyResponse"
	// ReasonContextExhausted: the conversation outgrew the model's window.
	ReasonContextExhausted = "ContextExhausted"
	// ReasonModelUnavailable: no model could be reached or would answer.
	ReasonModelUnavailable = "ModelUnavailable"
	// ReasonCancelled: spec.state was set to Cancelled.
	ReasonCancelled = "Cancelled"
	// ReasonInternal: Sampan itself failed; please report it with the transcript.
	ReasonInternal = "Internal"
	// ReasonWorkspaceFailed: the workspace could not be prepared, for example
	// the git repository could not be cloned.
	ReasonWorkspaceFailed = "WorkspaceFailed"
	// ReasonCheckpointNotFound: the record has no such checkpoint as spec.from asks for.
	// The message says which there are.
	ReasonCheckpointNotFound = "CheckpointNotFound"
)

// ReasonInterrupted is a result's reason that is no end of a task: the runner
// was told to stop (SIGTERM) though its task was not. The attempt was lost.
const ReasonInterrupted = "Interrupted"

// Results' reasons that are no end of a task, but hand it over to a pod of another kind.
const (
	// ReasonVerificationPending: the agent is done, and the Separate commands of verify are
	// about to run in another pod.
	ReasonVerificationPending = "VerificationPending"
	// ReasonVerificationRejected: one of them failed, and the agent is about to go on.
	ReasonVerificationRejected = "VerificationRejected"
)

// Reasons of a SandboxPool's Ready, besides those of its Sandboxes.
const (
	// ReasonFilling: the pool makes Sandboxes, or waits until they have started.
	ReasonFilling = "Filling"
	// ReasonUpdating: Sandboxes of an earlier template are being replaced.
	ReasonUpdating = "Updating"
	// ReasonDisabled: the feature gate SandboxPool is off, and the pool is emptied.
	ReasonDisabled = "Disabled"
)

// Reasons of a Budget's Ready, which is True also where nothing is left: BudgetSpent.
const (
	// ReasonBudgetAvailable: there is room for more tasks.
	ReasonBudgetAvailable = "BudgetAvailable"
)

// Reasons of a Sandbox's Ready, and of a task that waits for its Sandbox or
// lost it.
const (
	// ReasonReady: the pod runs.
	ReasonReady = "Ready"
	// ReasonPodPending: the pod has not started yet.
	ReasonPodPending = "PodPending"
	// ReasonUnschedulable: no node takes the pod. The message is the scheduler's.
	ReasonUnschedulable = "Unschedulable"
	// ReasonQueued: a scheduling gate holds the pod back, such as that of a queue.
	ReasonQueued = "Queued"
	// ReasonImagePullFailed: an image cannot be pulled. Mend its name or the pull secret.
	ReasonImagePullFailed = "ImagePullFailed"
	// ReasonSecretNotFound: a Secret, or a key of it, that the runner needs does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonConfigMapNotFound: a ConfigMap, or a key of it, that the runner needs does not exist.
	ReasonConfigMapNotFound = "ConfigMapNotFound"
	// ReasonContainerConfigError: kubelet cannot make a container of the pod for another reason.
	ReasonContainerConfigError = "ContainerConfigError"
	// ReasonPodNotStarted: the node cannot start the pod's containers yet, for example for
	// its network, or has not begun to. The message is kubelet's, where it has said anything.
	ReasonPodNotStarted = "PodNotStarted"
	// ReasonVolumeFailed: the node cannot attach or mount a volume of the pod.
	ReasonVolumeFailed = "VolumeFailed"
	// ReasonVolumeUnbound: the workspace's PersistentVolumeClaim gets no volume,
	// for example since there is no StorageClass of that name. The message says why.
	ReasonVolumeUnbound = "VolumeUnbound"
	// ReasonVolumeClaimRefused: the API server refused the workspace's
	// PersistentVolumeClaim, for example by quota.
	ReasonVolumeClaimRefused = "VolumeClaimRefused"
	// ReasonNetworkPolicyRefused: the API server refused the Sandbox's
	// NetworkPolicy, or that of its namespace. Mend spec.template.network.allow in
	// a new Sandbox, or what the message names.
	ReasonNetworkPolicyRefused = "NetworkPolicyRefused"
	// ReasonIdle: the Sandbox was not used for spec.idleSeconds and its pod was
	// deleted. The next task brings a new one.
	ReasonIdle = "Idle"
	// ReasonPodRefused: the API server, or an admission webhook, does not accept the
	// pod. The message is theirs. It is tried again, after pauses that grow.
	ReasonPodRefused = "PodRefused"
	// ReasonQuotaExceeded: a ResourceQuota of the namespace leaves no room. It is
	// tried again, after pauses that grow.
	ReasonQuotaExceeded = "QuotaExceeded"
	// ReasonSandboxImageUnusable: no command can run in the sandbox image, which is for
	// another kind of processor or has no shell. Use another image.
	ReasonSandboxImageUnusable = "SandboxImageUnusable"
	// ReasonProtocolMismatch: the image's agent-runner speaks another version
	// of the sandbox API. Use an image of the operator's version.
	ReasonProtocolMismatch = "ProtocolMismatch"
	// ReasonOOMKilled: a container went over its memory limit and was killed.
	ReasonOOMKilled = "OOMKilled"
	// ReasonEvicted: the pod was evicted: its node was drained or ran low on
	// something, or a pod of higher priority took its place. The message says which.
	ReasonEvicted = "Evicted"
	// ReasonStorageExceeded: the pod used more storage than its limits allow, and
	// kubelet ended it. Raise workspace.sizeLimit or the ephemeral-storage limit.
	ReasonStorageExceeded = "StorageExceeded"
	// ReasonNodeRejected: the pod's node refused it, for example since another pod
	// had taken the room. The message is kubelet's.
	ReasonNodeRejected = "NodeRejected"
	// ReasonRunnerSilent: the runner runs and has not reported. It may not reach the
	// API server: look at its log and at the NetworkPolicies of the namespace.
	ReasonRunnerSilent = "RunnerSilent"
	// ReasonPodFailed: the pod failed for a container that is not ours, for example an
	// init container that a webhook has added. The message names it.
	ReasonPodFailed = "PodFailed"
	// ReasonPodLost: the pod was deleted by somebody else.
	ReasonPodLost = "PodLost"
	// ReasonNodeLost: the pod's node is gone or has not answered for long.
	ReasonNodeLost = "NodeLost"
	// ReasonRunnerCrashed: the runner container ended without saying how the run ended.
	ReasonRunnerCrashed = "RunnerCrashed"
	// ReasonSandboxLost: the sandbox container ended under a run, or could not start.
	ReasonSandboxLost = "SandboxLost"
	// ReasonPodFinished: the pod ended because its task did.
	ReasonPodFinished = "PodFinished"
	// ReasonNameConflict: an object that the operator wants to create exists and
	// belongs to somebody else. Delete or rename it.
	ReasonNameConflict = "NameConflict"
)
