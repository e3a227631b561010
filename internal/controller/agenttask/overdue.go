package agenttask

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
)

// watchOverdue asks now and then which pods run on though their tasks have ended. A
// timer for each task would cost each of them a reconcile, for what nearly none does.
func (r *Reconciler) watchOverdue(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	look := func(ctx context.Context) {
		tasks, err := r.overdue(ctx)
		if err != nil {
			logf.FromContext(ctx).Error(err, "Could not look for pods that run on")
		}
		for _, task := range tasks {
			queue.Add(reconcile.Request{NamespacedName: task})
		}
	}
	go func() {
		ticks := time.NewTicker(stopGrace / 2)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				look(ctx)
			}
		}
	}()
	return nil
}

// overdue are the ended tasks whose pods have had time to end, and run.
func (r *Reconciler) overdue(ctx context.Context) ([]types.NamespacedName, error) {
	var pods corev1.PodList
	if err := r.List(ctx, &pods, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Pods: %w", err)
	}
	var out []types.NamespacedName
	for i := range pods.Items {
		pod := &pods.Items[i]
		owner := metav1.GetControllerOf(pod)
		if owner == nil || owner.Kind != "Sandbox" || podEnded(pod) || pod.DeletionTimestamp != nil {
			continue
		}
		var task v1alpha1.AgentTask
		key := types.NamespacedName{Namespace: pod.Namespace, Name: r.taskOf(ctx, pod.Namespace, owner.Name)}
		if err := r.Get(ctx, key, &task, client.UnsafeDisableDeepCopy); err != nil {
			if client.IgnoreNotFound(err) != nil {
				return out, fmt.Errorf("reading AgentTask %s: %w", key, err)
			}
			continue
		}
		end := task.Status.CompletionTime
		if !named(&task) && kit.Finished(&task) && end != nil && r.Clock.Since(end.Time) >= stopGrace+time.Second {
			out = append(out, key)
		}
	}
	return out, nil
}

// taskOf names the task whose own Sandbox has a name: it is the task's, unless the Sandbox
// was claimed in a pool.
func (r *Reconciler) taskOf(ctx context.Context, namespace, sandbox string) string {
	var sb v1alpha1.Sandbox
	err := r.Get(ctx, types.NamespacedName{Namespace: namespace, Name: sandbox}, &sb, client.UnsafeDisableDeepCopy)
	if task := ownerTask(&sb); err == nil && task != "" {
		return task
	}
	return sandbox
}
