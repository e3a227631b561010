package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// poolName is the pool that tasks claim from.
const poolName = "spare"

// claims has a pool with a warm Sandbox for each of n tasks, creates these at once, and
// gives the time of each to the first request that the model server got for it. While the
// other arms are measured there is no pool.
func (b *bench) claims(ctx context.Context, name string, n int) ([]time.Duration, error) {
	replicas := int32(n)
	pool := &v1alpha1.SandboxPool{
		ObjectMeta: metav1.ObjectMeta{Name: poolName, Namespace: namespace},
		Spec:       v1alpha1.SandboxPoolSpec{Replicas: &replicas, MaxStarting: 10},
	}
	if err := b.c.Create(ctx, pool); err != nil {
		return nil, err
	}
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
		err := b.c.Get(ctx, client.ObjectKeyFromObject(pool), pool)
		return pool.Status.ReadyReplicas != nil && *pool.Status.ReadyReplicas == replicas, err
	})
	if err != nil {
		return nil, fmt.Errorf("filling the pool: %w", err)
	}
	return b.start(ctx, name, n, v1alpha1.TaskSandbox{PoolRef: v1alpha1.PoolReference{Name: poolName}})
}

// countClaim counts how the claim of a task came out, and removes the pool it was of.
func (b *bench) countClaim(ctx context.Context, task *v1alpha1.AgentTask) error {
	if task.Spec.Sandbox.PoolRef.Name == "" {
		return nil
	}
	if err := b.c.Get(ctx, client.ObjectKeyFromObject(task), task); err != nil {
		return err
	}
	if task.Status.Claim.Outcome == v1alpha1.ClaimHit {
		b.hits++
	} else {
		b.misses++
	}
	pool := &v1alpha1.SandboxPool{ObjectMeta: metav1.ObjectMeta{Name: poolName, Namespace: namespace}}
	return client.IgnoreNotFound(b.c.Delete(ctx, pool))
}
