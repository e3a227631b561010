package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ModelProbeSpec says which models of the registry are tried out, and what that may
// cost. It cannot be changed, save for ttlSecondsAfterFinished: another probe is
// another object.
// +kubebuilder:validation:MinProperties=1
type ModelProbeSpec struct {
	// models are ids of the registry that holds for the namespace. Default: all that the
	// namespace may use and that are not disabled, at most 64.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	Models []string `json:"models,omitempty"`

	// limits bound the probe of each model.
	// +optional
	Limits ModelProbeLimits `json:"limits,omitzero"`

	// ttlSecondsAfterFinished deletes the probe that long after its end, and its
	// results with it: routing then knows nothing of them. Not set, it stays.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=31536000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// ModelProbeLimits bound the probe of each model, which also sends 30 requests at most.
// +kubebuilder:validation:MinProperties=1
type ModelProbeLimits struct {
	// activeSeconds is how long the probe of a model may take. Default 300.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=3600
	ActiveSeconds int32 `json:"activeSeconds,omitempty"`

	// costUSD is what the probe of a model may cost in US dollars, such as "0.25", where
	// the registry has its price. Default 0.25.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=12
	// +kubebuilder:validation:Pattern=`^[0-9]{1,6}(\.[0-9]{1,4})?$`
	// +kubebuilder:validation:XValidation:rule="double(self) > 0.0",message="must be more than 0"
	CostUSD string `json:"costUSD,omitempty"`
}

// ModelProbeStatus is what is known of a probe.
// +kubebuilder:validation:MinProperties=1
type ModelProbeStatus struct {
	// conditions is Complete: Unknown until the probe has ended, True when each model
	// has a result, whatever it is, and False when the probe could not be made or broke off.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`

	// podName and podUID are the pod that probes. The runner of no other may write results.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	PodName string `json:"podName,omitempty"`

	// podUID is set once the pod is there.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	PodUID string `json:"podUID,omitempty"`

	// registry is the ConfigMap, as namespace/name, whose models are probed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=320
	Registry string `json:"registry,omitempty"`

	// registryDigest is the SHA-256 of its document as it was probed, in hexadecimal.
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	RegistryDigest string `json:"registryDigest,omitempty"`

	// planned is how many models are probed.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	Planned int32 `json:"planned,omitempty"`

	// fit is how many of the results are Fits, and unfit how many are BelowLevel.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	Fit *int32 `json:"fit,omitempty"`

	// unfit is how many of the results are BelowLevel.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	Unfit *int32 `json:"unfit,omitempty"`

	// startTime is when the probe was begun.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// completionTime is when it ended.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// models are the results so far.
	// +optional
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Models []ProbedModel `json:"models,omitempty"`
}

// ProbeLevel is how well a model calls tools.
// +kubebuilder:validation:Enum=Excellent;Good;Limited;None
type ProbeLevel string

// ProbeOutcome is what the probe of a model came to.
// +kubebuilder:validation:Enum=Fits;BelowLevel;FixSetup;ServerTrouble;NotFinished
type ProbeOutcome string

// The outcomes of a probe.
const (
	// ProbeFits: the model is as good as its entry says, or better.
	ProbeFits ProbeOutcome = "Fits"
	// ProbeBelowLevel: the model, as it is served, is not.
	ProbeBelowLevel ProbeOutcome = "BelowLevel"
	// ProbeFixSetup: the key, address, name, account or server's settings are wrong.
	ProbeFixSetup ProbeOutcome = "FixSetup"
	// ProbeServerTrouble: the server was busy, slow or broken, which may pass.
	ProbeServerTrouble ProbeOutcome = "ServerTrouble"
	// ProbeNotFinished: a bound of the probe was reached, or it was stopped.
	ProbeNotFinished ProbeOutcome = "NotFinished"
)

// ProbedModel is what was found out about one model. Its texts come from models and
// servers: they are for people to read.
type ProbedModel struct {
	// id of the model in the registry.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ID string `json:"id,omitempty"`

	// digest of the entry that was probed, of all that is sent to its server. A result
	// counts as long as the entry has that digest.
	// +required
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{32}$`
	// +kubebuilder:validation:MinLength=32
	// +kubebuilder:validation:MaxLength=32
	Digest string `json:"digest,omitempty"`

	// outcome says whether the model fits, or whose fault it is that it does not.
	// +required
	Outcome ProbeOutcome `json:"outcome,omitempty"`

	// declared is the level of the entry.
	// +required
	Declared ProbeLevel `json:"declared,omitempty"`

	// measured is the level that the probe found. Not set where it did not get so far.
	// +optional
	Measured ProbeLevel `json:"measured,omitempty"`

	// category is the kind of failure, as in docs/models.md.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Category string `json:"category,omitempty"`

	// message says what went wrong, and where it is to be fixed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`

	// findings are what is unusual of the model or its server.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Findings []string `json:"findings,omitempty"`

	// changes are the lines of the entry that would be others, as YAML.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Changes string `json:"changes,omitempty"`

	// calls are the requests that were sent.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Calls *int32 `json:"calls,omitempty"`

	// medianLatencyMillis and maxLatencyMillis are of the calls that were answered.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MedianLatencyMillis *int64 `json:"medianLatencyMillis,omitempty"`

	// maxLatencyMillis is of the slowest call that was answered.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxLatencyMillis *int64 `json:"maxLatencyMillis,omitempty"`

	// inputTokens and outputTokens are those of all calls.
	// +optional
	// +kubebuilder:validation:Minimum=0
	InputTokens *int64 `json:"inputTokens,omitempty"`

	// outputTokens are those of all calls.
	// +optional
	// +kubebuilder:validation:Minimum=0
	OutputTokens *int64 `json:"outputTokens,omitempty"`

	// costUSD is what the probe cost in US dollars. Not set where the price is not known.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	CostUSD string `json:"costUSD,omitempty"`

	// time is when the result was there.
	// +required
	Time *metav1.Time `json:"time,omitempty"`
}

// ModelProbe tries models of the registry out, once, in a pod of its own: how well they
// call tools, and whether a model, its server or the setup is at fault if they do not.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=modelprobes,shortName=probe,categories=sampan
// +kubebuilder:printcolumn:name="Complete",type=string,JSONPath=`.status.conditions[?(@.type=="Complete")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Complete")].reason`
// +kubebuilder:printcolumn:name="Models",type=integer,JSONPath=`.status.planned`
// +kubebuilder:printcolumn:name="Fit",type=integer,JSONPath=`.status.fit`
// +kubebuilder:printcolumn:name="Unfit",type=integer,JSONPath=`.status.unfit`
// +kubebuilder:printcolumn:name="Finished",type=date,JSONPath=`.status.completionTime`
// +kubebuilder:printcolumn:name="Measured",type=string,priority=1,JSONPath=`.status.models[*].measured`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 50",message="name must be at most 50 characters: the names of its pod and policy are made from it"
// +kubebuilder:validation:XValidation:rule="(has(self.spec) && has(self.spec.models) ? self.spec.models : []) == (has(oldSelf.spec) && has(oldSelf.spec.models) ? oldSelf.spec.models : [])",message="spec.models cannot be changed; create another ModelProbe",fieldPath=".spec.models"
// +kubebuilder:validation:XValidation:rule="(has(self.spec) && has(self.spec.limits) && has(self.spec.limits.activeSeconds) ? self.spec.limits.activeSeconds : 0) == (has(oldSelf.spec) && has(oldSelf.spec.limits) && has(oldSelf.spec.limits.activeSeconds) ? oldSelf.spec.limits.activeSeconds : 0)",message="spec.limits cannot be changed; create another ModelProbe",fieldPath=".spec.limits.activeSeconds"
// +kubebuilder:validation:XValidation:rule=`(has(self.spec) && has(self.spec.limits) && has(self.spec.limits.costUSD) ? self.spec.limits.costUSD : "") == (has(oldSelf.spec) && has(oldSelf.spec.limits) && has(oldSelf.spec.limits.costUSD) ? oldSelf.spec.limits.costUSD : "")`,message="spec.limits cannot be changed; create another ModelProbe",fieldPath=".spec.limits.costUSD"
type ModelProbe struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the user wants.
	// +optional
	Spec ModelProbeSpec `json:"spec,omitzero"`

	// status is what is known.
	// +optional
	Status ModelProbeStatus `json:"status,omitzero"`
}

// ModelProbeList is a list of ModelProbes.
// +kubebuilder:object:root=true
type ModelProbeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []ModelProbe `json:"items"`
}

// ConditionComplete is Unknown until a ModelProbe has ended, True when each model has a
// result, and False when the probe could not be made or broke off.
const ConditionComplete = "Complete"

// Reasons of Complete besides those of pods, of the registry and of the administrator's policy.
const (
	// ReasonProbed: each model has a result; see status.models.
	ReasonProbed = "Probed"
	// ReasonProbing: the pod runs, or is about to.
	ReasonProbing = "Probing"
	// ReasonBudgeted: the namespace has a Budget, in which a probe does not count.
	ReasonBudgeted = "Budgeted"
	// ReasonNothingToProbe: the registry has no model that the namespace may use, or more than
	// one probe takes. Name models in spec.models.
	ReasonNothingToProbe = "NothingToProbe"
)

// Defaults of a ModelProbe.
const (
	DefaultProbeSeconds = 300
	DefaultProbeCostUSD = "0.25"
	// MaxProbedModels is how many models one ModelProbe has at most.
	MaxProbedModels = 64
)
