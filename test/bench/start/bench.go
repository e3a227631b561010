package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

const (
	namespace = "sampan-bench"
	// startTimeout bounds one start, or one burst.
	startTimeout = 2 * time.Minute
)

// bench has a namespace with a model server and a registry.
type bench struct {
	c       client.WithWatch
	raw     kubernetes.Interface
	image   string
	version string
	// hits and misses are the outcomes of the claims.
	hits, misses int
}

func newBench(ctx context.Context, image string) (*bench, error) {
	cfg, err := config.GetConfig()
	if err != nil {
		return nil, err
	}
	cfg.QPS, cfg.Burst = 500, 500
	if err := v1alpha1.AddToScheme(scheme.Scheme); err != nil {
		return nil, err
	}
	b := &bench{image: image}
	if b.c, err = client.NewWithWatch(cfg, client.Options{}); err != nil {
		return nil, err
	}
	if b.raw, err = kubernetes.NewForConfig(cfg); err != nil {
		return nil, err
	}
	info, err := b.raw.Discovery().ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	b.version = "Kubernetes " + info.GitVersion
	if err := b.cleanUp(ctx); err != nil {
		return nil, err
	}
	for _, obj := range b.setup() {
		if err := b.c.Create(ctx, obj); err != nil {
			return nil, fmt.Errorf("creating %T %s: %w", obj, obj.GetName(), err)
		}
	}
	_, err = b.whenReady(ctx, map[string]time.Time{"model": time.Now()})
	return b, err
}

// script keeps each task alive until its round is over, as the floor's pods are:
// otherwise the end of the first would slow down the start of the last.
const script = "turns:\n- {text: Done., delay: 2m}\n"

// setup is what the measured tasks need: a model server and a registry.
func (b *bench) setup() []client.Object {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"app": name}}
	}
	model := b.pod("model", corev1.Container{
		Name: "model", Command: []string{"agent-runner", "model-server", "--script", "/script/script.yaml", "--addr", ":4000"},
		VolumeMounts: []corev1.VolumeMount{{Name: "script", MountPath: "/script"}},
	})
	model.Spec.Volumes = []corev1.Volume{{Name: "script", VolumeSource: corev1.VolumeSource{
		ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "script"}}}}}
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&corev1.ConfigMap{ObjectMeta: meta("script"), Data: map[string]string{"script.yaml": script}},
		&corev1.ConfigMap{ObjectMeta: meta("sampan-models"), Data: map[string]string{"models.yaml": `version: 1
default: {name: bench}
providers:
  bench: {type: openai, baseURL: "http://model:4000/v1"}
models:
- {id: bench, provider: bench}
`}},
		model,
		&corev1.Service{ObjectMeta: meta("model"), Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "model"}, Ports: []corev1.ServicePort{{Name: "http", Port: 4000}},
		}},
	}
}

// pod has containers of the size that a task's pod has.
func (b *bench) pod(name string, containers ...corev1.Container) *corev1.Pod {
	for i := range containers {
		containers[i].Image = b.image
		containers[i].ImagePullPolicy = corev1.PullIfNotPresent
		containers[i].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("30m")}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			// With 0 the API server forgets a pod before kubelet has ended it, and
			// that work would slow down what is measured next.
			TerminationGracePeriodSeconds: new(int64(1)),
			RestartPolicy:                 corev1.RestartPolicyNever, Containers: containers,
		},
	}
}

// A kind says what a pod of the floor has besides its two containers.
type kind func(*corev1.PodSpec)

// empty has no volume: kubelet skips a wait that it does in steps of 0.3 s.
func empty(p *corev1.PodSpec) { p.AutomountServiceAccountToken = new(false) }

// ordinary has the volume that every pod has by default: its account's token.
func ordinary(*corev1.PodSpec) {}

// restricted is what a namespace with the restricted Pod Security Standard, as
// the tasks' has, lets in. Its filter of system calls costs each container about
// 0.02 s of CPU time.
func restricted(p *corev1.PodSpec) {
	p.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	for i := range p.Containers {
		p.Containers[i].SecurityContext = &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
	}
}

// pods starts bare pods of a kind at once and gives the time of each to Ready.
func (b *bench) pods(of kind) func(context.Context, string, int) ([]time.Duration, error) {
	return func(ctx context.Context, name string, n int) ([]time.Duration, error) {
		created := map[string]time.Time{}
		var pods []client.Object
		for i := range n {
			idle := []string{"sleep", "infinity"}
			p := b.pod(fmt.Sprintf("%s-%d", name, i), corev1.Container{Name: "one", Command: idle}, corev1.Container{Name: "two", Command: idle})
			of(&p.Spec)
			pods = append(pods, p)
			created[p.Name] = time.Now()
			if err := b.c.Create(ctx, p); err != nil {
				return nil, err
			}
		}
		d, err := b.whenReady(ctx, created)
		if err != nil {
			return nil, err
		}
		return d, b.remove(ctx, pods)
	}
}

