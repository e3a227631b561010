package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/wire"
)

const taskUID = "5f1c4e1a-0000-4000-8000-000000000001"

// oneTask is an API server that has a single AgentTask, a/fix.
type oneTask struct {
	client.Reader
	ended bool
}

func (o oneTask) Get(_ context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	if key != (client.ObjectKey{Namespace: "a", Name: "fix"}) {
		return apierrors.NewNotFound(schema.GroupResource{Group: "sampan.dev", Resource: "agenttasks"}, key.Name)
	}
	task := obj.(*v1alpha1.AgentTask)
	task.Name, task.Namespace, task.UID = "fix", "a", types.UID(taskUID)
	if o.ended {
		task.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue}}
	}
	return nil
}

// doors are both doors over one store.
func doors(t *testing.T, tasks oneTask) (*people, http.Handler) {
	t.Helper()
	store, err := record.Open(t.Context(), "mem://")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return doorsOver(t, store, newRoom(), tasks)
}

func doorsOver(t *testing.T, store Store, r *room, tasks oneTask) (*people, http.Handler) {
	t.Helper()
	lazy := newLazyStore(nil, clock.RealClock{})
	lazy.set(store, nil)
	d := newRunners(records{store: lazy, tasks: tasks}, r, func(context.Context, *http.Request, place) (*runner, error) {
		return &runner{writer: record.Writer{Attempt: 1, PodUID: "pod"}, info: record.Info{Name: "fix"}}, nil
	})
	p := &people{
		records: records{store: lazy, tasks: tasks}, clock: clock.RealClock{}, lookInterval: 50 * time.Millisecond,
		streams: semaphore.NewWeighted(maxStreams), room: r, stopping: t.Context(),
	}
	return p, d.handler()
}

func ask(h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

func event(seq, turn int, kind string) string {
	return fmt.Sprintf(`{"seq":%d,"time":"2026-01-01T00:00:00Z","turn":%d,"type":%q,"data":{"x":1},"prev":""}`, seq, turn, kind) + "\n"
}

func write(t *testing.T, h http.Handler, first int, lines string) {
	t.Helper()
	w := ask(h, "POST", fmt.Sprintf("%s/log?first=%d", wire.TaskPath("a", "fix", taskUID), first), lines)
	if w.Code != http.StatusNoContent {
		t.Fatalf("append is answered with %d: %s", w.Code, w.Body)
	}
}

// deadlined lets a recorder have write deadlines, as connections do.
type deadlined struct{ *httptest.ResponseRecorder }

func (deadlined) SetWriteDeadline(time.Time) error { return nil }

func read(t *testing.T, p *people, name, query string) (string, error) {
	t.Helper()
	ctx := request.WithNamespace(t.Context(), "a")
	w := httptest.NewRecorder()
	err := p.readTranscript(ctx, name, deadlined{w}, httptest.NewRequest(http.MethodGet, "/x?"+query, nil))
	return w.Body.String(), err
}

func TestWhatARunnerWritesPeopleRead(t *testing.T) {
	p, h := doors(t, oneTask{})
	one, two, three := event(1, 0, "run_started"), event(2, 1, "request"), event(3, 1, "response")
	write(t, h, 1, one+two)
	write(t, h, 3, three)
	for query, want := range map[string]string{
		"": one + two + three, "from=2": two + three, "from=2&to=2": two, "turn=1": two + three, "turn=0": one, "turn=7": "", "from=4": "",
		"uid=" + taskUID: one + two + three,
	} {
		got, err := read(t, p, "fix", query)
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v", query, got, err)
		}
	}
}

func TestWhatIsWrongWithARequestIsSaid(t *testing.T) {
	p, _ := doors(t, oneTask{})
	for query, want := range map[string]string{
		"from=0": "from 1", "from=x": "from 1", "to=1&from=2": "before from", "turn=-1": "number of a turn", "follow=perhaps": "true or false",
		"uid=../x": "metadata.uid", "uid=a%00b": "metadata.uid", "uid=" + strings.Repeat("a", 100): "metadata.uid", "tail=1": "no parameter", "from=1&from=2": "2 times",
	} {
		_, err := read(t, p, "fix", query)
		if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want a bad request that says %q", query, err, want)
		}
	}
	if _, err := read(t, p, "other", ""); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), "other") {
		t.Errorf("a task that is not there: %v", err)
	}
}

