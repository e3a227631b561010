package scale

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/transport"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
)

// node plays the scheduler, kubelet and the runners: each pod is bound, runs, reports
// if it is a task's, and ends.
type node struct {
	counter
	ctx   context.Context
	pods  client.Client
	tasks rest.Interface
	// pause is how long a pod stays as it is before its next step.
	pause time.Duration
	// busy bounds the requests that are under way.
	busy chan struct{}
	// ended gets a pod that belongs to no task when it has ended, and a task when it
	// has; failed the first that did not.
	ended  chan client.Object
	failed chan error

	mu sync.Mutex
	// begun are the pods that were seen, by UID.
	begun map[types.UID]bool
	// told gets the task that lets a pod report, by the pod's name.
	told map[types.NamespacedName]chan *v1alpha1.AgentTask
	// done are the tasks that have ended, by UID.
	done map[types.UID]bool
}

// concurrency is how many requests the node, and all creators, have under way.
const concurrency = 8

// startNode runs a node until ctx ends.
func startNode(ctx context.Context, api *cluster.Cluster, pause time.Duration) (*node, error) {
	n := &node{ctx: ctx, pause: pause, busy: make(chan struct{}, concurrency), ended: make(chan client.Object, 128), failed: make(chan error, 1),
		begun: map[types.UID]bool{}, told: map[types.NamespacedName]chan *v1alpha1.AgentTask{}, done: map[types.UID]bool{}}
	config := n.config(api.Config)
	var err error
	if n.pods, err = client.New(config, client.Options{Scheme: api.Scheme}); err != nil {
		return nil, err
	}
	http, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	n.tasks, err = apiutil.RESTClientForGVK(v1alpha1.GroupVersion.WithKind("AgentTask"), false, false, config, serializer.NewCodecFactory(api.Scheme), http)
	if err != nil {
		return nil, err
	}
	seen, err := cache.New(config, cache.Options{Scheme: api.Scheme, DefaultTransform: cache.TransformStripManagedFields()})
	if err != nil {
		return nil, err
	}
	for _, kind := range []struct {
		obj  client.Object
		look func(any)
	}{{&corev1.Pod{}, n.podSeen}, {&v1alpha1.AgentTask{}, n.taskSeen}} {
		informer, err := seen.GetInformer(ctx, kind.obj, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, err
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: kind.look, UpdateFunc: func(_, now any) { kind.look(now) },
		}); err != nil {
			return nil, err
		}
	}
	go func() {
		if err := seen.Start(ctx); err != nil {
			n.fail(err)
		}
	}()
	if !seen.WaitForCacheSync(ctx) {
		return nil, fmt.Errorf("the node does not see the API server: %w", context.Cause(ctx))
	}
	return n, nil
}

func (n *node) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

// podSeen begins the life of a new pod.
func (n *node) podSeen(obj any) {
	pod := obj.(*corev1.Pod)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.begun[pod.UID] {
		return
	}
	n.begun[pod.UID] = true
	go func() {
		if err := n.live(pod); err != nil && n.ctx.Err() == nil {
			n.fail(fmt.Errorf("Pod %s/%s: %w", pod.Namespace, pod.Name, err)) //nolint:staticcheck // a kind's name
		}
	}()
}

// taskSeen tells a pod that it may report, and the caller that a task has ended.
func (n *node) taskSeen(obj any) {
	task := obj.(*v1alpha1.AgentTask)
	if name := task.Status.PodName; name != "" {
		select {
		case n.tell(types.NamespacedName{Namespace: task.Namespace, Name: name}) <- task:
		default: // it was told
		}
	}
	c := meta.FindStatusCondition(task.Status.Conditions, v1alpha1.ConditionSucceeded)
	if c == nil || c.Status == metav1.ConditionUnknown {
		return
	}
	if c.Status == metav1.ConditionFalse {
		n.fail(fmt.Errorf("AgentTask %s/%s failed: %s: %s", task.Namespace, task.Name, c.Reason, c.Message))
		return
	}
	n.mu.Lock()
	first := !n.done[task.UID]
	n.done[task.UID] = true
	n.mu.Unlock()
	if first {
		n.end(task)
	}
}

func (n *node) end(obj client.Object) {
	select {
	case n.ended <- obj:
	case <-n.ctx.Done():
	}
}

func (n *node) tell(pod types.NamespacedName) chan *v1alpha1.AgentTask {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.told[pod] == nil {
		n.told[pod] = make(chan *v1alpha1.AgentTask, 1)
	}
	return n.told[pod]
}

// step does one request, when its turn has come.
func (n *node) step(do func() error) error {
	if n.pause > 0 {
		timer := time.NewTimer(n.pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-n.ctx.Done():
		}
	}
	select {
	case n.busy <- struct{}{}:
	case <-n.ctx.Done():
		return n.ctx.Err()
	}
	defer func() { <-n.busy }()
	return do()
}

