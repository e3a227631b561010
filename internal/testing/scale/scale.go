// Package scale measures what a task costs the control plane: the API server, whose
// work no task can do without, and the manager. A stand-in plays scheduler, kubelet
// and runners, so that pods cost little, and as much as the bare pods of the floor.
package scale

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/objects"
	"github.com/sampan-dev/sampan/internal/testing/operator"
)

// Options say what is measured.
type Options struct {
	// Tasks are made in so many Namespaces as fast as the API server takes them, after
	// so many bare Pods.
	Tasks, Namespaces, Pods int
	// Pause is how long a pod stays as it is before each step of its life.
	Pause time.Duration
	// Profiles is a folder for profiles, taken for ProfileTime from the first task on;
	// empty for none.
	Profiles    string
	ProfileTime time.Duration
	// Args are flags of the manager.
	Args []string
	// Log is told what is under way.
	Log func(format string, args ...any)
}

// Result is what was measured.
type Result struct {
	Tasks int
	// PodRate and TaskRate are how many ended in a second, from the first that was
	// created to the last that ended.
	PodRate, TaskRate float64
	// ManagerCPU and ServerCPU are the seconds of processor time that the manager and
	// the API server took for a task, and PodServerCPU those for a bare pod: unlike
	// rates they do not depend on what else the machine does.
	ManagerCPU, ServerCPU, PodServerCPU float64
	// Requests are the manager's own, until nothing happens any more.
	Requests Counts
	// Reconciles are those of each controller.
	Reconciles Counts
	// IdleHeap and Heap are the bytes in use after a garbage collection, before the
	// first task and while all are there. PeakRSS is the most that the process had.
	IdleHeap, Heap, PeakRSS int64
}

// bench is a run under way.
type bench struct {
	Options
	api     *cluster.Cluster
	node    *node
	creator *counter
	client  client.Client
	manager *manager
}

// Run measures tasks on an API server on which nothing else is.
func Run(ctx context.Context, api *cluster.Cluster, o Options) (res *Result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "sampan-scale-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // only temporary
	b := &bench{Options: o, api: api, creator: &counter{}}
	if b.client, err = client.New(b.creator.config(api.Config), client.Options{Scheme: api.Scheme}); err != nil {
		return nil, err
	}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	if b.manager, err = startManager(ctx, api, dir, o.Args); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.manager.Stop()) }()
	if b.node, err = startNode(ctx, api, o.Pause); err != nil {
		return nil, err
	}
	return b.measure(ctx)
}

const podNamespace = "pods"

// prepare installs what `make deploy` does, and makes the namespaces.
func (b *bench) prepare(ctx context.Context) error {
	if err := operator.Install(ctx, b.api); err != nil {
		return err
	}
	if err := operator.InstallPolicies(ctx, b.api); err != nil {
		return err
	}
	objs := []client.Object{objects.MakeRegistry(operator.Namespace, objects.RegistryDocument),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: podNamespace}}}
	for i := range b.Namespaces {
		objs = append(objs, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: taskNamespace(i)}})
	}
	for _, obj := range objs {
		if err := b.api.Client.Create(ctx, obj); err != nil {
			return err
		}
	}
	return nil
}

func taskNamespace(i int) string { return fmt.Sprintf("tasks-%d", i) }

func (b *bench) measure(ctx context.Context) (*Result, error) {
	res := &Result{Tasks: b.Tasks}
	// One task, so that what a namespace's tasks share, and code that is loaded late,
	// is none of the measured ones' cost.
	if _, err := b.race(ctx, b.Namespaces, func(i int) client.Object { return task("first", i) }); err != nil {
		return nil, err
	}
	before, err := b.settle(ctx)
	if err != nil {
		return nil, err
	}
	b.Log("%d bare pods", b.Pods)
	_, idle, err := b.processorTime(ctx)
	if err != nil {
		return nil, err
	}
	if res.PodRate, err = b.race(ctx, b.Pods, func(i int) client.Object { return barePod(i) }); err != nil {
		return nil, err
	}
	managerBefore, serverBefore, err := b.processorTime(ctx)
	if err != nil {
		return nil, err
	}
	b.Log("%d tasks", b.Tasks)
	profiled := b.profile(ctx)
	if res.TaskRate, err = b.race(ctx, b.Tasks, func(i int) client.Object { return task("task", i%b.Namespaces, i) }); err != nil {
		return nil, err
	}
	managerAfter, serverAfter, err := b.processorTime(ctx)
	if err != nil {
		return nil, err
	}
	res.PodServerCPU = (serverBefore - idle) / float64(max(1, b.Pods))
	res.ManagerCPU, res.ServerCPU = (managerAfter-managerBefore)/float64(b.Tasks), (serverAfter-serverBefore)/float64(b.Tasks)
	b.Log("all have ended; waiting for what the manager still does")
	after, err := b.settle(ctx)
	if err != nil {
		return nil, err
	}
	res.Requests = after.requests.without(before.requests)
	res.Reconciles = after.reconciles.without(before.reconciles)
	res.IdleHeap, res.Heap = before.heap, after.heap
	if err := <-profiled; err != nil {
		return nil, err
	}
	res.PeakRSS, err = b.manager.PeakRSS()
	return res, err
}

