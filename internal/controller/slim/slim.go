// Package slim keeps the manager's memory in proportion to the number of objects
// that tenants make, whatever they put into them. What is small is cached as it is.
// Of a large object only a stub is cached: its metadata and what lists and watches
// look at. Who gets it by name is given the whole of it, read from the API server.
package slim

import (
	"context"
	"crypto/rand"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// MaxBytes is how large, about, an object may be that is cached whole, without its
// status: 1,000 of a kind fit into 8 MiB.
const MaxBytes = 8 << 10

// annotationPartial marks a stub, with a value that nobody outside of this process
// knows. It is in the cache only.
const annotationPartial = "sampan.dev/partial"

var partial = rand.Text()

// Partial reports whether an object from the cache is a stub.
func Partial(obj client.Object) bool { return obj.GetAnnotations()[annotationPartial] == partial }

// Transform makes an object ready for the cache. A reflector may give it what it has
// made before, and gets that.
func Transform(in any) (any, error) {
	obj, ok := in.(client.Object)
	if !ok {
		return in, nil // such as the tombstone of a deleted object, which was transformed
	}
	if Partial(obj) {
		return obj, nil
	}
	obj.SetManagedFields(nil)
	switch obj := obj.(type) {
	case *corev1.Pod:
		podspec.Cached(obj)
		return obj, nil
	case *v1alpha1.AgentTask:
		obj.Annotations = nil // kubectl apply has all of the spec in there once more
		if heavy(&obj.ObjectMeta, &obj.Spec) {
			return stubOfTask(obj), nil
		}
	case *v1alpha1.Sandbox:
		obj.Annotations = nil
		if heavy(&obj.ObjectMeta, &obj.Spec) {
			return stubOfSandbox(obj), nil
		}
	case *v1alpha1.ModelProbe:
		obj.Annotations = nil
		dropWords(obj)
		if heavy(&obj.ObjectMeta, &obj.Spec) {
			return stubOfProbe(obj), nil
		}
	default:
		if heavy(obj) {
			return stub(obj), nil
		}
	}
	return obj, nil
}

// stub is an object of the same type with what every watch needs.
func stub(obj client.Object) client.Object {
	out := reflect.New(reflect.TypeOf(obj).Elem()).Interface().(client.Object)
	meta := metaOf(obj)
	out.SetName(meta.Name)
	out.SetNamespace(meta.Namespace)
	out.SetUID(meta.UID)
	out.SetResourceVersion(meta.ResourceVersion)
	out.SetGeneration(meta.Generation)
	out.SetCreationTimestamp(meta.CreationTimestamp)
	out.SetDeletionTimestamp(meta.DeletionTimestamp)
	out.SetOwnerReferences(meta.OwnerReferences)
	out.SetAnnotations(meta.Annotations)
	out.SetLabels(meta.Labels)
	return out
}

func metaOf(obj client.Object) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{
		Name: obj.GetName(), Namespace: obj.GetNamespace(), UID: obj.GetUID(), ResourceVersion: obj.GetResourceVersion(),
		Generation: obj.GetGeneration(), CreationTimestamp: obj.GetCreationTimestamp(), DeletionTimestamp: obj.GetDeletionTimestamp(),
		Annotations: map[string]string{annotationPartial: partial},
	}
	for _, key := range podspec.PoolLabels { // a pool finds by them what it has made
		if value, ok := obj.GetLabels()[key]; ok {
			if meta.Labels == nil {
				meta.Labels = map[string]string{}
			}
			meta.Labels[key] = value
		}
	}
	if owner := metav1.GetControllerOf(obj); owner != nil {
		meta.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	return meta
}

func stubOfTask(task *v1alpha1.AgentTask) *v1alpha1.AgentTask {
	out := &v1alpha1.AgentTask{ObjectMeta: metaOf(task), Status: task.Status}
	out.Spec.State, out.Spec.TTLSecondsAfterFinished = task.Spec.State, task.Spec.TTLSecondsAfterFinished
	out.Spec.Sandbox.SandboxRef = task.Spec.Sandbox.SandboxRef
	return out
}

func stubOfSandbox(sb *v1alpha1.Sandbox) *v1alpha1.Sandbox {
	out := &v1alpha1.Sandbox{ObjectMeta: metaOf(sb), Status: sb.Status}
	out.Spec.State = sb.Spec.State
	out.Spec.IdleSeconds, out.Spec.TTLSeconds = sb.Spec.IdleSeconds, sb.Spec.TTLSeconds
	out.Spec.Template.Network.Egress = sb.Spec.Template.Network.Egress
	return out
}

func stubOfProbe(probe *v1alpha1.ModelProbe) *v1alpha1.ModelProbe {
	out := &v1alpha1.ModelProbe{ObjectMeta: metaOf(probe), Status: probe.Status}
	out.Spec.TTLSecondsAfterFinished = probe.Spec.TTLSecondsAfterFinished
	return out
}

// dropWords drops from the results of a probe what is for people: the operator only ever
// writes what else is in the status.
func dropWords(probe *v1alpha1.ModelProbe) {
	for i := range probe.Status.Models {
		m := &probe.Status.Models[i]
		*m = v1alpha1.ProbedModel{ID: m.ID, Digest: m.Digest, Outcome: m.Outcome, Declared: m.Declared, Measured: m.Measured, Time: m.Time}
	}
}

// Client reads from the cache through c, and from live what the cache has only a
// stub of.
func Client(c client.Client, live client.Reader) client.Client { return slimClient{c, live} }

// Large tells the queue of a controller which of its objects are cached as stubs.
// One that is not there is not large.
func Large(c client.Client, example client.Object) func(reconcile.Request) bool {
	wrapped, ok := c.(slimClient)
	if !ok {
		return func(reconcile.Request) bool { return false }
	}
	return func(r reconcile.Request) bool {
		obj := example.DeepCopyObject().(client.Object)
		err := wrapped.Client.Get(context.Background(), r.NamespacedName, obj)
		return err == nil && Partial(obj)
	}
}

type slimClient struct {
	client.Client
	live client.Reader
}

// Get gives the whole object.
func (c slimClient) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if err := c.Client.Get(ctx, key, obj, opts...); err != nil || !Partial(obj) {
		return err
	}
	return c.whole(ctx, key, obj, opts...)
}

