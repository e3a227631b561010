package apiserver

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/client"
	"github.com/sampan-dev/sampan/internal/record/wire"
)

const (
	forkUID = "5f1c4e1a-0000-4000-8000-000000000002"
	goneUID = "5f1c4e1a-0000-4000-8000-000000000003"
)

// originDoors are the doors for the runner of a/fork, which goes on from a task of a name
// and a UID. a/fix has checkpoints of the turns 0, 1 and 3; a/gone was deleted.
func originDoors(t *testing.T, name, uid string, turn *int32) http.Handler {
	t.Helper()
	p, _ := doors(t, oneTask{})
	store, err := p.store.get()
	if err != nil {
		t.Fatal(err)
	}
	w := record.Writer{Attempt: 1, PodUID: "pod"}
	for _, task := range []record.Task{{Namespace: "a", UID: taskUID}, {Namespace: "a", UID: goneUID}, {Namespace: "b", UID: taskUID}} {
		rec := store.Recorder(task, w)
		if err := rec.Append(t.Context(), 1, []byte(event(1, 0, "run_started")+event(2, 1, "response"))); err != nil {
			t.Fatal(err)
		}
		for _, turn := range []int{0, 1, 3} {
			if err := rec.Commit(t.Context(), record.Checkpoint{Turn: turn, Events: 1, Writer: w}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := store.Describe(t.Context(), record.Task{Namespace: "a", UID: goneUID}, record.Info{Name: "gone"}); err != nil {
		t.Fatal(err)
	}
	fork := &v1alpha1.AgentTask{}
	fork.Namespace = "a"
	fork.Spec.From = v1alpha1.TaskOrigin{TaskRef: v1alpha1.OriginTaskReference{Name: name}, Turn: turn}
	fork.Status.FromUID = uid
	return newRunners(p.records, p.room, func(context.Context, *http.Request, place) (*runner, error) {
		return &runner{writer: w, info: record.Info{Name: "fork"}, origin: originOf(fork)}, nil
	}).handler()
}

func TestARunnerReadsWhatItsTaskGoesOnFrom(t *testing.T) {
	fork := wire.TaskPath("a", "fork", forkUID)
	for name, row := range map[string]struct {
		name, uid string
		turn      *int32
		path      string
		code      int
		// want is in the answer.
		want string
	}{
		"the last":                     {"fix", taskUID, nil, "/origin/checkpoint", 200, `"turn":3`},
		"one of a turn":                {"fix", taskUID, new(int32(1)), "/origin/checkpoint", 200, `"turn":1`},
		"the first":                    {"fix", taskUID, new(int32(0)), "/origin/checkpoint", 200, `"turn":0`},
		"one that it was told":         {"fix", taskUID, nil, "/origin/checkpoint?turn=1", 200, `"turn":1`},
		"the one that it may":          {"fix", taskUID, new(int32(1)), "/origin/checkpoint?turn=1", 200, `"turn":1`},
		"another than the spec's":      {"fix", taskUID, new(int32(1)), "/origin/checkpoint?turn=3", 403, "spec.from.turn of the AgentTask is 1"},
		"no number":                    {"fix", taskUID, nil, "/origin/checkpoint?turn=-1", 400, "number of a turn"},
		"a turn that there is not":     {"fix", taskUID, new(int32(2)), "/origin/checkpoint", 404, "AgentTask fix has no checkpoint of turn 2; there are those of turns 0-1, 3"},
		"the transcript":               {"fix", taskUID, nil, "/origin/log?from=2", 200, `"response"`},
		"of a deleted task":            {"gone", goneUID, nil, "/origin/checkpoint", 200, `"turn":3`},
		"of a deleted task, its log":   {"gone", goneUID, nil, "/origin/log?from=1", 200, `"run_started"`},
		"of another task by its UID":   {"fix", goneUID, nil, "/origin/checkpoint", 404, "no record is kept of an AgentTask fix"},
		"the transcript by its UID":    {"fix", goneUID, nil, "/origin/log?from=1", 404, "no record is kept of an AgentTask fix"},
		"of a UID that nobody has had": {"fix", forkUID, nil, "/origin/checkpoint", 404, "no record is kept"},
		"before it was settled":        {"fix", "", nil, "/origin/checkpoint", 503, "status.fromUID"},
		"of nobody":                    {"", "", nil, "/origin/checkpoint", 403, "names no other"},
		"the transcript of nobody":     {"", "", nil, "/origin/log?from=1", 403, "names no other"},
	} {
		t.Run(name, func(t *testing.T) {
			w := ask(originDoors(t, row.name, row.uid, row.turn), "GET", fork+row.path, "")
			var problem wire.Problem
			body := w.Body.String()
			if w.Code >= 400 && json.Unmarshal(w.Body.Bytes(), &problem) == nil {
				body = problem.Message
			}
			if w.Code != row.code || !strings.Contains(body, row.want) {
				t.Errorf("got %d: %s, want %d with %s", w.Code, body, row.code, row.want)
			}
		})
	}
}

// The client of a runner asks in the way that the door answers.
func TestARunnersClientReadsTheOrigin(t *testing.T) {
	server := httptest.NewTLSServer(originDoors(t, "fix", taskUID, nil))
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	c, err := client.New(client.Config{URL: server.URL, CA: ca, TokenFile: token, Namespace: "a", Task: "fork", UID: forkUID})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for asked, want := range map[int]int{record.Last: 3, 0: 0, 1: 1} {
		if got, err := c.Origin().Checkpoint(t.Context(), asked); err != nil || got.Turn != want {
			t.Errorf("turn %d: got %+v, %v", asked, got, err)
		}
	}
	if _, err := c.Origin().Checkpoint(t.Context(), 2); !errors.Is(err, record.ErrNotFound) || !strings.Contains(err.Error(), "there are those of turns 0-1, 3") {
		t.Errorf("a turn that there is not: %v", err)
	}
	log, err := c.Origin().Log(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // only read
	lines, err := io.ReadAll(log)
	if want := event(1, 0, "run_started") + event(2, 1, "response"); err != nil || string(lines) != want {
		t.Errorf("the transcript is %q, %v", lines, err)
	}
}
