package apiserver

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/record"
)

// A record that does not know whose it is goes once its task is gone and nothing was
// written to it for a day; that of a task that is there is told whose it is.
func TestRecordsWithoutAName(t *testing.T) {
	now := time.Now()
	store, err := record.OpenWith(t.Context(), "mem://", record.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	there, gone := record.Task{Namespace: "a", UID: taskUID}, record.Task{Namespace: "a", UID: "gone"}
	for _, task := range []record.Task{there, gone} {
		if err := store.Recorder(task, record.Writer{Attempt: 1, PodUID: "pod"}).Append(t.Context(), 1, []byte("x\n")); err != nil {
			t.Fatal(err)
		}
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	task := &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "fix", UID: types.UID(taskUID)}}
	task.Spec.Record.RetainSeconds = 60
	down := true
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(task).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if down {
				return errors.New("the API server is restarting")
			}
			return c.List(ctx, list, opts...)
		},
	}).Build()
	lazy := newLazyStore(nil, clock.RealClock{})
	lazy.set(store, nil)
	s := &sweeper{store: lazy, tasks: c, clock: clock.RealClock{}}
	left := func() int {
		n := 0
		for _, task := range []record.Task{there, gone} {
			if last, err := store.LastEvent(t.Context(), task); err == nil && last == 1 {
				n++
			}
		}
		return n
	}
	for i, step := range []struct {
		age  time.Duration
		down bool
		want int
	}{{23 * time.Hour, false, 2}, {25 * time.Hour, true, 2}, {25 * time.Hour, false, 1}} {
		now, down = time.Now().Add(step.age), step.down
		s.sweep(t.Context())
		if got := left(); got != step.want {
			t.Errorf("step %d: %d records are left, want %d", i, got, step.want)
		}
	}
	if info, err := store.Info(t.Context(), there); err != nil || info.Name != "fix" || info.RetainSeconds != 60 {
		t.Errorf("the record is told %+v, %v", info, err)
	}
}

// What a Sandbox keeps of its workspace goes with it, at once, and not with a task of its
// name; also where the record does not know any more whose it is.
func TestRecordsOfSandboxes(t *testing.T) {
	now := time.Now()
	store, err := record.OpenWith(t.Context(), "mem://", record.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	named, nameless := record.Task{Namespace: "a", UID: "named"}, record.Task{Namespace: "a", UID: "nameless"}
	for _, box := range []record.Task{named, nameless} {
		if err := store.LastRecorder(box, record.Writer{Attempt: 1, PodUID: "pod"}).Append(t.Context(), 1, []byte("x\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Describe(t.Context(), named, record.Info{Name: "box", Kind: record.KindSandbox}); err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	box := &v1alpha1.Sandbox{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "box", UID: "named"}}
	other := &v1alpha1.Sandbox{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "other", UID: "nameless"}}
	task := &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "box", UID: "task"}}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(box, other, task).Build()
	lazy := newLazyStore(nil, clock.RealClock{})
	lazy.set(store, nil)
	s := &sweeper{store: lazy, tasks: c, clock: clock.RealClock{}, retain: time.Hour}
	left := func(want ...int64) {
		t.Helper()
		s.sweep(t.Context())
		for i, r := range []record.Task{named, nameless} {
			if last, err := store.LastEvent(t.Context(), r); err != nil || last != want[i] {
				t.Errorf("the record %s ends with event %d, %v, want %d", r.UID, last, err, want[i])
			}
		}
	}
	now = now.Add(25 * time.Hour)
	left(1, 1)
	for _, sb := range []*v1alpha1.Sandbox{box, other} {
		if err := c.Delete(t.Context(), sb); err != nil {
			t.Fatal(err)
		}
	}
	left(0, 0)
}
