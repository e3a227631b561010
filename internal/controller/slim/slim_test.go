package slim

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

func meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: "x", Namespace: "ns", UID: "u", ResourceVersion: "7", Generation: 2, CreationTimestamp: metav1.Unix(1, 0), DeletionTimestamp: new(metav1.Unix(2, 0)),
		Finalizers: []string{"a/b"}, Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "Other", Name: "y"}, {Kind: "Sandbox", Name: "z", Controller: new(true)}},
		ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "m"}},
	}
}

func kept[T client.Object](t *testing.T, obj T) T {
	t.Helper()
	out, err := Transform(obj)
	if err != nil {
		t.Fatal(err)
	}
	return out.(T)
}

var long = strings.Repeat("x", MaxBytes)

func TestWhatIsSmallIsKeptWhole(t *testing.T) {
	task := &v1alpha1.AgentTask{ObjectMeta: meta()}
	task.Spec.Prompt = "x"
	want := task.DeepCopy()
	want.ManagedFields, want.Annotations = nil, nil
	if d := cmp.Diff(want, kept(t, task)); d != "" {
		t.Error(d)
	}
	cm := &corev1.ConfigMap{ObjectMeta: meta(), Data: map[string]string{"k": "v"}}
	wantMap := cm.DeepCopy()
	wantMap.ManagedFields = nil
	if d := cmp.Diff(wantMap, kept(t, cm)); d != "" {
		t.Error(d)
	}
}

// TestOfWhatIsLargeAStubIsKept, with what the controllers' lists and watches look at.
func TestOfWhatIsLargeAStubIsKept(t *testing.T) {
	stubMeta := meta()
	stubMeta.ManagedFields, stubMeta.Labels, stubMeta.Finalizers = nil, nil, nil
	stubMeta.OwnerReferences = stubMeta.OwnerReferences[1:]
	stubMeta.Annotations = map[string]string{annotationPartial: partial}

	task := &v1alpha1.AgentTask{ObjectMeta: meta(), Status: v1alpha1.AgentTaskStatus{Attempt: 3}}
	task.Spec.Prompt, task.Spec.State, task.Spec.Sandbox.SandboxRef.Name, task.Spec.TTLSecondsAfterFinished = long, v1alpha1.TaskActive, "box", new(int32(9))
	want := &v1alpha1.AgentTask{ObjectMeta: stubMeta, Status: task.Status}
	want.Spec.State, want.Spec.Sandbox.SandboxRef.Name, want.Spec.TTLSecondsAfterFinished = v1alpha1.TaskActive, "box", new(int32(9))
	if d := cmp.Diff(want, kept(t, task)); d != "" {
		t.Error(d)
	}

	sb := &v1alpha1.Sandbox{ObjectMeta: meta(), Status: v1alpha1.SandboxStatus{PodName: "p", TaskRef: v1alpha1.TaskReference{Name: "t", UID: "v", Attempt: 1}}}
	sb.Spec = v1alpha1.SandboxSpec{State: v1alpha1.SandboxRunning, IdleSeconds: 1, TTLSeconds: 2}
	wantBox := &v1alpha1.Sandbox{ObjectMeta: stubMeta, Spec: sb.Spec, Status: sb.Status}
	sb.Spec.Template.Env = []v1alpha1.EnvVar{{Name: "A", Value: &long}}
	sb.Spec.Template.Network.Egress = v1alpha1.EgressRestricted
	wantBox.Spec.Template.Network.Egress = v1alpha1.EgressRestricted
	if d := cmp.Diff(wantBox, kept(t, sb)); d != "" {
		t.Error(d)
	}

	for _, cm := range []*corev1.ConfigMap{
		{ObjectMeta: meta(), Data: map[string]string{"k": long}},
		{ObjectMeta: meta(), BinaryData: map[string][]byte{"k": []byte(long)}},
	} {
		if d := cmp.Diff(&corev1.ConfigMap{ObjectMeta: stubMeta}, kept(t, cm)); d != "" {
			t.Error(d)
		}
	}
}

