package inpod

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// apiServer has a Sandbox and a task, and tells watches of the Sandbox what is
// sent to changes.
func apiServer(t *testing.T, sb *v1alpha1.Sandbox, task *v1alpha1.AgentTask, changes <-chan *v1alpha1.Sandbox) *api {
	t.Helper()
	stopped := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		sandboxes := strings.Contains(r.URL.Path, "/sandboxes")
		switch {
		case r.URL.Query().Get("watch") == "":
			if sandboxes {
				_ = json.NewEncoder(w).Encode(sb)
			} else {
				_ = json.NewEncoder(w).Encode(task)
			}
		case sandboxes:
			for {
				select {
				case <-stopped:
					return
				case <-r.Context().Done():
					return
				case sb := <-changes:
					_ = json.NewEncoder(w).Encode(map[string]any{"type": "MODIFIED", "object": sb})
					_ = http.NewResponseController(w).Flush()
				}
			}
		default:
			_ = http.NewResponseController(w).Flush()
			select {
			case <-stopped:
			case <-r.Context().Done():
			}
		}
	}))
	t.Cleanup(func() { close(stopped); server.Close() })
	a, err := apiFor(&rest.Config{Host: server.URL}, "ns")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestReleasedClaim: a claim that was given back before its task was recorded as
// running here does not keep the runner from the next, nor from the same again.
func TestReleasedClaim(t *testing.T) {
	ref := v1alpha1.TaskReference{Name: "x", UID: "1", Attempt: 1}
	box := func(version string, ref v1alpha1.TaskReference) *v1alpha1.Sandbox {
		return &v1alpha1.Sandbox{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Sandbox"},
			ObjectMeta: metav1.ObjectMeta{Name: "box", Namespace: "ns", ResourceVersion: version},
			Status:     v1alpha1.SandboxStatus{TaskRef: ref},
		}
	}
	task := &v1alpha1.AgentTask{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AgentTask"},
		ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "ns", UID: "1", ResourceVersion: "1"},
	}
	changes := make(chan *v1alpha1.Sandbox)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := newWatcher(ctx, &Runner{name: "box", sandbox: "box", api: apiServer(t, box("1", ref), task, changes)})
	if sb, err := w.claimed(ctx, v1alpha1.TaskReference{}); err != nil || sb.Status.TaskRef != ref {
		t.Fatalf("the first claim: %+v, %v", sb, err)
	}
	waited := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		_, err := w.task(ctx, ref, cancel, func(*v1alpha1.AgentTask) {})
		waited <- err
	}()
	changes <- box("2", v1alpha1.TaskReference{})
	if err := <-waited; !errors.Is(err, errReleased) {
		t.Fatalf("waiting for the task gave %v, want errReleased", err)
	}
	changes <- box("3", ref)
	if sb, err := w.claimed(ctx, v1alpha1.TaskReference{}); err != nil || sb.Status.TaskRef != ref {
		t.Errorf("the same claim again: %+v, %v", sb, err)
	}
}