// whole replaces a stub.
func (c slimClient) whole(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	reflect.ValueOf(obj).Elem().SetZero()
	return c.live.Get(ctx, key, obj, opts...)
}

// GetUnlessIdle gives an object as Get does, save that a stub stays one while idle says
// of it that there is nothing to do for which more is needed: of a thousand large
// objects that are suspended or have ended, none is read again when a manager starts.
// What is changed in a stub may be patched, and never updated. A stub has no template,
// finalizers or labels but those of a pool, so idle is not to be said of what is compared with these, such
// as an ended task whose pod may have to be stopped.
func GetUnlessIdle(ctx context.Context, c client.Client, key client.ObjectKey, obj client.Object, idle func() bool) error {
	wrapped, ok := c.(slimClient)
	if !ok {
		return c.Get(ctx, key, obj)
	}
	if err := wrapped.Client.Get(ctx, key, obj); err != nil || !Partial(obj) || idle() {
		return err
	}
	return wrapped.whole(ctx, key, obj)
}

// heavy reports whether values have more than MaxBytes. It stops as soon as they do.
func heavy(values ...any) bool {
	left := MaxBytes
	for _, v := range values {
		weigh(reflect.ValueOf(v), &left)
	}
	return left < 0
}

// weigh takes from left what a value needs, about.
func weigh(v reflect.Value, left *int) {
	if *left < 0 {
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			weigh(v.Elem(), left)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			weigh(v.Field(i), left)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			*left -= v.Len()
			return
		}
		*left -= v.Len() * int(v.Type().Elem().Size())
		for i := 0; i < v.Len() && *left >= 0; i++ {
			weigh(v.Index(i), left)
		}
	case reflect.Map:
		*left -= 48 * v.Len()
		for it := v.MapRange(); *left >= 0 && it.Next(); {
			weigh(it.Key(), left)
			weigh(it.Value(), left)
		}
	case reflect.String:
		*left -= v.Len()
	default:
	}
}