// live is the life of a pod.
func (n *node) live(pod *corev1.Pod) error {
	err := n.step(func() error {
		binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace}, Target: corev1.ObjectReference{Kind: "Node", Name: "node"}}
		return n.pods.SubResource("binding").Create(n.ctx, pod, binding)
	})
	if err != nil {
		return fmt.Errorf("binding: %w", err)
	}
	running := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "192.0.2.1", Conditions: conditions(corev1.ConditionTrue), StartTime: &metav1.Time{Time: time.Now()}}
	ended := corev1.PodStatus{Phase: corev1.PodSucceeded, Conditions: conditions(corev1.ConditionFalse)}
	for _, c := range pod.Spec.Containers {
		running.ContainerStatuses = append(running.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: true, Started: new(true),
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}})
	}
	if err := n.step(func() error { return n.setStatus(pod, running) }); err != nil {
		return fmt.Errorf("running: %w", err)
	}
	words := ""
	if pod.Labels[podspec.LabelManagedBy] == podspec.ManagedBy {
		if words, err = n.report(pod); err != nil {
			return fmt.Errorf("reporting: %w", err)
		}
	}
	for _, c := range running.ContainerStatuses {
		end := corev1.ContainerStateTerminated{ExitCode: 0, Reason: "Completed", StartedAt: c.State.Running.StartedAt, FinishedAt: metav1.Now()}
		if c.Name == podapi.RunnerContainer {
			end.Message = words
		}
		ended.ContainerStatuses = append(ended.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, State: corev1.ContainerState{Terminated: &end}})
	}
	if err := n.step(func() error { return n.setStatus(pod, ended) }); err != nil {
		return fmt.Errorf("ending: %w", err)
	}
	if words == "" {
		n.end(pod)
	}
	return nil
}

func conditions(ready corev1.ConditionStatus) []corev1.PodCondition {
	var out []corev1.PodCondition
	for _, c := range []corev1.PodConditionType{corev1.PodReady, corev1.ContainersReady} {
		out = append(out, corev1.PodCondition{Type: c, Status: ready, LastTransitionTime: metav1.Now()})
	}
	for _, c := range []corev1.PodConditionType{corev1.PodInitialized, corev1.PodScheduled, corev1.PodReadyToStartContainers} {
		out = append(out, corev1.PodCondition{Type: c, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()})
	}
	return out
}

// setStatus patches a pod's status as kubelet does.
func (n *node) setStatus(pod *corev1.Pod, status corev1.PodStatus) error {
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		return err
	}
	target := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace}}
	return n.pods.Status().Patch(n.ctx, target, client.RawPatch(types.StrategicMergePatchType, data))
}

// report writes a task's status as its runner does, first progress, then the result,
// and gives the runner's termination message.
func (n *node) report(pod *corev1.Pod) (words string, err error) {
	var task *v1alpha1.AgentTask
	select {
	case task = <-n.tell(client.ObjectKeyFromObject(pod)):
	case <-n.ctx.Done():
		return "", n.ctx.Err()
	}
	st := v1alpha1.AgentTaskStatus{
		Progress: v1alpha1.TaskProgress{Attempt: task.Status.Attempt, Model: "demo", Turns: new(int32(2)), ToolCalls: new(int32(3)), FailedToolCalls: new(int32(0)), Activity: "Runs the tests",
			LastProgressTime: &metav1.Time{Time: time.Now()},
			Usage: v1alpha1.TaskUsage{InputTokens: new(int64(20000)), CachedInputTokens: new(int64(10000)), OutputTokens: new(int64(500)),
				CostUSD: "0.01", Accuracy: v1alpha1.UsageReported}},
		Transcript: v1alpha1.TranscriptStatus{
			URI:    fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/log?container=%s&limitBytes=%d", pod.Namespace, pod.Name, podapi.RunnerContainer, 30000),
			Events: new(int64(12)), Bytes: new(int64(30000))},
	}
	if err := n.step(func() error { return n.apply(pod, task, st) }); err != nil {
		return "", err
	}
	st.Progress.Turns, st.Progress.Activity = new(int32(4)), ""
	st.Result = v1alpha1.TaskResult{Attempt: task.Status.Attempt, Reason: v1alpha1.ReasonCompleted, Message: "The failing test passes: the parser dropped the last line of its input."}
	for _, v := range task.Spec.Verify {
		st.Result.Verifications = append(st.Result.Verifications, v1alpha1.VerificationStatus{Name: v.Name, Outcome: v1alpha1.VerificationPassed, ExitCode: new(int32(0))})
	}
	if err := n.step(func() error { return n.apply(pod, task, st) }); err != nil {
		return "", err
	}
	data, err := json.Marshal(podapi.TerminationMessage{TaskUID: string(task.UID), Result: st.Result, Progress: st.Progress, Transcript: st.Transcript})
	return string(data), err
}

// apply applies the runner's part of a status with what a token has that is bound to
// its pod.
func (n *node) apply(pod *corev1.Pod, task *v1alpha1.AgentTask, st v1alpha1.AgentTaskStatus) error {
	body, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "AgentTask",
		"metadata": map[string]any{"name": task.Name, "namespace": task.Namespace, "uid": task.UID},
		"status":   st,
	})
	if err != nil {
		return err
	}
	const extra = transport.ImpersonateUserExtraHeaderPrefix + "authentication.kubernetes.io%2f"
	return n.tasks.Patch(types.ApplyPatchType).
		Namespace(task.Namespace).Resource("agenttasks").Name(task.Name).SubResource("status").
		Param("fieldManager", podapi.FieldManager).Param("force", "true").
		SetHeader(transport.ImpersonateUserHeader, "system:serviceaccount:"+pod.Namespace+":"+pod.Spec.ServiceAccountName).
		SetHeader(transport.ImpersonateGroupHeader, "system:serviceaccounts", "system:serviceaccounts:"+pod.Namespace, "system:authenticated").
		SetHeader(extra+"pod-name", pod.Name).SetHeader(extra+"pod-uid", string(pod.UID)).
		Body(body).Do(n.ctx).Error()
}
