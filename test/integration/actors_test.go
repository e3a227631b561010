package integration

import (
	"encoding/json"
	"fmt"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
)

// lostNode is a node that does not answer: nothing removes its pods.
const lostNode = "lost"

func (w *world) task(name string) *v1alpha1.AgentTask {
	GinkgoHelper()
	var t v1alpha1.AgentTask
	Expect(w.live.Get(w.ctx, types.NamespacedName{Namespace: w.ns, Name: name}, &t)).To(Succeed())
	return &t
}

func (w *world) sandbox(name string) *v1alpha1.Sandbox {
	GinkgoHelper()
	var sb v1alpha1.Sandbox
	Expect(w.live.Get(w.ctx, types.NamespacedName{Namespace: w.ns, Name: name}, &sb)).To(Succeed())
	return &sb
}

func (w *world) pod(name string) *corev1.Pod {
	GinkgoHelper()
	var p corev1.Pod
	Expect(w.live.Get(w.ctx, types.NamespacedName{Namespace: w.ns, Name: name}, &p)).To(Succeed())
	return &p
}

// run plays scheduler, kubelet and runner: the pod is bound, its containers run, and
// its runner reports for the first time.
func (w *world) run(name string) { GinkgoHelper(); w.runOn(name, "node") }

func (w *world) runOn(name, node string) { GinkgoHelper(); w.start(name, node) }

// speak plays the first report of each runner that runs and has a task.
func (w *world) speak() bool {
	GinkgoHelper()
	spoke := false
	pods, sandboxes := w.podList(), w.sandboxList()
	for _, t := range w.taskList() {
		st := t.Status
		runs := slices.ContainsFunc(pods, func(p corev1.Pod) bool {
			return p.Name == st.PodName && p.DeletionTimestamp == nil && worksFor(&p, sandboxes) == t.UID && slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
				return c.Name == podapi.RunnerContainer && c.State.Running != nil
			})
		})
		if w.silent || !runs || st.Progress.Attempt == st.Attempt || st.Result.Attempt == st.Attempt || st.CompletionTime != nil || t.DeletionTimestamp != nil {
			continue
		}
		w.applyStatus(t.Name, map[string]any{"progress": map[string]any{"attempt": int64(st.Attempt), "turns": 0}})
		spoke = true
	}
	return spoke
}

// worksFor is the UID of the task that a pod's runner finds in its Sandbox.
func worksFor(pod *corev1.Pod, sandboxes []v1alpha1.Sandbox) types.UID {
	for _, sb := range sandboxes {
		switch task := podapi.OwnerTask(&sb); {
		case !metav1.IsControlledBy(pod, &sb):
		case task != nil:
			return task.UID
		default:
			return types.UID(sb.Status.TaskRef.UID)
		}
	}
	return ""
}

// start plays scheduler and kubelet alone.
func (w *world) start(name, node string) { GinkgoHelper(); w.containersRun(name, node); w.settle() }

func (w *world) containersRun(name, node string) {
	GinkgoHelper()
	w.bind(name, node)
	w.podStatus(name, func(st *corev1.PodStatus) {
		st.Phase, st.StartTime = corev1.PodRunning, new(metav1.NewTime(w.clock.Now()))
		st.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		for _, c := range []string{podapi.RunnerContainer, podapi.SandboxContainer} {
			setContainer(st, c, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
		}
	})
}

// bind plays the scheduler, where it has not played yet.
func (w *world) bind(name, node string) {
	GinkgoHelper()
	if w.pod(name).Spec.NodeName == node {
		return
	}
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.ns}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}
	Expect(w.live.SubResource("binding").Create(w.ctx, w.pod(name), binding)).To(Succeed())
}

// take plays a kubelet that has begun with a pod, and tells of it.
func (w *world) take(name, reason, message string) {
	GinkgoHelper()
	w.bind(name, "node")
	w.podStatus(name, func(st *corev1.PodStatus) { st.StartTime = new(metav1.NewTime(w.clock.Now())) })
	w.tell(w.pod(name), "Pod", reason, message)
}

