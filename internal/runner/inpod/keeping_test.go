package inpod

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/runner/recorded"
	"github.com/sampan-dev/sampan/internal/testing/recorders"
)

// bench is a named Sandbox with a runner in its pod, a sandbox, and who looks on.
type bench struct {
	*lodging
	runner *Runner
	w      *watcher
	home   string
	// become changes the Sandbox, and told is what the runner has written to its status.
	become chan<- *v1alpha1.Sandbox
	told   <-chan v1alpha1.SandboxCheckpoint
}

// benchSandbox is the Sandbox of a pod, which may be asked to keep its workspace.
func benchSandbox(version, podUID string, suspending bool) *v1alpha1.Sandbox {
	sb := &v1alpha1.Sandbox{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Sandbox"},
		ObjectMeta: metav1.ObjectMeta{Name: "box", Namespace: "ns", UID: "u", ResourceVersion: version},
		Status:     v1alpha1.SandboxStatus{PodUID: podUID},
	}
	if suspending {
		sb.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSuspending, Status: metav1.ConditionTrue}}
	}
	return sb
}

// benchAPI is an API server with a Sandbox.
func benchAPI(t *testing.T, sb *v1alpha1.Sandbox) (*api, chan<- *v1alpha1.Sandbox, <-chan v1alpha1.SandboxCheckpoint) {
	t.Helper()
	changes, told := make(chan *v1alpha1.Sandbox), make(chan v1alpha1.SandboxCheckpoint, 100)
	stopped := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == http.MethodPatch:
			var said v1alpha1.Sandbox
			if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
				t.Error(err)
			}
			told <- said.Status.Checkpoint
			_ = json.NewEncoder(w).Encode(sb)
		case r.URL.Query().Get("watch") == "":
			_ = json.NewEncoder(w).Encode(sb)
		default:
			_ = http.NewResponseController(w).Flush()
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
		}
	}))
	t.Cleanup(func() { close(stopped); server.Close() })
	a, err := apiFor(&rest.Config{Host: server.URL, QPS: 1000, Burst: 1000}, "ns")
	if err != nil {
		t.Fatal(err)
	}
	return a, changes, told
}

// newBench begins a pod with a record; end ends its runner.
func newBench(t *testing.T, pod string, rec record.Recorder) (b *bench, end func()) {
	t.Helper()
	t.Setenv(podapi.EnvRecordURL, "https://record")
	b = &bench{lodging: lodge(t), home: t.TempDir()}
	a, become, told := benchAPI(t, benchSandbox("1", pod, false))
	b.become, b.told = become, told
	k := newKeeping(pod)
	k.open = func(*v1alpha1.Sandbox) (record.Recorder, error) { return rec, nil }
	k.folders = func(*v1alpha1.Sandbox) recorded.Folders {
		return recorded.Folders{Workspace: b.workspace, Home: b.home}
	}
	b.runner = &Runner{
		name: "box-" + pod, uid: pod, namespace: "ns", sandbox: "box", api: a, exec: b.exec, guests: b.guests, keeping: k,
		preparing: make(chan struct{}, 1), env: runner.TakeSecrets(&models.Registry{}),
	}
	ctx, stop := context.WithCancel(t.Context())
	b.w = newWatcher(ctx, b.runner)
	if _, err := b.w.first(ctx); err != nil {
		t.Fatal(err)
	}
	kept := b.runner.keep(ctx, b.w)
	return b, func() { stop(); kept() }
}

// awaitTold waits until the runner says so of its last checkpoint, and gives all that it says.
func (b *bench) awaitTold(t *testing.T, state v1alpha1.CheckpointState) v1alpha1.SandboxCheckpoint {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case c := <-b.told:
			if c.State == state {
				return c
			}
		case <-deadline:
			t.Fatalf("the runner does not say %q of its checkpoint", state)
		}
	}
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}

