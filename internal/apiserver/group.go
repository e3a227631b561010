package apiserver

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

// GroupVersion is that of the subresources. Their group is one of their own, since
// one API server serves all of a group's version.
var GroupVersion = schema.GroupVersion{Group: "subresources.sampan.dev", Version: "v1alpha1"}

// The resource and its subresources. The API server in front of this one ends what
// takes longer than a minute, save where the subresource is called log: hence that is
// another name of the transcript.
const (
	agentTasks  = "agenttasks"
	transcripts = "transcript"
	logs        = "log"
	outputs     = "outputs"
	checkpoints = "checkpoints"
)

// apiObject shortens the signatures of rest.Connecter.
type apiObject = runtime.Object

var (
	scheme = runtime.NewScheme()
	codecs = serializer.NewCodecFactory(scheme)
)

func init() {
	scheme.AddKnownTypeWithName(GroupVersion.WithKind(placeholder), &metav1.PartialObjectMetadata{})
	utilruntime.Must(scheme.SetVersionPriority(GroupVersion))
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	scheme.AddUnversionedTypes(schema.GroupVersion{Version: "v1"},
		&metav1.Status{}, &metav1.APIVersions{}, &metav1.APIGroupList{}, &metav1.APIGroup{}, &metav1.APIResourceList{})
}

// placeholder is the kind that discovery wants. It is not AgentTask, so that this is
// no second place to look for objects of that kind.
const placeholder = "AgentTaskRecord"

// resource is a task or a Sandbox as far as this API knows it: it has subresources, and
// nobody can get it itself.
type resource struct{ singular string }

var (
	_ rest.Storage              = resource{}
	_ rest.Scoper               = resource{}
	_ rest.SingularNameProvider = resource{}
)

// New implements rest.Storage.
func (resource) New() runtime.Object { return &metav1.PartialObjectMetadata{} }

// Destroy implements rest.Storage.
func (resource) Destroy() {}

// NamespaceScoped implements rest.Scoper.
func (resource) NamespaceScoped() bool { return true }

// GetSingularName implements rest.SingularNameProvider.
func (r resource) GetSingularName() string { return r.singular }

// group is what is installed into the server.
func (f *forwarder) group(withSandboxes bool) *genericapiserver.APIGroupInfo {
	info := genericapiserver.NewDefaultAPIGroupInfo(GroupVersion.Group, scheme, metav1.ParameterCodec, codecs)
	info.VersionedResourcesStorageMap[GroupVersion.Version] = map[string]rest.Storage{
		agentTasks:                     resource{"agenttask"},
		agentTasks + "/" + transcripts: &subresource{forwarder: f, name: transcripts},
		agentTasks + "/" + logs:        &subresource{forwarder: f, name: transcripts},
		agentTasks + "/" + outputs:     &subresource{forwarder: f, name: outputs, subpath: true},
		agentTasks + "/" + checkpoints: &subresource{forwarder: f, name: checkpoints},
	}
	if withSandboxes {
		f.addSandboxes(info.VersionedResourcesStorageMap[GroupVersion.Version])
	}
	return &info
}