// tell writes an event of an object.
func (w *world) tell(obj client.Object, kind, reason, message string) {
	GinkgoHelper()
	w.create(&corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: obj.GetName() + ".", Namespace: w.ns},
		Type:       corev1.EventTypeWarning, Reason: reason, Message: message, LastTimestamp: metav1.NewTime(w.clock.Now()),
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: w.ns, Name: obj.GetName(), UID: obj.GetUID()},
	})
}

// exit plays kubelet: both containers ended.
func (w *world) exit(name string, code int32, message string) {
	GinkgoHelper()
	w.podStatus(name, func(st *corev1.PodStatus) {
		st.Phase = corev1.PodSucceeded
		if code != 0 {
			st.Phase = corev1.PodFailed
		}
		st.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
		w.terminate(st, podapi.RunnerContainer, code, "Error", message)
		w.terminate(st, podapi.SandboxContainer, 0, "Completed", "")
	})
	w.settle()
}

// startError plays a runtime that cannot start the sandbox container.
func (w *world) startError(name string) {
	GinkgoHelper()
	w.podStatus(name, func(st *corev1.PodStatus) {
		setContainer(st, podapi.RunnerContainer, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
		w.terminate(st, podapi.SandboxContainer, 128, "StartError", "memory limit too low")
	})
	w.settle()
}

func (w *world) terminate(st *corev1.PodStatus, container string, code int32, reason, message string) {
	setContainer(st, container, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, Message: message, FinishedAt: metav1.NewTime(w.clock.Now())}})
}

func setContainer(st *corev1.PodStatus, name string, state corev1.ContainerState) {
	for i := range st.ContainerStatuses {
		if st.ContainerStatuses[i].Name == name {
			st.ContainerStatuses[i].State = state
			return
		}
	}
	st.ContainerStatuses = append(st.ContainerStatuses, corev1.ContainerStatus{Name: name, State: state})
}

func (w *world) podStatus(name string, edit func(*corev1.PodStatus)) {
	GinkgoHelper()
	pod := w.pod(name)
	edit(&pod.Status)
	Expect(w.live.Status().Update(w.ctx, pod)).To(Succeed())
}

// lose takes a pod away at once.
func (w *world) lose(name string) {
	GinkgoHelper()
	w.delete(w.pod(name), client.GracePeriodSeconds(0))
	w.settle()
}

// collect plays the garbage collector: the claim of a Sandbox goes after it.
func (w *world) collect(sandbox string) {
	GinkgoHelper()
	var claim corev1.PersistentVolumeClaim
	if w.live.Get(w.ctx, types.NamespacedName{Namespace: w.ns, Name: sandbox}, &claim) == nil { // a task's own has none
		w.change(&claim, func() { claim.Finalizers = nil })
		w.delete(&claim)
	}
}

// collectGarbage plays the garbage collector for the Sandboxes of tasks and pools that are gone,
// and the pods of Sandboxes that are.
func (w *world) collectGarbage() bool {
	GinkgoHelper()
	removed := false
	owners := map[types.UID]bool{}
	for _, t := range w.taskList() {
		owners[t.UID] = true
	}
	for _, pool := range w.poolList() {
		owners[pool.UID] = true
	}
	for _, sb := range w.sandboxList() {
		owner := metav1.GetControllerOf(&sb)
		if w.garbage && owner != nil && (owner.Kind == "AgentTask" || owner.Kind == "SandboxPool") && !owners[owner.UID] && sb.DeletionTimestamp == nil {
			w.delete(&sb)
			removed = true
		}
	}
	sandboxes := map[types.UID]bool{}
	for _, sb := range w.sandboxList() {
		sandboxes[sb.UID] = true
	}
	for _, probe := range w.probeList() {
		sandboxes[probe.UID] = true
	}
	for _, p := range w.podList() {
		owner := metav1.GetControllerOf(&p)
		if w.garbage && owner != nil && owner.APIVersion == v1alpha1.GroupVersion.String() && (owner.Kind == "Sandbox" || owner.Kind == "ModelProbe") && !sandboxes[owner.UID] && p.DeletionTimestamp == nil {
			w.delete(&p)
			removed = true
		}
	}
	return removed
}

