package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// SandboxTemplate is the part of a Sandbox that a task or a pool may give.
// +kubebuilder:validation:MinProperties=1
type SandboxTemplate struct {
	// metadata is added to the pod's.
	// +optional
	Metadata PodMetadata `json:"metadata,omitzero"`

	// image of the sandbox container. It must hold agent-runner on its PATH.
	// Default: the operator's own sandbox image.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Image string `json:"image,omitempty"`

	// imagePullPolicy of that image. Default, as in any pod: Always for the tag
	// latest or none, else IfNotPresent.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`

	// imagePullSecrets name Secrets of the namespace with which the images are
	// pulled, besides those of the ServiceAccount sampan-runner. Who names one must
	// be allowed to get it.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=4
	ImagePullSecrets []SecretReference `json:"imagePullSecrets,omitempty"`

	// resources of the sandbox container. What is left out has a default.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`

	// runner is about the container that drives the agent.
	// +optional
	Runner RunnerContainer `json:"runner,omitzero"`

	// env is added to the environment of the sandbox container. What runs there
	// is not trusted: never put a credential here.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=128
	Env []EnvVar `json:"env,omitempty"`

	// volumes are mounted into the sandbox container, and into no other. The
	// administrator's policy says which kinds are allowed.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Volumes []Volume `json:"volumes,omitempty"`

	// rootFilesystem of the sandbox container is ReadOnly, the default, or Writable,
	// for tools that write elsewhere than in the workspace, the home and /tmp.
	// +optional
	RootFilesystem RootFilesystem `json:"rootFilesystem,omitempty"`

	// caBundle is a key of a ConfigMap of the namespace with certificates of
	// authorities, in PEM, that runner and tools trust besides the usual ones.
	// +optional
	CABundle KeyReference `json:"caBundle,omitzero"`

	// proxy is what runner and tools reach others through.
	// +optional
	Proxy Proxy `json:"proxy,omitzero"`

	// workspace is the folder that tools work in.
	// +optional
	Workspace Workspace `json:"workspace,omitzero"`

	// network says what the pod may reach. Nothing reaches the pod.
	// +optional
	Network Network `json:"network,omitzero"`

	// runtimeClassName is the pod's RuntimeClass, for example gvisor.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	RuntimeClassName string `json:"runtimeClassName,omitempty"`

	// scheduling says where the pod may run.
	// +optional
	Scheduling Scheduling `json:"scheduling,omitzero"`
}

// RunnerContainer is about the container that drives the agent.
// +kubebuilder:validation:MinProperties=1
type RunnerContainer struct {
	// resources of the container. What is left out has a default.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
}

// EnvVar is a plain environment variable.
type EnvVar struct {
	// name of the variable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	Name string `json:"name,omitempty"`

	// value of the variable.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=4096
	Value *string `json:"value,omitempty"`
}

// Volume is a volume of the sandbox container, and where it is mounted.
// +kubebuilder:validation:XValidation:rule="[has(self.emptyDir), has(self.configMap), has(self.secret), has(self.persistentVolumeClaim), has(self.ephemeral), has(self.csi)].filter(is, is).size() == 1",message="set exactly one of emptyDir, configMap, secret, persistentVolumeClaim, ephemeral and csi"
type Volume struct {
	// name tells volumes apart.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// mountPath is where tools see it. It cannot be in the workspace, nor where
	// programs of the image or Sampan's own files are.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^(/[A-Za-z0-9._@+-]+)+$`
	MountPath string `json:"mountPath,omitempty"`

	// emptyDir is a folder that goes with the pod. Its sizeLimit is that of the
	// workspace where it has none.
	// +optional
	EmptyDir *corev1.EmptyDirVolumeSource `json:"emptyDir,omitempty"`

	// configMap has files of a ConfigMap. Who names one must be allowed to get it.
	// +optional
	ConfigMap *corev1.ConfigMapVolumeSource `json:"configMap,omitempty"`

	// secret has files of a Secret, which tools can read. Who names one must be
	// allowed to get it.
	// +optional
	Secret *corev1.SecretVolumeSource `json:"secret,omitempty"`

	// persistentVolumeClaim is a claim of the namespace that is not a Sandbox's own.
	// +optional
	PersistentVolumeClaim *corev1.PersistentVolumeClaimVolumeSource `json:"persistentVolumeClaim,omitempty"`

	// ephemeral is a volume that is made for the pod and goes with it.
	// +optional
	Ephemeral *corev1.EphemeralVolumeSource `json:"ephemeral,omitempty"`

	// csi is a volume that a driver makes for the pod.
	// +optional
	CSI *corev1.CSIVolumeSource `json:"csi,omitempty"`
}

// RootFilesystem says whether tools may write to the file system of the image.
// +kubebuilder:validation:Enum=ReadOnly;Writable
type RootFilesystem string

// The kinds of root file system.
const (
	RootFilesystemReadOnly RootFilesystem = "ReadOnly"
	RootFilesystemWritable RootFilesystem = "Writable"
)

// Proxy is what a pod reaches others through. Both containers have it in their
// environment, so it must not hold a password.
// +kubebuilder:validation:MinProperties=1
type Proxy struct {
	// httpProxy is the proxy for http, such as http://proxy.example.com:3128.
	// +optional
	HTTPProxy ProxyURL `json:"httpProxy,omitempty"`

	// httpsProxy is the proxy for https.
	// +optional
	HTTPSProxy ProxyURL `json:"httpsProxy,omitempty"`

	// noProxy are hosts, domains with a leading dot, and CIDRs that are reached
	// without it, besides the API server and the names under .svc and .cluster.local.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	NoProxy []NoProxyEntry `json:"noProxy,omitempty"`
}

