package crowd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/operator"
)

// Options say how large the crowd is.
type Options struct {
	// Tasks are made of the largest size; Active of them ask for a pod, the others
	// are suspended.
	Tasks, Active int
	// Registries is in how many namespaces there is a hostile registry, and a task
	// that asks for it; each is edited Edits times.
	Registries, Edits int
	// Samples is how many honest tasks are measured in each phase.
	Samples int
	// Log is told what is under way; it may be nil.
	Log func(format string, args ...any)
}

// Phase is what was measured while something went on.
type Phase struct {
	Name string
	// Status is from an honest task's creation to its first status.
	Status []time.Duration
	// API is what the API server itself takes to store and give a small object, at
	// the same time: the machine is shared with it.
	API []time.Duration
	// PeakRSS of the manager up to the phase's end, in bytes.
	PeakRSS int64
}

// crowd is a run under way.
type crowd struct {
	Options
	api    *cluster.Cluster
	rest   rest.Interface
	dir    string
	mgr    *operator.Manager
	honest int
	phases []Phase
}

// Namespaces of those who are not hostile.
const (
	honestNamespace = "honest"
	largeNamespace  = "large"
)

// Run measures an idle manager, then beside the largest tasks, then beside hostile
// registries, then a new manager that finds all of it.
func Run(ctx context.Context, api *cluster.Cluster, o Options) (phases []Phase, err error) {
	c := &crowd{Options: o, api: api}
	if c.Log == nil {
		c.Log = func(string, ...any) {}
	}
	if c.dir, err = os.MkdirTemp("", "sampan-crowd-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(c.dir) //nolint:errcheck // only temporary
	set, err := kubernetes.NewForConfig(api.Config)
	if err != nil {
		return nil, err
	}
	c.rest = set.RESTClient()
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	if c.mgr, err = c.startManager(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.mgr.Stop()) }()
	if err := c.sample(ctx, &Phase{}); err != nil { // the first makes what its namespace shares
		return nil, err
	}
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"idle", nothing},
		{"while large tasks come", c.createTasks},
		{"large tasks are there", nothing},
		{"while hostile registries come", c.editRegistries},
		{"all are there", nothing},
		{"a new manager, and its start", c.restart},
	}
	for _, s := range steps {
		if err := c.phase(ctx, s.name, s.do); err != nil {
			return c.phases, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return c.phases, nil
}

func nothing(context.Context) error { return nil }

// prepare makes the namespaces of the honest.
func (c *crowd) prepare(ctx context.Context) error {
	if err := operator.Install(ctx, c.api); err != nil {
		return err
	}
	if err := c.api.Client.Create(ctx, registryOf(operator.Namespace, honestRegistry)); err != nil {
		return err
	}
	for _, ns := range []string{honestNamespace, largeNamespace} {
		if err := c.namespace(ctx, ns, honestRegistry); err != nil {
			return err
		}
	}
	generous := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: adminpolicy.ConfigMapName, Namespace: operator.Namespace},
		Data:       map[string]string{adminpolicy.Key: everything},
	}
	return c.api.Client.Create(ctx, generous)
}

func (c *crowd) namespace(ctx context.Context, name, document string) error {
	if err := c.api.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return err
	}
	return c.api.Client.Create(ctx, registryOf(name, document))
}

func registryOf(namespace, document string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: modelregistry.ConfigMapName, Namespace: namespace}, Data: map[string]string{modelregistry.Key: document}}
}

// phase measures honest tasks while do is under way, and at least Samples of them.
func (c *crowd) phase(ctx context.Context, name string, do func(context.Context) error) error {
	c.Log("%s", name)
	p := Phase{Name: name}
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	// What is measured should not be what is in the way of the rest.
	turn := time.NewTicker(sampleInterval)
	defer turn.Stop()
	running := true
	for running || len(p.Status) < c.Samples {
		if err := c.sample(ctx, &p); err != nil {
			return err
		}
		<-turn.C
		select {
		case err := <-done:
			if err != nil {
				return err
			}
			running, done = false, nil
		default:
		}
	}
	var err error
	if p.PeakRSS, err = c.mgr.PeakRSS(); err != nil {
		return err
	}
	c.phases = append(c.phases, p)
	return nil
}

// sampleInterval is how often an honest task comes.
const sampleInterval = 500 * time.Millisecond

// patience bounds how long anything is waited for.
const patience = 2 * time.Minute

