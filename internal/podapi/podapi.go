// Package podapi is what operator, runner and sandbox agree on: the names,
// paths and variables of a pod, and the message that its runner leaves.
package podapi

import (
	"fmt"
	"path"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// Names of the two containers, and of the one that comes before them where the image of
// the sandbox is not the runner's: it puts agent-runner in place.
const (
	RunnerContainer  = "runner"
	SandboxContainer = "sandbox"
	InstallContainer = "install"
)

// ExitNoShell is the exit code of a sandbox server whose image has no shell (EX_OSFILE
// of sysexits.h).
const ExitNoShell = 72

// Paths in the two containers. The runner and the sandbox see the same
// workspace and socket; everything under InputDir, StateDir and RecordDir is the
// runner's alone.
const (
	WorkspaceDir = "/workspace"
	// HomeDir is the home of the tools. The runner sees it where it takes checkpoints.
	HomeDir    = "/home/agent"
	SocketDir  = "/run/sampan"
	SocketPath = SocketDir + "/sandbox.sock"
	InputDir   = "/etc/sampan"
	// StateDir holds the transcript and the runner's temporary files.
	StateDir = "/var/lib/sampan"
	// TrustDir holds TrustBundle, which the runner writes and the sandbox can only
	// read: the authorities of the runner's system, and those that the template adds.
	TrustDir    = "/run/sampan-ca"
	TrustBundle = TrustDir + "/bundle.crt"
	// ProgramDir holds agent-runner in a sandbox whose image may have none. Only the
	// install container can write to it.
	ProgramDir = "/run/sampan-bin"
	// RecordDir is where the runner, and nobody else, keeps what it knows of a
	// persistent workspace. It is on the same volume.
	RecordDir = "/var/lib/sampan-workspace"
)

// Files under InputDir, besides the scripts.
const (
	TokenFile    = "token"
	CAFile       = "ca.crt"
	RegistryFile = "models.yaml"
	PromptFile   = "prompt"
	// TrustFile has the authorities that the template adds.
	TrustFile = "extra-ca.crt"
	// RecordTokenFile and RecordCAFile are for the server of the record: who the
	// runner is, and who signs the server's certificate.
	RecordTokenFile = "record-token"
	RecordCAFile    = "record-ca.crt"
)

// VerifyFile is where, under InputDir, a file of a verification is, which the index tells.
func VerifyFile(index int, name string) string { return path.Join("verify", strconv.Itoa(index), name) }

// ScriptFile is where, under InputDir, a provider's script is.
func ScriptFile(provider string) string { return "scripts/" + provider + ".yaml" }

// KeyDir is where, under InputDir, the keys of models are in a pod that was made for no
// task: each in a file with the name of its variable. Kubelet keeps them as the Secrets are.
const KeyDir = "keys"

// RecordAudience is that of the token for the server of the record.
const RecordAudience = "sampan-record"

// TranscriptPath is the path of the Kubernetes API at which the record of a task gives
// its transcript.
func TranscriptPath(namespace, task string) string {
	return fmt.Sprintf("/apis/subresources.sampan.dev/v1alpha1/namespaces/%s/agenttasks/%s/transcript", namespace, task)
}

// FieldManager owns what the runner writes to a task's status.
const FieldManager = "sampan-runner"

// Environment variables of the runner.
const (
	EnvPodName     = "SAMPAN_POD_NAME"
	EnvPodUID      = "SAMPAN_POD_UID"
	EnvNamespace   = "SAMPAN_NAMESPACE"
	EnvSandboxName = "SAMPAN_SANDBOX_NAME"
	// EnvAttempt is the attempt that the pod of a task's own Sandbox was made for.
	EnvAttempt = "SAMPAN_ATTEMPT"
	// EnvRecordURL is where the runner records; empty where the cluster has no record.
	EnvRecordURL = "SAMPAN_RECORD_URL"
	// EnvScopes are the comma-separated registry scopes of the namespace.
	EnvScopes      = "SAMPAN_SCOPES"
	EnvGitUsername = "SAMPAN_GIT_USERNAME"
	EnvGitPassword = "SAMPAN_GIT_PASSWORD"
)

// Environment variables of the runner that probes models, besides those of its pod and
// the keys: the ModelProbe, and what bounds the probe of each model.
const (
	EnvProbeName    = "SAMPAN_PROBE_NAME"
	EnvProbeUID     = "SAMPAN_PROBE_UID"
	EnvProbeSeconds = "SAMPAN_PROBE_SECONDS"
	EnvProbeCostUSD = "SAMPAN_PROBE_COST_USD"
)

// ProbeParallel is how many models a runner probes at once.
const ProbeParallel = 4

// ProbePod is the name of the pod of a ModelProbe. No pod of a Sandbox has it: those end
// with a number.
func ProbePod(probe string) string { return probe + "-probe" }

// MaxOutputs is how many outputs a task may have.
const MaxOutputs = 16

// PushUsername and PushPassword are the variables with the credentials to push the n-th
// output of a task with, from 0.
func PushUsername(n int) string { return fmt.Sprintf("SAMPAN_PUSH_USERNAME_%d", n) }

// PushPassword is beside PushUsername.
func PushPassword(n int) string { return fmt.Sprintf("SAMPAN_PUSH_PASSWORD_%d", n) }

// OwnerTask is the task whose own Sandbox it is: each of its pods serves one attempt,
// and its runner ends with that. It is nil for a Sandbox that somebody has created,
// which tasks claim by name, and for one that waits in a pool.
func OwnerTask(sb *v1alpha1.Sandbox) *metav1.OwnerReference {
	return owner(sb, "AgentTask")
}

// OwnerPool is the SandboxPool in which a Sandbox waits until a task claims it; nil for
// any other Sandbox, also for one that was claimed.
func OwnerPool(sb *v1alpha1.Sandbox) *metav1.OwnerReference {
	return owner(sb, "SandboxPool")
}

// owner is the controller of a Sandbox if it is of a kind of ours. Only the operator may
// write one: a kind of the same name in another API group is anybody's.
func owner(sb *v1alpha1.Sandbox, kind string) *metav1.OwnerReference {
	ref := metav1.GetControllerOf(sb)
	if ref == nil || ref.Kind != kind {
		return nil
	}
	if gv, err := schema.ParseGroupVersion(ref.APIVersion); err != nil || gv.Group != v1alpha1.GroupVersion.Group {
		return nil
	}
	return ref
}

// Checkpointed reports whether checkpoints are taken of a Sandbox's workspace and home,
// where the cluster has a record. Else the workspace outlives the pod by itself, or
// belongs to more than one task.
func Checkpointed(sb *v1alpha1.Sandbox) bool {
	return (OwnerTask(sb) != nil || OwnerPool(sb) != nil) && !Persistent(sb)
}

// Kept reports whether the workspace and the home of a Sandbox are kept from one pod to the
// next, where the cluster has a record: it is somebody's own, and its workspace ephemeral.
func Kept(sb *v1alpha1.Sandbox) bool {
	return OwnerTask(sb) == nil && OwnerPool(sb) == nil && !Persistent(sb)
}

// PodName is the name of the n-th pod of a Sandbox, from 1.
func PodName(sandbox string, n int32) string { return fmt.Sprintf("%s-%d", sandbox, n) }

// Persistent reports whether a Sandbox's workspace outlives its pods.
func Persistent(sb *v1alpha1.Sandbox) bool {
	return sb.Spec.Template.Workspace.Persistence == v1alpha1.WorkspacePersistent
}

// Repository is what is checked out for a task in a Sandbox of a template: the template's,
// or the one that the task brings into the Sandbox of a pool. The template's credentials
// are for its own URL: who may create a task need not be allowed to use them elsewhere.
func Repository(template v1alpha1.GitSource, task *v1alpha1.AgentTask) v1alpha1.GitSource {
	git := task.Spec.Sandbox.PoolRef.Git
	if git.URL == "" {
		return template
	}
	if git.URL == template.URL && git.CredentialsSecretRef.Name == "" {
		git.CredentialsSecretRef, git.PlainHTTP = template.CredentialsSecretRef, template.PlainHTTP
	}
	return git
}
