// Package install tests what kustomize makes of config/default under other names
// than the project's own.
package install

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sampan-dev/sampan/internal/testing/cluster"
)

// clusterScoped are the kinds without a namespace. kustomize writes one into those
// that it does not know, and API servers drop it.
var clusterScoped = []string{
	"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding",
	"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "APIService",
}

// atRunTime are objects that RBAC and admission name and that are not installed:
// the operator, an administrator or Kubernetes itself makes them, by these names.
var atRunTime = []string{"kubernetes", "sampan-models", "sampan-policy", "sampan-runner",
	"extension-apiserver-authentication", "sampan-apiserver-tls", "sampan-record-tls", "sampan-record", "v1alpha1.subresources.sampan.dev"}

// Everything of an install has the overlay's namespace, prefix and images, and what
// names another object names one that is there.
func TestOverlay(t *testing.T) {
	for name, c := range map[string]struct{ overlay, namespace, prefix, images string }{
		"plain":     {"", "sampan-system", "", "ghcr.io/sampan-dev/"},
		"namespace": {"namespace: agents", "agents", "", "ghcr.io/sampan-dev/"},
		"prefix":    {"namePrefix: my-", "sampan-system", "my-", "ghcr.io/sampan-dev/"},
		"all": {`namespace: agents
namePrefix: my-
images:
- {name: ghcr.io/sampan-dev/manager, newName: registry.example.com:5000/a/manager}
- {name: ghcr.io/sampan-dev/sandbox, newName: registry.example.com:5000/a/sandbox}`, "agents", "my-", "registry.example.com:5000/a/"},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := cluster.Render(t.Context(), c.overlay)
			if err != nil {
				t.Fatal(err)
			}
			in := install{t: t, namespace: c.namespace, prefix: c.prefix, images: c.images, objects: objects}
			for _, obj := range objects {
				in.check(obj)
			}
			if in.references < 20 {
				t.Errorf("looked at %d references only: the walk does not find them", in.references)
			}
		})
	}
}

// What answers discovery needs no volume, and is not down with its node: otherwise no
// namespace of the cluster could be deleted meanwhile.
func TestDiscoveryNeedsNoVolume(t *testing.T) {
	objects, err := cluster.Render(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range objects {
		if obj.GetKind() != "Deployment" || obj.GetName() != "sampan-apiserver" {
			continue
		}
		volumes, _, err := unstructured.NestedSlice(obj.Object, "spec", "template", "spec", "volumes")
		if err != nil {
			t.Fatal(err)
		}
		for _, volume := range volumes {
			if _, projected := volume.(map[string]any)["projected"]; !projected {
				t.Errorf("it has the volume %v", volume)
			}
		}
		if replicas, _, err := unstructured.NestedFieldNoCopy(obj.Object, "spec", "replicas"); err != nil || fmt.Sprint(replicas) != "2" {
			t.Errorf("it has %v replicas, %v", replicas, err)
		}
		return
	}
	t.Error("there is no server")
}

// With its records in a bucket the server has no volume, and so may have replicas.
func TestRecordsInS3(t *testing.T) {
	objects, err := cluster.Render(t.Context(), "components: [config/components/s3-record]")
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range objects {
		if obj.GetKind() == "PersistentVolumeClaim" {
			t.Errorf("there is a PersistentVolumeClaim %s", obj.GetName())
		}
		if obj.GetKind() != "Deployment" || obj.GetName() != "sampan-record" {
			continue
		}
		volumes, _, err := unstructured.NestedSlice(obj.Object, "spec", "template", "spec", "volumes")
		if err != nil || len(volumes) > 0 {
			t.Errorf("the server has volumes: %v, %v", volumes, err)
		}
		if replicas, _, err := unstructured.NestedFieldNoCopy(obj.Object, "spec", "replicas"); err != nil || fmt.Sprint(replicas) != "2" {
			t.Errorf("the server has %v replicas, %v", replicas, err)
		}
		return
	}
	t.Error("there is no server")
}

// The replicas of the server find each other, and may ask, whatever an overlay calls them.
func TestReplicasInS3(t *testing.T) {
	for name, c := range map[string]struct{ overlay, namespace, prefix string }{
		"plain": {"", "sampan-system", ""},
		"other": {"namespace: agents\nnamePrefix: my-\n", "agents", "my-"},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := cluster.Render(t.Context(), c.overlay+"components: [config/components/s3-record]")
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]*unstructured.Unstructured{}
			for _, obj := range objects {
				if obj.GetNamespace() == c.namespace {
					found[obj.GetKind()+" "+strings.TrimPrefix(obj.GetName(), c.prefix)] = obj
				}
			}
			service, deployment, policy := found["Service sampan-record-replicas"], found["Deployment sampan-record"], found["NetworkPolicy sampan-record"]
			if service == nil || deployment == nil || policy == nil {
				t.Fatal("something is missing")
			}
			if ip, _, err := unstructured.NestedString(service.Object, "spec", "clusterIP"); err != nil || ip != "None" {
				t.Errorf("the Service has the address %q, %v", ip, err)
			}
			selector, _, errSelector := unstructured.NestedStringMap(service.Object, "spec", "selector")
			pods, _, errPods := unstructured.NestedStringMap(deployment.Object, "spec", "template", "metadata", "labels")
			if errSelector != nil || errPods != nil || len(selector) == 0 || !labels.SelectorFromSet(selector).Matches(labels.Set(pods)) {
				t.Errorf("the Service selects %v of %v", selector, pods)
			}
			if data, err := json.Marshal(deployment); err != nil || !strings.Contains(string(data), `"--replicas"`) {
				t.Errorf("the server is not told of replicas, %v", err)
			}
			if data, err := json.Marshal(policy); err != nil || !strings.Contains(string(data), `{"ports":[{"port":8444}],"to":[{"podSelector"`) {
				t.Errorf("the server may not ask others: %s, %v", data, err)
			}
		})
	}
}