// sample measures one honest task, and the API server beside it.
func (c *crowd) sample(ctx context.Context, p *Phase) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c.honest++
	name := fmt.Sprintf("honest-%d", c.honest)
	small := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: honestNamespace}}
	began := time.Now()
	if err := c.api.Client.Create(ctx, small); err != nil {
		return err
	}
	if err := c.api.Client.Get(ctx, client.ObjectKeyFromObject(small), small); err != nil {
		return err
	}
	p.API = append(p.API, time.Since(began))
	task := &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: honestNamespace}}
	task.Spec.Prompt = "Say hello."
	began = time.Now()
	if err := c.api.Client.Create(ctx, task); err != nil {
		return err
	}
	if err := c.awaitStatus(ctx, task); err != nil {
		return fmt.Errorf("honest task %s got no status: %w: %s", name, err, c.mgr.Tail())
	}
	p.Status = append(p.Status, time.Since(began))
	return c.api.Client.Delete(ctx, task) // so that the honest do not wait for each other
}

// awaitStatus asks until a task has a status. It does not watch: of an API server
// that is busy with large objects the watches are late.
func (c *crowd) awaitStatus(ctx context.Context, task *v1alpha1.AgentTask) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var got v1alpha1.AgentTask
		if err := c.api.Client.Get(ctx, client.ObjectKeyFromObject(task), &got); err != nil {
			return err
		}
		if len(got.Status.Conditions) > 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// createTasks makes the largest tasks, some at once, and waits until the manager
// has seen each.
func (c *crowd) createTasks(ctx context.Context) error {
	err := each(c.Tasks, func(i int) error {
		state := v1alpha1.TaskSuspended
		if i < c.Active {
			state = v1alpha1.TaskActive
		}
		return c.api.Client.Create(ctx, largestTask(largeNamespace, fmt.Sprintf("large-%d", i), state))
	})
	if err != nil {
		return err
	}
	if err := c.await(ctx, "/apis/"+v1alpha1.GroupVersion.String(), "agenttasks", hasReason, c.Tasks); err != nil {
		return err
	}
	return c.await(ctx, "/api/v1", "pods", func([]any) bool { return true }, c.Active)
}

// await waits until so many rows of the table that kubectl shows are as they should
// be: of objects as large as these the API server should give nothing more.
func (c *crowd) await(ctx context.Context, group, resource string, ready func(cells []any) bool, n int) error {
	deadline := time.NewTimer(10 * patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		data, err := c.rest.Get().AbsPath(group).Namespace(largeNamespace).Resource(resource).Param("includeObject", string(metav1.IncludeNone)).
			SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(ctx)
		if err != nil {
			return fmt.Errorf("counting %s: %w", resource, err)
		}
		var found metav1.Table
		if err := json.Unmarshal(data, &found); err != nil {
			return fmt.Errorf("counting %s: %w", resource, err)
		}
		seen := 0
		for _, row := range found.Rows {
			if ready(row.Cells) {
				seen++
			}
		}
		if seen >= n {
			return nil
		}
		c.Log("%s: %d of %d", resource, seen, n)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("%s: there are %d of %d: %s", resource, seen, n, c.mgr.Tail())
		}
	}
}

// hasReason reports whether a task's row has a reason, the column after its name and
// Succeeded: the manager has seen it.
func hasReason(cells []any) bool { return len(cells) > 2 && cells[2] != nil && cells[2] != "" }

// editRegistries makes hostile registries, each with a task that asks for it, and
// edits them.
func (c *crowd) editRegistries(ctx context.Context) error {
	name := func(i int) string { return fmt.Sprintf("hostile-%d", i) }
	err := each(c.Registries, func(i int) error {
		if err := c.namespace(ctx, name(i), hostileRegistry(i, 0)); err != nil {
			return err
		}
		task := &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{Name: "task", Namespace: name(i)}}
		task.Spec.Prompt, task.Spec.Model.Name = "x", "no-such-model"
		return c.api.Client.Create(ctx, task)
	})
	for round := range c.Edits {
		if err != nil {
			return err
		}
		c.Log("edit %d of %d registries", round+1, c.Registries)
		err = each(c.Registries, func(i int) error {
			return c.api.Client.Update(ctx, registryOf(name(i), hostileRegistry(i+round, round+1)))
		})
	}
	return err
}

// restart takes the manager away and starts another one, which has to take in all
// that is there.
func (c *crowd) restart(ctx context.Context) error {
	return c.mgr.Restart(ctx, func() { c.Log("the first manager has ended") })
}

// atOnce is how many create things.
const atOnce = 2

// each does something n times, several at once, in any order.
func each(n int, do func(i int) error) error {
	var wg sync.WaitGroup
	next, failed := make(chan int), make(chan error, atOnce)
	for range atOnce {
		wg.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	var err error
	for _, i := range rand.Perm(n) {
		select {
		case next <- i:
		case err = <-failed:
		}
		if err != nil {
			break
		}
	}
	close(next)
	wg.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	return err
}

func (c *crowd) startManager(ctx context.Context) (*operator.Manager, error) {
	m, err := operator.Build(ctx, c.api, c.dir)
	if err != nil {
		return nil, err
	}
	m.Args = []string{"--metrics-bind-address=0"}
	return m, m.Start(ctx)
}