// removeLeavingPods plays kubelet: what is being deleted goes.
func (w *world) removeLeavingPods() bool {
	GinkgoHelper()
	removed := false
	for _, p := range w.podList() {
		if w.kubelet && p.DeletionTimestamp != nil && p.Spec.NodeName != lostNode {
			w.delete(&p, client.GracePeriodSeconds(0))
			removed = true
		}
	}
	return removed
}

// report plays the runner of the task's current attempt: it applies progress and a result.
func (w *world) report(name, reason string) {
	GinkgoHelper()
	w.reportWords(name, reason, "The last words.")
}

func (w *world) reportWords(name, reason, message string) {
	GinkgoHelper()
	task := w.task(name)
	Expect(task.Status.PodName).NotTo(BeEmpty(), "the runner may not report yet")
	w.applyStatus(name, map[string]any{
		"progress":   map[string]any{"attempt": int64(task.Status.Attempt), "turns": 3, "model": "demo"},
		"transcript": map[string]any{"uri": logOf(w.ns, task.Status.PodName)},
		"result":     map[string]any{"attempt": int64(task.Status.Attempt), "reason": reason, "message": message},
	})
	w.settle()
}

func (w *world) applyStatus(name string, status map[string]any) {
	GinkgoHelper()
	Expect(w.live.SubResource("status").Apply(w.ctx, statusOf(w.ns, name, status), client.FieldOwner("agent-runner"), client.ForceOwnership)).To(Succeed())
	Expect(w.cache.Refresh(w.ctx, "AgentTask", types.NamespacedName{Namespace: w.ns, Name: name})).To(Succeed())
}

// logOf is the path of a runner's log.
func logOf(namespace, pod string) string {
	return "/api/v1/namespaces/" + namespace + "/pods/" + pod + "/log?container=runner&limitBytes=10"
}

// lastWords is a runner's termination message.
func lastWords(task *v1alpha1.AgentTask, attempt int32, reason string) string {
	data, err := json.Marshal(podapi.TerminationMessage{
		TaskUID: string(task.UID), Result: v1alpha1.TaskResult{Attempt: attempt, Reason: reason, Message: "From the last words."},
		Progress: v1alpha1.TaskProgress{Turns: new(int32(7))}, Transcript: v1alpha1.TranscriptStatus{URI: logOf(task.Namespace, fmt.Sprintf("%s-%d", task.Name, attempt))},
	})
	Expect(err).NotTo(HaveOccurred())
	return string(data)
}

// stands is "status reason" of a task's Succeeded.
func (w *world) stands(name string) string {
	GinkgoHelper()
	c := meta.FindStatusCondition(w.task(name).Status.Conditions, v1alpha1.ConditionSucceeded)
	Expect(c).NotTo(BeNil())
	return string(c.Status) + " " + c.Reason
}

// starting is how a task stands whose pod was just made. Where a spec has moved the clock
// on, the pod looks old, and nobody plays a scheduler.
var starting = BeElementOf("Unknown Starting", "Unknown Unschedulable")

// ready is "status reason" of a Sandbox's Ready.
func (w *world) ready(name string) string {
	GinkgoHelper()
	c := meta.FindStatusCondition(w.sandbox(name).Status.Conditions, v1alpha1.ConditionReady)
	Expect(c).NotTo(BeNil())
	return string(c.Status) + " " + c.Reason
}

func (w *world) names(objs any) []string {
	GinkgoHelper()
	out := []string{}
	switch l := objs.(type) {
	case []corev1.Pod:
		for _, o := range l {
			out = append(out, o.Name)
		}
	case []v1alpha1.Sandbox:
		for _, o := range l {
			out = append(out, o.Name)
		}
	case []networkingv1.NetworkPolicy:
		for _, o := range l {
			out = append(out, o.Name)
		}
	case []v1alpha1.AgentTask:
		for _, o := range l {
			out = append(out, o.Name)
		}
	}
	return out
}

func request(obj client.Object) ctrl.Request {
	return ctrl.Request{NamespacedName: client.ObjectKeyFromObject(obj)}
}
