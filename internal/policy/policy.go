// Package policy is what the administrator of a cluster lets tenants ask for in
// Sandboxes and AgentTasks. It is pure: a document and a template go in, what is
// wrong comes out.
package policy

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// Policy bounds what a template may ask for. Lists of names and keys are globs, in
// which * stops at a slash and ** does not.
type Policy struct {
	// Images are globs of the images that a template may name; nil lets it name any.
	Images []string
	// Resources are the most that the sandbox container may ask for. One that is
	// not listed may be asked for only if it is CPU, memory or ephemeral storage.
	Resources map[corev1.ResourceName]resource.Quantity
	// CABundles are globs of the ConfigMaps whose authorities a template may have the
	// runner trust.
	CABundles []string
	Workspace Workspace
	Network   Network
	Runtime   Runtime
	Volumes   Volumes
	// WritableRootFilesystem lets a template have the image's file system writable.
	WritableRootFilesystem bool
	Metadata               Metadata
	Scheduling             Scheduling
	// NamespaceRegistries lets a namespace have a model registry of its own.
	NamespaceRegistries bool
	// Defaults are for what a template leaves out; its own bounds do not hold for them.
	Defaults v1alpha1.SandboxTemplate
}

// Workspace bounds /workspace.
type Workspace struct {
	// SizeLimit is the most that it may hold; nil is no bound.
	SizeLimit *resource.Quantity
	// StorageClassNames are globs; nil lets a template name any.
	StorageClassNames []string
}

// The types of volumes.
const (
	VolumeEmptyDir              = "emptyDir"
	VolumeConfigMap             = "configMap"
	VolumeSecret                = "secret"
	VolumePersistentVolumeClaim = "persistentVolumeClaim"
	VolumeEphemeral             = "ephemeral"
	VolumeCSI                   = "csi"
)

// Volumes bounds the volumes that tools see besides the workspace.
type Volumes struct {
	// Types are the fields of a volume that may be set, such as configMap.
	Types []string
	// Claims are globs of the claims that may be named, and CSIDrivers of the drivers;
	// nil lets a template name any, if the type is listed.
	Claims, CSIDrivers []string
}

// Network bounds what a pod may reach.
type Network struct {
	// Open lets a template leave its egress Open.
	Open bool
	// Proxies are globs of the proxies that a template may name. One that it made up
	// could read what the runner sends.
	Proxies []string
	// Allow is what the rules of a Restricted template, and the endpoints that are
	// opened for it, must fit into; nil lets them name anything.
	Allow []Destination
}

// Destination is a place that may be opened.
type Destination struct {
	// CIDRs are addresses and Namespaces are globs of the namespaces whose pods may
	// be reached. With neither it is every place.
	CIDRs      []netip.Prefix
	Namespaces []string
	// Ports are those that may be opened there; none is all.
	Ports []Ports
}

// Ports is a range of ports of one protocol, both ends included.
type Ports struct {
	Protocol    corev1.Protocol
	First, Last int32
}

// Runtime bounds the RuntimeClass.
type Runtime struct {
	// Names are globs of the RuntimeClasses that may be named.
	Names []string
	// Required refuses a template that names none.
	Required bool
}

// Metadata bounds what a pod carries: globs of the keys of labels and annotations. A
// key under kubernetes.io or k8s.io is meant only by a glob whose own prefix is
// spelled out.
type Metadata struct {
	Labels, Annotations []string
}

// Scheduling bounds where a pod may run.
type Scheduling struct {
	// NodeSelector are globs of the keys of node labels that may be selected by; nil
	// lets a template select by any.
	NodeSelector []string
	// Tolerations are globs of the keys of taints that may be tolerated.
	Tolerations        []string
	PriorityClassNames []string
	// CrossNamespaceAffinity lets a pod be attracted or repelled by pods of other
	// namespaces, and so keep them off a node.
	CrossNamespaceAffinity bool
}

// Default is the policy where no document is. What a cluster's other bounds know of,
// such as images, sizes and egress, is let through. What would let a pod pass for
// another, or come before it, is not. The labels and annotations that are let
// through say of their own pod alone that it waits in a queue of its namespace, and
// that a node's autoscaler is not to end it while it works.
func Default() *Policy {
	return &Policy{
		Network: Network{Open: true}, NamespaceRegistries: true,
		Volumes:  Volumes{Types: []string{VolumeEmptyDir, VolumeConfigMap}},
		Defaults: v1alpha1.SandboxTemplate{Resources: boundedDefaults(nil)},
		Metadata: Metadata{
			Labels:      []string{"kueue.x-k8s.io/queue-name"},
			Annotations: []string{"cluster-autoscaler.kubernetes.io/safe-to-evict", "karpenter.sh/do-not-disrupt"},
		},
	}
}