// TestMetadataCounts: Kubernetes bounds neither labels nor finalizers nor owners.
func TestMetadataCounts(t *testing.T) {
	for name, edit := range map[string]func(*metav1.ObjectMeta){
		"labels":     func(m *metav1.ObjectMeta) { m.Labels[long] = "" },
		"finalizers": func(m *metav1.ObjectMeta) { m.Finalizers = append(m.Finalizers, long) },
		"owners": func(m *metav1.ObjectMeta) {
			m.OwnerReferences = append(m.OwnerReferences, metav1.OwnerReference{Name: long})
		},
		"many": func(m *metav1.ObjectMeta) { m.Finalizers = make([]string, 1000) },
	} {
		task, pod := &v1alpha1.AgentTask{ObjectMeta: meta()}, &corev1.Pod{ObjectMeta: meta()}
		edit(&task.ObjectMeta)
		edit(&pod.ObjectMeta)
		stub := kept(t, task)
		if again := kept(t, stub); !Partial(again) {
			t.Error("a stub that is kept again is taken for the whole object")
		}
		if !Partial(stub) {
			t.Errorf("%s: a task is kept whole", name)
		}
		if kept(t, pod); heavy(&pod.ObjectMeta) {
			t.Errorf("%s: a pod keeps them", name)
		}
	}
}

// TestNobodyMarksAStub: the mark of an object on the API server means nothing.
func TestNobodyMarksAStub(t *testing.T) {
	for _, obj := range []client.Object{&corev1.ConfigMap{}, &v1alpha1.AgentTask{}, &v1alpha1.Sandbox{}, &corev1.Pod{}} {
		obj.SetAnnotations(map[string]string{annotationPartial: "true"})
		if Partial(kept(t, obj)) {
			t.Errorf("%T is taken for a stub", obj)
		}
	}
	gone := cache.DeletedFinalStateUnknown{Key: "k"}
	if out, err := Transform(gone); err != nil || out != any(gone) {
		t.Errorf("got %v, %v", out, err)
	}
}

// TestGetGivesTheWhole also of what the cache has a stub of.
func TestGetGivesTheWhole(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	task := &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "ns", Labels: map[string]string{"a": "b"}}}
	task.Spec.Prompt = long
	live := fake.NewClientBuilder().WithScheme(scheme).WithObjects(task).Build()
	key := client.ObjectKeyFromObject(task)
	if err := live.Get(t.Context(), key, task); err != nil {
		t.Fatal(err)
	}
	cached := fake.NewClientBuilder().WithScheme(scheme).WithObjects(kept(t, task.DeepCopy())).Build()
	c := Client(cached, decoding{live})
	var got v1alpha1.AgentTask
	if err := c.Get(t.Context(), key, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(task.Spec, got.Spec); d != "" || Partial(&got) || got.Labels["a"] != "b" {
		t.Errorf("got %v\n%s", got.ObjectMeta, d)
	}
	if !Large(c, &v1alpha1.AgentTask{})(reconcile.Request{NamespacedName: key}) || Large(live, &v1alpha1.AgentTask{})(reconcile.Request{NamespacedName: key}) {
		t.Error("which one is large is not told by the cache")
	}
	key.Name = "none"
	if Large(c, &v1alpha1.AgentTask{})(reconcile.Request{NamespacedName: key}) {
		t.Error("what is not there is large")
	}
	// One that is gone since is not there, whatever the cache says.
	c = Client(cached, missing{})
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(task), &got); !apierrors.IsNotFound(err) {
		t.Errorf("error is %v", err)
	}
}

