package inpod

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
)

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
		BearerTokenFile: filepath.Join(podapi.InputDir, podapi.TokenFile),
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(podapi.InputDir, podapi.CAFile)},
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

// object is a pointer to an API object.
type object[T any] interface {
	*T
	runtime.Object
	GetResourceVersion() string
}

// follow calls changed with an object as it is now and whenever it changes, and
// with nil when it is not there, until ctx ends. It begins with a plain get: a
// list or an informer would wait for the API server's cache to catch up, which
// takes up to 100 ms of every start.
func follow[T any, P object[T]](ctx context.Context, a *api, resource, name string, changed func(P)) {
	for ctx.Err() == nil {
		version := ""
		obj, err := get[T, P](ctx, a, resource, name)
		switch {
		case err == nil:
			version = obj.GetResourceVersion()
			changed(obj)
		case apierrors.IsNotFound(err):
			changed(nil)
		}
		if version != "" && ctx.Err() == nil {
			watchFrom(ctx, a, resource, name, version, changed)
		}
		// Whatever ended the watch, the next look begins with a get.
		select {
		case <-ctx.Done():
		case <-time.After(followInterval):
		}
	}
}

// followInterval is the pause before a broken watch is begun again.
const followInterval = time.Second

func get[T any, P object[T]](ctx context.Context, a *api, resource, name string) (P, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	obj := P(new(T))
	err := a.rest.Get().Namespace(a.namespace).Resource(resource).Name(name).Do(ctx).Into(obj)
	return obj, err
}

// watchFrom watches until the API server can no longer continue from where we are.
func watchFrom[T any, P object[T]](ctx context.Context, a *api, resource, name, version string, changed func(P)) {
	lw := cache.NewListWatchFromClient(a.rest, resource, a.namespace, fields.OneTermEqualSelector("metadata.name", name))
	w, err := watchtools.NewRetryWatcherWithContext(ctx, version, lw)
	if err != nil {
		return
	}
	defer w.Stop()
	for ev := range w.ResultChan() {
		obj, ok := ev.Object.(P)
		switch {
		case ev.Type == watch.Deleted:
			changed(nil)
		case ok && (ev.Type == watch.Added || ev.Type == watch.Modified):
			changed(obj)
		}
	}
}

// noteActivity says that a Sandbox was used at a time. The UID keeps it from a later
// Sandbox of the same name.
func (a *api) noteActivity(ctx context.Context, sb *v1alpha1.Sandbox, at time.Time) error {
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": sb.UID},
		"status":   map[string]any{"lastActivityTime": metav1.NewTime(at)},
	})
	if err != nil {
		return fmt.Errorf("encoding the status: %w", err)
	}
	return a.patchSandbox(ctx, sb, body)
}

func (a *api) patchSandbox(ctx context.Context, sb *v1alpha1.Sandbox, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return a.rest.Patch(types.MergePatchType).
		Namespace(a.namespace).Resource("sandboxes").Name(sb.Name).SubResource("status").
		Param("fieldManager", podapi.FieldManager).
		Body(body).Do(ctx).Error()
}

// noteCheckpoint writes what is kept of a Sandbox's workspace. The UID is as in
// noteActivity.
func (a *api) noteCheckpoint(ctx context.Context, sb *v1alpha1.Sandbox, c v1alpha1.SandboxCheckpoint) error {
	fields := map[string]any{"podUID": c.PodUID, "state": nil, "time": c.Time, "files": c.Files, "bytes": c.Bytes, "message": nil}
	if c.State != "" {
		fields["state"] = c.State
	}
	if c.Message != "" {
		fields["message"] = c.Message
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": sb.UID},
		"status":   map[string]any{"checkpoint": fields},
	})
	if err != nil {
		return fmt.Errorf("encoding the status: %w", err)
	}
	return a.patchSandbox(ctx, sb, body)
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
		Param("fieldManager", podapi.FieldManager).Param("force", "true").
		Body(body).Do(ctx).Error()
}
