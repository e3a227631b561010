package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// FieldManager owns what the runner writes.
const FieldManager = "sampan-runner"

// requestTimeout bounds one request to the API server; watches are not bound by it.
const requestTimeout = 15 * time.Second

// api is what a runner needs of the API server: two objects by name.
type api struct {
	rest      *rest.RESTClient
	namespace string
}

// newAPI connects with the pod's own, bound, token.
func newAPI(namespace string) (*api, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, fmt.Errorf("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod")
	}
	return apiFor(&rest.Config{
		Host:            "https://" + net.JoinHostPort(host, port),
		BearerTokenFile: filepath.Join(podspec.InputDir, "token"),
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(podspec.InputDir, "ca.crt")},
		QPS:             20, Burst: 40,
	}, namespace)
}

func apiFor(config *rest.Config, namespace string) (*api, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	config.GroupVersion = &v1alpha1.GroupVersion
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.UserAgent = "sampan-runner"
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making the client of the API server: %w", err)
	}
	return &api{rest: client, namespace: namespace}, nil
}

// follow calls changed with an object whenever it changes, first with how it is
// now, until ctx ends. A broken connection is mended by itself; changed is
// called with nil when the object is deleted.
func follow[T runtime.Object](ctx context.Context, a *api, resource, name string, example T, changed func(*T)) {
	lw := cache.NewListWatchFromClient(a.rest, resource, a.namespace, fields.OneTermEqualSelector("metadata.name", name))
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: lw, ObjectType: example,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { deliver(obj, changed) },
			UpdateFunc: func(_, obj any) { deliver(obj, changed) },
			DeleteFunc: func(any) { changed(nil) },
		},
	})
	controller.RunWithContext(ctx)
}

func deliver[T any](obj any, changed func(*T)) {
	if v, ok := obj.(T); ok {
		changed(&v)
	}
}

// applyStatus applies the runner's part of a task's status. The UID keeps it
// from a later task of the same name.
func (a *api) applyStatus(ctx context.Context, task *v1alpha1.AgentTask, status v1alpha1.AgentTaskStatus) error {
	body, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "AgentTask",
		"metadata": map[string]any{"name": task.Name, "namespace": task.Namespace, "uid": task.UID},
		"status":   status,
	})
	if err != nil {
		return fmt.Errorf("encoding the status: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return a.rest.Patch(types.ApplyPatchType).
		Namespace(a.namespace).Resource("agenttasks").Name(task.Name).SubResource("status").
		Param("fieldManager", FieldManager).Param("force", "true").
		Body(body).Do(ctx).Error()
}
