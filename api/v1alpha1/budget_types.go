package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BudgetSpec says how much the tasks of a namespace may spend together in a period.
type BudgetSpec struct {
	// period after which the count begins anew, in UTC. It cannot be changed.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="period is immutable; create another Budget instead"
	Period BudgetPeriod `json:"period,omitempty"`

	// costUSD is how much may be spent in a period, in US dollars as a decimal string
	// of more than 0, for example "20" or "2.50". It needs models with a price: others
	// are no candidates in this namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^[0-9]{1,9}(\.[0-9]{1,9})?$`
	// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]')",message="costUSD must be more than 0"
	CostUSD string `json:"costUSD,omitempty"`
}

// BudgetPeriod is a period of the calendar.
// +kubebuilder:validation:Enum=Day;Month
type BudgetPeriod string

// The periods.
const (
	BudgetDay   BudgetPeriod = "Day"
	BudgetMonth BudgetPeriod = "Month"
)

// MaxReservations is how many tasks may hold a part of a Budget at once.
const MaxReservations = 1000

// BudgetStatus is the account of a Budget. The operator alone writes it.
// +kubebuilder:validation:MinProperties=1
type BudgetStatus struct {
	// conditions are Ready, whose reason says whether there is room for more tasks, and,
	// while they hold, Reconciling and Stalled.
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

	// periodStartTime is when the period began that is counted now.
	// +optional
	PeriodStartTime *metav1.Time `json:"periodStartTime,omitempty"`

	// resetTime is when the next one begins.
	// +optional
	ResetTime *metav1.Time `json:"resetTime,omitempty"`

	// spentUSD was spent in this period, in US dollars: settledUSD, and what the tasks
	// with reservations have reported so far.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?$`
	SpentUSD string `json:"spentUSD,omitempty"`

	// reservedUSD is what tasks may spend besides, as far as it was granted to them.
	// spentUSD and reservedUSD together are never more than spec.costUSD.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?$`
	ReservedUSD string `json:"reservedUSD,omitempty"`

	// settledUSD was spent in this period by tasks that hold no reservation any more.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?$`
	SettledUSD string `json:"settledUSD,omitempty"`

	// reservations are those of the tasks that may be spending now.
	// +optional
	// +listType=map
	// +listMapKey=taskUID
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	Reservations []BudgetReservation `json:"reservations,omitempty"`
}

// BudgetReservation is what one task holds of a Budget. All amounts are what the task
// has cost, or may come to cost, over all its attempts, in US dollars.
type BudgetReservation struct {
	// taskUID is the UID of the task.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=36
	TaskUID string `json:"taskUID,omitempty"`

	// taskName is its name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	TaskName string `json:"taskName,omitempty"`

	// attempt that the reservation was last granted to.
	// +required
	// +kubebuilder:validation:Minimum=1
	Attempt int32 `json:"attempt,omitempty"`

	// baseUSD is what the task had cost when it began to spend of this period.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?$`
	BaseUSD string `json:"baseUSD,omitempty"`

	// reportedUSD is what it had cost when it was last granted something.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?$`
	ReportedUSD string `json:"reportedUSD,omitempty"`

	// grantedUSD is what it may come to cost.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?$`
	GrantedUSD string `json:"grantedUSD,omitempty"`
}

// Budget bounds what the AgentTasks of its namespace spend together in a day or a
// month. A task begins where there is room, and is paused where there is none, until the
// next period or until the Budget is raised. Of several Budgets in a namespace all hold.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=budgets,categories=sampan
// +kubebuilder:printcolumn:name="Period",type=string,JSONPath=`.spec.period`
// +kubebuilder:printcolumn:name="Limit",type=string,JSONPath=`.spec.costUSD`,description="US dollars"
// +kubebuilder:printcolumn:name="Spent",type=string,JSONPath=`.status.spentUSD`,description="US dollars"
// +kubebuilder:printcolumn:name="Reserved",type=string,JSONPath=`.status.reservedUSD`,description="US dollars"
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Resets",type=string,JSONPath=`.status.resetTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="name must be at most 63 characters"
type Budget struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the administrator wants.
	// +required
	Spec BudgetSpec `json:"spec,omitzero"`

	// status is what was counted.
	// +optional
	Status BudgetStatus `json:"status,omitzero"`
}

// BudgetList is a list of Budgets.
// +kubebuilder:object:root=true
type BudgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []Budget `json:"items"`
}
