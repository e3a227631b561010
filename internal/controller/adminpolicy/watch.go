package adminpolicy

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Watch makes a Store that follows the policy. It has a cache of its own: that of the
// manager holds ConfigMaps of another name.
func Watch(mgr ctrl.Manager, namespace string, recorder events.EventRecorder) (*Store, error) {
	c, err := cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{&corev1.ConfigMap{}: {
			Namespaces: map[string]cache.Config{namespace: {}},
			Field:      fields.OneTermEqualSelector("metadata.name", ConfigMapName),
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("making the policy's cache: %w", err)
	}
	if err := mgr.Add(c); err != nil {
		return nil, fmt.Errorf("adding the policy's cache: %w", err)
	}
	return &Store{Reader: c, Namespace: namespace, Recorder: recorder, cache: c}, nil
}

// Source of a Store that watches asks for those whom another policy may let start. The policy is read
// first, so that what is wrong with an edit is said even where nobody waits.
func (s *Store) Source(waiting func(context.Context) []reconcile.Request) source.Source {
	return source.Kind(s.cache, &corev1.ConfigMap{}, handler.TypedEnqueueRequestsFromMapFunc(
		func(ctx context.Context, _ *corev1.ConfigMap) []reconcile.Request {
			if _, err := s.Load(ctx); err != nil {
				logf.FromContext(ctx).V(1).Info("No policy to go by", "cause", err.Error())
			}
			return waiting(ctx)
		}))
}