// stream starts a command, and follows it until it ends or the guest has to go.
func (b *bench) stream(t *testing.T, shell string) {
	body := strings.NewReader(`{"shell":"` + shell + `"}`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/v1/exec/stream", body)
	if err != nil {
		t.Error(err)
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return // it may be cut off before its answer has begun
	}
	defer resp.Body.Close()               //nolint:errcheck // it is cut off
	_, _ = io.Copy(io.Discard, resp.Body) // it is cut off
}

// TestARestingSandboxIsKept: what was in the workspace and in the home when the Sandbox was
// suspended is in those of the next pod, and nothing changes in between.
func TestARestingSandboxIsKept(t *testing.T) {
	writers := recorders.Memory(t)
	first, end := newBench(t, "1", writers(1))
	if err := first.runner.welcome(t.Context(), first.w); err != nil {
		t.Fatal(err)
	}
	shell := func(b *bench, shell string) (int, string) {
		return b.ask(t, "POST", "/v1/exec", `{"shell":"`+shell+`"}`)
	}
	if code, said := shell(first, "mkdir -m 750 d && echo kept > d/x && chmod 700 d/x && ln -s d/x link && echo mine > "+first.home+"/noted"); code != 200 {
		t.Fatalf("%d %s", code, said)
	}
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		first.stream(t, "while :; do echo x >> busy; done")
	}()
	for read(t, first.workspace, "busy") == "" {
		if _, err := first.exec.Status(t.Context()); err != nil { // it is looked at, not waited for
			t.Fatal(err)
		}
	}

	rested := make(chan struct{})
	rest := func(b *bench, version string) {
		b.become <- benchSandbox(version, b.runner.uid, true)
		if _, err := b.w.claimed(t.Context(), v1alpha1.TaskReference{}); !errors.Is(err, errSuspending) {
			t.Fatalf("a Sandbox that is being suspended is claimed: %v", err)
		}
		go func() { b.runner.rest(t.Context(), b.w); rested <- struct{}{} }()
	}
	rest(first, "2")
	c := first.awaitTold(t, v1alpha1.CheckpointComplete)
	if c.PodUID != "1" || c.Time == nil || *c.Files != 2 || c.Message != "" {
		t.Errorf("the Sandbox is told %+v", c)
	}
	if err := first.runner.welcome(t.Context(), first.w); !errors.Is(err, errResting) {
		t.Errorf("a guest is welcome in a Sandbox that rests: %v", err)
	}
	if code, said := shell(first, "true"); code != 503 || !strings.Contains(said, "is being suspended") {
		t.Errorf("a command in a Sandbox that rests: %d %s", code, said)
	}
	<-followed
	if st, err := first.exec.Status(t.Context()); err != nil || len(st.Processes) > 0 {
		t.Errorf("in a Sandbox that rests there is %+v, %v", st, err)
	}

	// It goes on in the same pod, and what is done then is not kept before it rests again.
	first.become <- benchSandbox("3", "1", false)
	<-rested
	first.awaitTold(t, "")
	if code, said := shell(first, "echo later > later"); code != 200 {
		t.Fatalf("after it went on: %d %s", code, said)
	}
	rest(first, "4")
	first.awaitTold(t, v1alpha1.CheckpointComplete)
	busy := read(t, first.workspace, "busy")
	first.become <- benchSandbox("5", "1", false)
	<-rested
	end()

	second, end := newBench(t, "2", writers(2))
	defer end()
	if err := second.runner.bring(t.Context(), benchSandbox("1", "2", false)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(second.workspace, "d", "x"))
	if err != nil || info.Mode() != 0o700 {
		t.Errorf("d/x is %v, %v", info, err)
	}
	if target, err := os.Readlink(filepath.Join(second.workspace, "link")); err != nil || target != "d/x" {
		t.Errorf("link leads to %q, %v", target, err)
	}
	for got, want := range map[string]string{
		read(t, second.workspace, "link"): "kept\n", read(t, second.home, "noted"): "mine\n",
		read(t, second.workspace, "later"): "later\n", read(t, second.workspace, "busy"): busy,
	} {
		if got != want {
			t.Errorf("the second pod has %q, want %q", got, want)
		}
	}
	if err := second.runner.welcome(t.Context(), second.w); err != nil {
		t.Errorf("a guest in the second pod: %v", err)
	}
}

// failingRecord refuses checkpoints as long as it has an error.
type failingRecord struct {
	record.Recorder
	err chan error
}

func (f failingRecord) Commit(ctx context.Context, c record.Checkpoint) error {
	select {
	case err := <-f.err:
		return err
	default:
		return f.Recorder.Commit(ctx, c)
	}
}

// TestWhatCannotBeKeptIsSaid: a last checkpoint that fails is said to have, and a pod that
// is deleted nevertheless takes one as it goes.
func TestWhatCannotBeKeptIsSaid(t *testing.T) {
	writers := recorders.Memory(t)
	rec := failingRecord{writers(1), make(chan error, 1)}
	first, end := newBench(t, "1", rec)
	if err := first.runner.welcome(t.Context(), first.w); err != nil {
		t.Fatal(err)
	}
	if code, said := first.ask(t, "PUT", "/v1/files/x", "kept"); code != 200 {
		t.Fatalf("%d %s", code, said)
	}
	rec.err <- errors.New("the room is used up")
	ctx, stop := context.WithCancel(t.Context())
	rested := make(chan struct{})
	first.become <- benchSandbox("2", "1", true)
	if _, err := first.w.await(t.Context(), suspending); err != nil {
		t.Fatal(err)
	}
	go func() { first.runner.rest(ctx, first.w); close(rested) }()
	if c := first.awaitTold(t, v1alpha1.CheckpointFailed); !strings.Contains(c.Message, "the room is used up") {
		t.Errorf("the Sandbox is told %+v", c)
	}
	stop()
	<-rested
	end()
	second, end := newBench(t, "2", writers(2))
	defer end()
	if err := second.runner.bring(t.Context(), benchSandbox("1", "2", false)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, second.workspace, "x"); got != "kept" {
		t.Errorf("the second pod has %q", got)
	}
}
