package v1alpha1

// Output is a result that a task leaves: it is taken from the workspace once the run
// has ended, also of a run that failed.
// +kubebuilder:validation:XValidation:rule="[has(self.patch), has(self.path), has(self.branch)].filter(x, x).size() == 1",message="set exactly one of patch, path and branch"
type Output struct {
	// name tells outputs apart. It is the last part of the path at which the output is
	// read.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]+([-._][a-z0-9]+)*$`
	Name string `json:"name,omitempty"`

	// patch is what the workspace differs in from the commit that was checked out, as
	// git apply reads it.
	// +optional
	Patch *PatchOutput `json:"patch,omitempty"`

	// path is a file or a folder of the workspace, relative to it. A folder becomes a tar
	// archive.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[^/\p{C}]+(/[^/\p{C}]+)*$') && !self.matches(r'(^|/)[.]{1,2}(/|$)')`,message="path must be relative, without '.', '..', a doubled slash or a slash at its end"
	Path string `json:"path,omitempty"`

	// branch pushes a commit of the workspace to the repository that was checked out.
	// +optional
	Branch BranchOutput `json:"branch,omitzero"`
}

// PatchOutput is a patch; it has no settings.
type PatchOutput struct{}

// BranchOutput is a commit on a branch of the workspace's repository, on top of the
// commit that was checked out.
type BranchOutput struct {
	// ref is the name of the branch, without refs/heads/; {{task}} and {{namespace}} stand
	// for those of the task. A branch that is there already is only replaced where it
	// is what this task has pushed.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule=`self.replace('{{task}}', 't').replace('{{namespace}}', 'n').matches('^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$') && !self.matches('[.][.]|[.](/|$)|[.]lock(/|$)|^refs/|^HEAD$')`,message="ref must be the name of a branch, without refs/heads/, in which {{task}} and {{namespace}} may stand"
	Ref string `json:"ref,omitempty"`

	// message of the commit. Default: the name of the task.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message,omitempty"`

	// author of the commit. Default: Sampan.
	// +optional
	Author CommitAuthor `json:"author,omitzero"`

	// credentialsSecretRef names a Secret of type kubernetes.io/basic-auth in the task's
	// namespace, which may push. Only the runner reads it, and it is sent to the scheme,
	// host and port of the repository alone. Default: that of the workspace's git.
	// +optional
	CredentialsSecretRef SecretReference `json:"credentialsSecretRef,omitzero"`

	// unproven is Allow where also the work of a run that did not succeed is pushed.
	// Default: Deny.
	// +optional
	Unproven UnprovenPush `json:"unproven,omitempty"`
}

// CommitAuthor is whom a commit is by.
type CommitAuthor struct {
	// name of the author.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[^<>\p{C}\s]([^<>\p{C}]*[^<>\p{C}\s])?$')`,message="name must be one line without < and >"
	Name string `json:"name,omitempty"`

	// email of the author.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=254
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^[^<>@\p{C}\s]+@[^<>@\p{C}\s]+$')`,message="email must be an address"
	Email string `json:"email,omitempty"`
}

// UnprovenPush says whether to push what was not proven.
// +kubebuilder:validation:Enum=Deny;Allow
type UnprovenPush string

// The answers to that.
const (
	UnprovenPushDeny  UnprovenPush = "Deny"
	UnprovenPushAllow UnprovenPush = "Allow"
)

// OutputStatus is an output that was taken, or why it was not.
type OutputStatus struct {
	// name of the output.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// attempt that it was taken from.
	// +required
	// +kubebuilder:validation:Minimum=1
	Attempt int32 `json:"attempt,omitempty"`

	// proof is Proven where the run succeeded.
	// +required
	Proof OutputProof `json:"proof,omitempty"`

	// mediaType of the content in the record.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	MediaType string `json:"mediaType,omitempty"`

	// size of the content in bytes.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Size *int64 `json:"size,omitempty"`

	// digest is "sha256:" and the hex digest of the content.
	// +optional
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`

	// ref is the branch that was pushed to.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=244
	Ref string `json:"ref,omitempty"`

	// commit is what the branch was then, as read back from the repository.
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{40}([0-9a-f]{24})?$`
	// +kubebuilder:validation:MinLength=40
	// +kubebuilder:validation:MaxLength=64
	Commit string `json:"commit,omitempty"`

	// message says why it was not taken, or what it leaves out.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
}

// OutputProof says whether an output is of a run that succeeded.
// +kubebuilder:validation:Enum=Proven;Unproven
type OutputProof string

// What an output may be.
const (
	OutputProven   OutputProof = "Proven"
	OutputUnproven OutputProof = "Unproven"
)