// install is what was rendered, and what it should have.
type install struct {
	t                         *testing.T
	namespace, prefix, images string
	objects                   []*unstructured.Unstructured
	references                int
}

func (in *install) check(obj *unstructured.Unstructured) {
	in.t.Helper()
	kind, name := obj.GetKind(), obj.GetName()
	complain := func(format string, args ...any) {
		in.t.Helper()
		in.t.Errorf("%s %s: %s", kind, name, fmt.Sprintf(format, args...))
	}
	data, err := json.Marshal(obj)
	if err != nil {
		in.t.Fatal(err)
	}
	for _, other := range []string{"sampan-system", "ghcr.io/sampan-dev/"} {
		if other != in.namespace && other != in.images && strings.Contains(string(data), other) {
			complain("has %s in it", other)
		}
	}
	switch {
	case kind == "Namespace" && name != in.namespace:
		complain("the namespace is %s", in.namespace)
	case !slices.Contains(clusterScoped, kind) && obj.GetNamespace() != in.namespace:
		complain("is in namespace %q", obj.GetNamespace())
	case kind != "Namespace" && kind != "CustomResourceDefinition" && kind != "APIService" && !strings.HasPrefix(name, in.prefix+"sampan-"):
		complain("has not the prefix %q", in.prefix)
	}
	in.walk(obj.Object, func(key string, value any) {
		switch key {
		case "image":
			if !strings.HasPrefix(value.(string), in.images) {
				complain("runs %s", value)
			}
		case "serviceAccountName":
			in.there(complain, "ServiceAccount", in.namespace, value)
		case "policyName":
			in.there(complain, "ValidatingAdmissionPolicy", "", value)
		case "roleRef":
			ref := value.(map[string]any)
			in.there(complain, ref["kind"].(string), obj.GetNamespace(), ref["name"])
		case "subjects":
			for _, s := range value.([]any) {
				subject := s.(map[string]any)
				in.there(complain, "ServiceAccount", subject["namespace"].(string), subject["name"])
			}
		case "podSelector":
			in.selects(complain, value.(map[string]any))
		case "resourceNames":
			for _, resource := range value.([]any) {
				if !slices.Contains(atRunTime, resource.(string)) {
					complain("names %s, which nothing makes", resource)
				}
			}
		}
	})
}

// walk visits the fields of an object, but for the schemas of CRDs.
func (in *install) walk(value any, visit func(key string, value any)) {
	switch v := value.(type) {
	case map[string]any:
		for key, field := range v {
			switch key {
			case "openAPIV3Schema", "matchConditions", "validations", "variables":
				continue
			case "image", "serviceAccountName", "policyName", "roleRef", "subjects", "podSelector", "resourceNames":
				in.references++
				visit(key, field)
			}
			in.walk(field, visit)
		}
	case []any:
		for _, element := range v {
			in.walk(element, visit)
		}
	}
}

// there complains unless an object is among what is installed.
func (in *install) there(complain func(string, ...any), kind, namespace string, name any) {
	in.t.Helper()
	for _, obj := range in.objects {
		if obj.GetKind() != kind || obj.GetName() != name {
			continue
		}
		if slices.Contains(clusterScoped, kind) || obj.GetNamespace() == namespace {
			return
		}
	}
	complain("names %s %s in namespace %q, which is not installed", kind, name, namespace)
}

// selects complains where a NetworkPolicy has no pod of the Deployment.
func (in *install) selects(complain func(string, ...any), selector map[string]any) {
	in.t.Helper()
	wanted, _, err := unstructured.NestedStringMap(selector, "matchLabels")
	if err != nil {
		in.t.Fatal(err)
	}
	for _, obj := range in.objects {
		have, found, err := unstructured.NestedStringMap(obj.Object, "spec", "template", "metadata", "labels")
		if err != nil {
			in.t.Fatal(err)
		}
		if found && labels.SelectorFromSet(wanted).Matches(labels.Set(have)) {
			return
		}
	}
	complain("selects no pod: %v", wanted)
}
