package metrics

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// Watcher counts what a cache sees of tasks. It runs in the manager that leads, so
// that several managers do not count everything several times.
type Watcher struct {
	Cache cache.Cache
	Clock clock.PassiveClock
	// Registry is that of controller-runtime when nil.
	Registry prometheus.Registerer
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (w *Watcher) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable.
func (w *Watcher) Start(ctx context.Context) error {
	informer, err := w.Cache.GetInformer(ctx, &v1alpha1.AgentTask{})
	if err != nil {
		return fmt.Errorf("watching AgentTasks for the metrics: %w", err)
	}
	counted := NewTasks(w.Clock)
	registry := w.Registry
	if registry == nil {
		registry = ctrlmetrics.Registry
	}
	if err := registry.Register(counted); err != nil {
		return fmt.Errorf("registering the metrics: %w", err)
	}
	defer registry.Unregister(counted)
	handler, err := informer.AddEventHandler(handlerOf(counted))
	if err != nil {
		return fmt.Errorf("watching AgentTasks for the metrics: %w", err)
	}
	<-ctx.Done()
	return informer.RemoveEventHandler(handler)
}

func handlerOf(t *Tasks) toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(obj any, initial bool) {
			task, ok := obj.(*v1alpha1.AgentTask)
			switch {
			case !ok:
			case initial:
				t.Found(task)
			default:
				t.Created(task)
			}
		},
		UpdateFunc: func(before, after any) {
			was, ok := before.(*v1alpha1.AgentTask)
			is, both := after.(*v1alpha1.AgentTask)
			if ok && both {
				t.Changed(was, is)
			}
		},
		DeleteFunc: func(obj any) {
			if unknown, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = unknown.Obj
			}
			if task, ok := obj.(*v1alpha1.AgentTask); ok {
				t.Gone(task)
			}
		},
	}
}