// TestIdleOnesStayStubs, and so nothing is read past the cache for them.
func TestIdleOnesStayStubs(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	task := &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "ns"}}
	task.Spec.Prompt, task.Spec.State = long, v1alpha1.TaskSuspended
	live := fake.NewClientBuilder().WithScheme(scheme).WithObjects(task).WithStatusSubresource(task).Build()
	key := client.ObjectKeyFromObject(task)
	if err := live.Get(t.Context(), key, task); err != nil {
		t.Fatal(err)
	}
	cached := fake.NewClientBuilder().WithScheme(scheme).WithObjects(kept(t, task.DeepCopy())).Build()
	var got v1alpha1.AgentTask
	suspended := func() bool { return got.Spec.State == v1alpha1.TaskSuspended }
	if err := GetUnlessIdle(t.Context(), Client(cached, missing{}), key, &got, suspended); err != nil || !Partial(&got) {
		t.Errorf("of one that is suspended there is %v, %v", got.ObjectMeta, err)
	}

	// Its status can be written, and nothing else of it is.
	before := got.DeepCopy()
	got.Status.Attempt = 7
	if err := live.Status().Patch(t.Context(), &got, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	if err := live.Get(t.Context(), key, task); err != nil || task.Spec.Prompt != long || task.Status.Attempt != 7 || Partial(task) {
		t.Errorf("a stub was written: %v, %v", task.ObjectMeta, err)
	}

	busy := func() bool { return false }
	if err := GetUnlessIdle(t.Context(), Client(cached, decoding{live}), key, &got, busy); err != nil || Partial(&got) || got.Spec.Prompt != long {
		t.Errorf("of one that is at work there is %v, %v", got.ObjectMeta, err)
	}
	if err := GetUnlessIdle(t.Context(), live, key, &got, suspended); err != nil || got.Spec.Prompt != long {
		t.Errorf("a client that knows no stubs gives %v, %v", got.ObjectMeta, err)
	}
}

// decoding reads as a client of the API server does, which sets what was sent.
type decoding struct{ client.Reader }

func (d decoding) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	sent := obj.DeepCopyObject().(client.Object)
	if err := d.Reader.Get(ctx, key, sent, opts...); err != nil {
		return err
	}
	data, err := json.Marshal(sent)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, obj)
}

type missing struct{ client.Reader }

func (missing) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return apierrors.NewNotFound(schema.GroupResource{}, "x")
}

// TestPodsAreStripped of what was given to them, the registry among it.
func TestPodsAreStripped(t *testing.T) {
	pod := podspec.Pod(podspec.Input{Sandbox: &v1alpha1.Sandbox{ObjectMeta: metav1.ObjectMeta{Name: "box", Namespace: "ns"}}, PodName: "box", Registry: long})
	pod.Spec.NodeName = "node"
	pod.OwnerReferences = meta().OwnerReferences
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "192.0.2.1",
		Conditions:        []corev1.PodCondition{{Type: corev1.ContainersReady}, {Type: corev1.PodScheduled}, {Type: corev1.PodReady}, {Type: "example.com/gate"}, {Type: corev1.DisruptionTarget}},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "runner", ImageID: long, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}
	got := kept(t, pod)
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "box", Namespace: "ns", OwnerReferences: meta().OwnerReferences[1:],
			Labels: map[string]string{podspec.LabelManagedBy: podspec.ManagedBy, podspec.LabelSandbox: "box"}},
		Spec: corev1.PodSpec{NodeName: "node"},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "192.0.2.1",
			Conditions:        []corev1.PodCondition{{Type: corev1.PodScheduled}, {Type: corev1.PodReady}, {Type: corev1.DisruptionTarget}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "runner", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestOfAProbeResultsAreKept, and not what is for people to read.
func TestOfAProbeResultsAreKept(t *testing.T) {
	result := v1alpha1.ProbedModel{ID: "a", Digest: "d", Outcome: v1alpha1.ProbeFits, Declared: "Good", Measured: "Good", Time: new(metav1.Unix(5, 0))}
	said := result
	said.Message, said.Changes, said.Findings, said.Calls = long, long, []string{long}, new(int32(3))
	probe := &v1alpha1.ModelProbe{ObjectMeta: meta(), Status: v1alpha1.ModelProbeStatus{PodName: "p", Models: []v1alpha1.ProbedModel{said}}}
	want := probe.DeepCopy()
	want.ManagedFields, want.Annotations, want.Status.Models = nil, nil, []v1alpha1.ProbedModel{result}
	if d := cmp.Diff(want, kept(t, probe)); d != "" {
		t.Error(d)
	}
	probe.Spec = v1alpha1.ModelProbeSpec{Models: []string{long}, TTLSecondsAfterFinished: new(int32(9))}
	stub := kept(t, probe)
	if !Partial(stub) || *stub.Spec.TTLSecondsAfterFinished != 9 || stub.Status.PodName != "p" || len(stub.Status.Models) != 1 {
		t.Errorf("kept %+v", stub)
	}
}