// ProxyURL is the address of a proxy, without user and password.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=512
// +kubebuilder:validation:XValidation:rule=`self.matches(r'^https?://[A-Za-z0-9._:\[\]-]+/?$')`,message="must be a proxy such as http://proxy.example.com:3128, without a user and a password, which tools could read"
type ProxyURL string

// NoProxyEntry is a host, a domain with a leading dot, or a CIDR.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._:/*\[\]-]+$`
type NoProxyEntry string

// Workspace is the folder that tools work in, /workspace in the pod.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.storageClassName) || (has(self.persistence) && self.persistence == 'Persistent')",message="storageClassName needs persistence Persistent"
type Workspace struct {
	// sizeLimit bounds it; a pod that goes over it is evicted. A persistent one
	// asks for a volume of that size. Default 10Gi.
	// +optional
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self > 0 : quantity(self).isGreaterThan(quantity('0'))",message="sizeLimit must be more than 0"
	SizeLimit *resource.Quantity `json:"sizeLimit,omitempty"`

	// persistence says whether it outlives the pod. Ephemeral, the default, goes
	// with the pod; Persistent is a PersistentVolumeClaim that goes with the Sandbox.
	// +optional
	Persistence Persistence `json:"persistence,omitempty"`

	// storageClassName of a persistent workspace. Unset takes the cluster's default.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	StorageClassName string `json:"storageClassName,omitempty"`

	// git is checked out into it before any tool runs.
	// +optional
	Git GitSource `json:"git,omitzero"`
}

// Persistence says whether a workspace outlives the pod.
// +kubebuilder:validation:Enum=Ephemeral;Persistent
type Persistence string

// The kinds of workspace.
const (
	WorkspaceEphemeral  Persistence = "Ephemeral"
	WorkspacePersistent Persistence = "Persistent"
)

// Network says what a pod may reach.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.allow) || size(self.allow) == 0 || (has(self.egress) && self.egress == 'Restricted')",message="allow needs egress Restricted"
// +kubebuilder:validation:XValidation:rule="!has(self.allow) || self.allow.all(rule, (has(rule.to) && size(rule.to) > 0) || (has(rule.ports) && size(rule.ports) > 0))",message="every rule of allow needs to or ports: one without both would open everything",fieldPath=".allow"
type Network struct {
	// egress is Open, the default, or Restricted: to DNS, the API server, the
	// endpoints of models and of git that are given by IP address or by the name
	// of a Service, and what allow adds.
	// +optional
	Egress Egress `json:"egress,omitempty"`

	// allow is what else a Restricted pod may reach, as in a NetworkPolicy. Every
	// rule needs to or ports.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Allow []networkingv1.NetworkPolicyEgressRule `json:"allow,omitempty"`
}

// Egress says what a pod may reach.
// +kubebuilder:validation:Enum=Open;Restricted
type Egress string

// The kinds of egress.
const (
	EgressOpen       Egress = "Open"
	EgressRestricted Egress = "Restricted"
)

// GitSource is a repository to check out.
type GitSource struct {
	// url of the repository: https or http. It must not hold a password: see
	// credentialsSecretRef.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule=`self.matches(r'^https?://[^/?#\s\p{C}]+/[^?#\s\p{C}]+$')`,message="url must begin with https:// or http:// and name a repository: no path of a machine, and no ssh, git, file or other transport"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[A-Za-z0-9+.-]+://[^/?#]*@')",message="url must not hold credentials; use credentialsSecretRef"
	URL string `json:"url,omitempty"`

	// ref is a branch, a tag or a full commit id. Default: the repository's HEAD.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('-')",message="ref must not begin with a dash"
	Ref string `json:"ref,omitempty"`

	// depth is how many commits of history to fetch. Unset fetches all.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Depth int32 `json:"depth,omitempty"`

	// credentialsSecretRef names a Secret of type kubernetes.io/basic-auth in
	// the same namespace. Only the runner reads it, it is not left behind, and it
	// is sent to the scheme, host and port of url alone, or to the same host by https.
	// +optional
	CredentialsSecretRef SecretReference `json:"credentialsSecretRef,omitzero"`

	// plainHTTP is Allow where the credentials may be sent by http to a host that
	// is not in the cluster, so that others on the way can read them. Default: Deny.
	// +optional
	PlainHTTP PlainHTTP `json:"plainHTTP,omitempty"`
}

// PlainHTTP says whether credentials may be sent unencrypted.
// +kubebuilder:validation:Enum=Deny;Allow
type PlainHTTP string

// The answers to that.
const (
	PlainHTTPDeny  PlainHTTP = "Deny"
	PlainHTTPAllow PlainHTTP = "Allow"
)

// SecretReference names a Secret of the same namespace.
type SecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// PodMetadata is what a pod carries besides the operator's own. The
// administrator's policy says which keys are allowed.
// +kubebuilder:validation:MinProperties=1
type PodMetadata struct {
	// labels are added to the pod.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Labels map[string]string `json:"labels,omitempty"`

	// annotations are added to the pod.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Scheduling says where a pod may run.
// +kubebuilder:validation:MinProperties=1
type Scheduling struct {
	// nodeSelector of the pod.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// tolerations of the pod.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// affinity of the pod.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// priorityClassName of the pod.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`
}