// task is what a user would write, in the i-th namespace.
func task(name string, namespace int, number ...int) client.Object {
	for _, n := range number {
		name = fmt.Sprintf("%s-%d", name, n)
	}
	return objects.MakeTask(name).Namespace(taskNamespace(namespace)).Verify("tests", "make test").Obj()
}

// barePod has two containers, as a task's pod has.
func barePod(i int) client.Object {
	pod := objects.MakePod(fmt.Sprintf("pod-%d", i)).Obj()
	pod.Namespace = podNamespace
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	for _, name := range []string{"one", "two"} {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name, Image: "image:test"})
	}
	return pod
}

// race makes n objects, several at once, and gives how many of them ended in a second.
func (b *bench) race(ctx context.Context, n int, obj func(i int) client.Object) (rate float64, err error) {
	if n == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	next := make(chan int)
	var creators sync.WaitGroup
	defer creators.Wait()
	for range concurrency {
		creators.Go(func() {
			for i := range next {
				if err := b.client.Create(ctx, obj(i)); err != nil && ctx.Err() == nil {
					b.node.fail(err)
				}
			}
		})
	}
	go func() {
		defer close(next)
		for i := range n {
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	for done := range n {
		select {
		case <-b.node.ended:
		case err := <-b.node.failed:
			return 0, fmt.Errorf("%d of %d had ended: %w: %s", done, n, err, b.manager.Tail())
		case <-ctx.Done():
			return 0, fmt.Errorf("%d of %d had ended: %w: %s", done, n, context.Cause(ctx), b.manager.Tail())
		}
		if (done+1)%1000 == 0 {
			b.Log("%d of %d have ended, %s after the first was created", done+1, n, time.Since(began).Round(time.Second))
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// quiet is for how long no reconcile has ended where all is settled. It is longer than
// any time after which the manager looks at a task or a Sandbox that is well, so that
// those looks are counted.
const quiet = 25 * time.Second

// settle waits until the manager does nothing any more, and gives what has been done
// since it started.
func (b *bench) settle(ctx context.Context) (*snapshot, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, since := -1, time.Now()
	for {
		metrics, err := b.manager.metrics(ctx)
		if err != nil {
			return nil, err
		}
		if n := metrics.reconciles().Total(); n != last {
			last, since = n, time.Now()
		} else if time.Since(since) >= quiet {
			return b.look(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("the manager is still at work: %w", context.Cause(ctx))
		}
	}
}

// look collects the manager's garbage, and reads what both processes tell.
func (b *bench) look(ctx context.Context) (*snapshot, error) {
	data, err := b.manager.get(ctx, b.manager.pprofURL+"heap?gc=1")
	if err := b.writeProfile("manager-heap", data, err); err != nil {
		return nil, err
	}
	own, err := b.manager.metrics(ctx)
	if err != nil {
		return nil, err
	}
	server, err := b.manager.serverMetrics(ctx)
	if err != nil {
		return nil, err
	}
	return &snapshot{
		requests:   served(server).without(b.creator.requests(), b.node.requests()),
		reconciles: own.reconciles(),
		heap:       int64(own.value("go_memstats_heap_alloc_bytes")),
	}, nil
}

// processorTime is what both processes took since they started, in seconds.
func (b *bench) processorTime(ctx context.Context) (manager, server float64, err error) {
	own, err := b.manager.metrics(ctx)
	if err != nil {
		return 0, 0, err
	}
	all, err := b.manager.serverMetrics(ctx)
	return own.value(processorSeconds), all.value(processorSeconds), err
}

const processorSeconds = "process_cpu_seconds_total"