// whenReady gives the time from each pod's creation until its Ready was seen.
func (b *bench) whenReady(ctx context.Context, created map[string]time.Time) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	w, err := b.c.Watch(ctx, &corev1.PodList{}, client.InNamespace(namespace))
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	var out []time.Duration
	for len(out) < len(created) {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d pods were ready: %w", len(out), len(created), ctx.Err())
		case ev, ok := <-w.ResultChan():
			if !ok {
				return nil, fmt.Errorf("the watch of pods ended")
			}
			p, isPod := ev.Object.(*corev1.Pod)
			if !isPod {
				continue
			}
			start, wanted := created[p.Name]
			if wanted && !start.IsZero() && ready(p) {
				out = append(out, time.Since(start))
				created[p.Name] = time.Time{}
			}
		}
	}
	return out, nil
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// tasks creates AgentTasks at once and gives the time of each to the first
// request that the model server got for it. Both clocks are this machine's.
func (b *bench) tasks(ctx context.Context, name string, n int) ([]time.Duration, error) {
	return b.start(ctx, name, n, v1alpha1.TaskSandbox{})
}

// start creates AgentTasks that run in such Sandboxes.
func (b *bench) start(ctx context.Context, name string, n int, sandbox v1alpha1.TaskSandbox) ([]time.Duration, error) {
	created := map[string]time.Time{}
	var tasks []client.Object
	for i := range n {
		t := &v1alpha1.AgentTask{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", name, i), Namespace: namespace},
			Spec:       v1alpha1.AgentTaskSpec{Prompt: "Say one word.", Sandbox: sandbox},
		}
		tasks = append(tasks, t)
		created[t.Name] = time.Now()
		if err := b.c.Create(ctx, t); err != nil {
			return nil, err
		}
	}
	var out []time.Duration
	// The model server keeps the times, so asking rarely loses nothing, and asking
	// often would slow down what is measured.
	err := wait.PollUntilContextTimeout(ctx, time.Second, startTimeout, false, func(ctx context.Context) (bool, error) {
		first, err := b.firstRequests(ctx)
		if err != nil {
			return false, err
		}
		out = out[:0]
		for name, start := range created {
			if at, ok := first[name]; ok {
				out = append(out, at.Sub(start))
			}
		}
		return len(out) == n, nil
	})
	if err != nil {
		return nil, fmt.Errorf("%d of %d tasks reached their model: %w", len(out), n, err)
	}
	for _, t := range tasks {
		if err := b.countClaim(ctx, t.(*v1alpha1.AgentTask)); err != nil {
			return nil, err
		}
	}
	return out, b.remove(ctx, tasks)
}

// firstRequests asks the model server when it first heard of each task.
func (b *bench) firstRequests(ctx context.Context) (map[string]time.Time, error) {
	data, err := b.raw.CoreV1().Services(namespace).ProxyGet("http", "model", "4000", "debug/requests", nil).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking the model server: %w", err)
	}
	first := map[string]time.Time{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		var r struct {
			Task     string `json:"task"`
			UnixNano int64  `json:"unixNano"`
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("reading the model server's records: %w", err)
		}
		if _, seen := first[r.Task]; !seen {
			first[r.Task] = time.Unix(0, r.UnixNano)
		}
	}
	return first, lines.Err()
}

// remove deletes objects and waits until nothing of them runs, so that one
// round does not slow down the next.
func (b *bench) remove(ctx context.Context, objects []client.Object) error {
	for _, obj := range objects {
		if err := b.c.Delete(ctx, obj); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
		var pods corev1.PodList
		err := b.c.List(ctx, &pods, client.InNamespace(namespace))
		return len(pods.Items) <= 1, err
	})
}

// cleanUp removes the namespace and waits until it is gone. Tasks go first:
// the operator has to take off their finalizers.
func (b *bench) cleanUp(ctx context.Context) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if err := b.c.Delete(ctx, ns); client.IgnoreNotFound(err) != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, startTimeout, true, func(ctx context.Context) (bool, error) {
		err := b.c.Get(ctx, client.ObjectKeyFromObject(ns), ns)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
}