// A right to read one name is none to read another task's record by its UID.
func TestAnUIDGoesWithItsName(t *testing.T) {
	p, h := doors(t, oneTask{})
	write(t, h, 1, event(1, 0, "run_started"))
	if got, err := read(t, p, "other", "uid="+taskUID); !apierrors.IsNotFound(err) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFollowEndsWithTheRunAndWithTheTask(t *testing.T) {
	t.Run("run", func(t *testing.T) {
		p, h := doors(t, oneTask{})
		write(t, h, 1, event(1, 0, "run_started")+event(2, 1, "run_ended"))
		if got, err := read(t, p, "fix", "follow=true"); err != nil || strings.Count(got, "\n") != 2 {
			t.Errorf("got %q, %v", got, err)
		}
	})
	for reason, over := range map[string]bool{"VerificationPending": false, "VerificationRejected": false, "Cancelled": true, "": true} {
		if got := readHead([]byte(`{"seq":2,"turn":1,"type":"run_ended","data":{"reason":"` + reason + `","message":"m"}}`)); got.over != over {
			t.Errorf("that a run is over which ended with %q: %t", reason, got.over)
		}
	}
	t.Run("task", func(t *testing.T) {
		p, h := doors(t, oneTask{ended: true})
		write(t, h, 1, event(1, 0, "run_started"))
		if got, err := read(t, p, "fix", "follow=true"); err != nil || strings.Count(got, "\n") != 1 {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestWithoutAStoreItIsSaid(t *testing.T) {
	p, _ := doors(t, oneTask{})
	p.store.set(nil, fmt.Errorf("%w: the disk is gone", record.ErrUnavailable))
	if _, err := read(t, p, "fix", ""); !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("got %v", err)
	}
}

func TestHostileRequestsOfRunners(t *testing.T) {
	_, h := doors(t, oneTask{})
	task := wire.TaskPath("a", "fix", taskUID)
	for name, row := range map[string]struct {
		method, path, body string
		want               int
	}{
		"dots":         {"GET", "/v1/namespaces/a/agenttasks/fix/%2e%2e/outputs", "", 400},
		"slash":        {"GET", "/v1/namespaces/a%2fb/agenttasks/fix/" + taskUID + "/outputs", "", 400},
		"nul":          {"GET", "/v1/namespaces/a/agenttasks/fi%00x/" + taskUID + "/outputs", "", 400},
		"long":         {"GET", "/v1/namespaces/a/agenttasks/fix/" + strings.Repeat("a", 4000) + "/outputs", "", 400},
		"method":       {"DELETE", task + "/outputs", "", 400},
		"garbage":      {"PUT", task + "/checkpoints/1", "{", 400},
		"turn":         {"PUT", task + "/checkpoints/1", `{"turn":2}`, 400},
		"output":       {"PUT", task + "/outputs/x", `{"name":"y"}`, 400},
		"first":        {"POST", task + "/log?first=0", "x\n", 400},
		"gap":          {"POST", task + "/log?first=5", "x\n", 400},
		"huge":         {"PUT", task + "/checkpoints/1", strings.Repeat(" ", wire.MaxJSON+1), 413},
		"digest":       {"GET", task + "/chunks/sha256:..%2f..%2fx", "", 400},
		"none":         {"GET", task + "/checkpoints/latest", "", 404},
		"no such file": {"GET", "/", "", 400},
	} {
		t.Run(name, func(t *testing.T) {
			if w := ask(h, row.method, row.path, row.body); w.Code != row.want {
				t.Errorf("got %d: %s, want %d", w.Code, w.Body, row.want)
			}
		})
	}
}
