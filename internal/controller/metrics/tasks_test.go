package metrics

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is what a cache tells of, and what a scrape gives.
type world struct {
	t     *testing.T
	clock *clocktesting.FakePassiveClock
	url   string
	cache toolscache.ResourceEventHandler
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, clock: clocktesting.NewFakePassiveClock(epoch)}
	counted := NewTasks(w.clock)
	w.cache = handlerOf(counted)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(counted)
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func (w *world) scrape() string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(body)
}

// want checks lines of a scrape; one that begins with "no " must not be there.
func (w *world) want(lines ...string) {
	w.t.Helper()
	have := w.scrape()
	for _, line := range lines {
		unwanted, no := strings.CutPrefix(line, "no ")
		if no && strings.Contains(have, unwanted) {
			w.t.Errorf("the scrape has %s", unwanted)
		}
		if !no && !strings.Contains("\n"+have, "\n"+line+"\n") {
			w.t.Errorf("the scrape has not %s", line)
		}
	}
	if w.t.Failed() {
		w.t.Log(have)
	}
}

func taskOf(name, reason string) *v1alpha1.AgentTask {
	task := &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "one", CreationTimestamp: metav1.NewTime(epoch)}}
	return stand(task, metav1.ConditionUnknown, reason)
}

func stand(task *v1alpha1.AgentTask, status metav1.ConditionStatus, reason string) *v1alpha1.AgentTask {
	task = task.DeepCopy()
	task.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: status, Reason: reason}}
	return task
}

// One task, from its creation to its end, by two attempts.
func TestTask(t *testing.T) {
	w := newWorld(t)
	w.want("sampan_attempts_started_total 0")

	created := taskOf("x", "Pending")
	w.cache.OnAdd(created, false)
	w.want(`sampan_tasks{reason="Pending"} 1`)

	starting := stand(created, metav1.ConditionUnknown, "Starting")
	starting.Status.Attempt = 1
	w.cache.OnUpdate(created, starting)
	w.want(`sampan_tasks{reason="Pending"} 0`, `sampan_tasks{reason="Starting"} 1`, "sampan_attempts_started_total 1", "sampan_task_first_report_seconds_count 0")

	w.clock.SetTime(epoch.Add(4 * time.Second))
	running := stand(starting, metav1.ConditionUnknown, "Running")
	running.Status.Progress = v1alpha1.TaskProgress{Turns: new(int32(0))}
	w.cache.OnUpdate(starting, running)
	w.want(`sampan_tasks{reason="Running"} 1`, "sampan_task_first_report_seconds_sum 4", "sampan_task_first_report_seconds_count 1",
		`sampan_task_first_report_seconds_bucket{le="3"} 0`, `sampan_task_first_report_seconds_bucket{le="5"} 1`, "no sampan_turns_total")

	further := running.DeepCopy()
	further.Status.Progress = v1alpha1.TaskProgress{Model: "coder", Turns: new(int32(3)), ToolCalls: new(int32(5)), FailedToolCalls: new(int32(2)),
		Usage: v1alpha1.TaskUsage{InputTokens: new(int64(1000)), CachedInputTokens: new(int64(400)), OutputTokens: new(int64(50)), CostUSD: "0.25"}}
	w.cache.OnUpdate(running, further)
	w.cache.OnUpdate(further, further) // a resync counts nothing twice
	w.want(`sampan_turns_total{model="coder"} 3`,
		`sampan_tool_calls_total{model="coder",outcome="failed"} 2`, `sampan_tool_calls_total{model="coder",outcome="succeeded"} 3`,
		`sampan_tokens_total{kind="input",model="coder"} 1000`, `sampan_tokens_total{kind="cached_input",model="coder"} 400`,
		`sampan_tokens_total{kind="output",model="coder"} 50`, `sampan_cost_usd_total{model="coder"} 0.25`, "sampan_task_first_report_seconds_count 1")

	retried := stand(further, metav1.ConditionUnknown, "Starting")
	retried.Status.Attempt, retried.Status.Attempts = 2, []v1alpha1.AttemptStatus{{Number: 1, Reason: "NodeLost"}}
	w.cache.OnUpdate(further, retried)
	w.want("sampan_attempts_started_total 2", `sampan_attempts_ended_total{reason="NodeLost"} 1`, "no sampan_tasks_finished_total")

	// Another model goes on, and what the lost runner had not told is not taken back.
	ended := stand(retried, metav1.ConditionTrue, "Completed")
	ended.Status.Attempts = append(ended.Status.Attempts, v1alpha1.AttemptStatus{Number: 2, Reason: "Completed"})
	ended.Status.Progress.Model, ended.Status.Progress.Turns, ended.Status.Progress.Usage.CostUSD = "large", new(int32(4)), "0.20"
	w.cache.OnUpdate(retried, ended)
	w.want(`sampan_tasks{reason="Completed"} 1`, `sampan_tasks_finished_total{reason="Completed"} 1`, `sampan_attempts_ended_total{reason="Completed"} 1`,
		`sampan_turns_total{model="coder"} 3`, `sampan_turns_total{model="large"} 1`, `sampan_cost_usd_total{model="large"} 0`)

	w.cache.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "x", Obj: ended})
	w.want(`sampan_tasks{reason="Completed"} 0`, `sampan_tasks_finished_total{reason="Completed"} 1`)
}

// What a new leader finds was counted by the one before it.
func TestFoundTask(t *testing.T) {
	w := newWorld(t)
	found := taskOf("x", "Running")
	found.Status.Attempt = 3
	found.Status.Attempts = []v1alpha1.AttemptStatus{{Number: 1, Reason: "PodLost"}, {Number: 2, Reason: "PodLost"}}
	found.Status.Progress = v1alpha1.TaskProgress{Model: "coder", Turns: new(int32(9))}
	w.cache.OnAdd(found, true)
	w.want(`sampan_tasks{reason="Running"} 1`, "sampan_attempts_started_total 0", "no sampan_turns_total", "no sampan_attempts_ended_total")

	further := found.DeepCopy()
	further.Status.Progress.Turns = new(int32(10))
	w.cache.OnUpdate(found, further)
	w.want(`sampan_turns_total{model="coder"} 1`, "sampan_task_first_report_seconds_count 0")
}

// A task that was deleted and made again while nobody watched.
func TestReplacedTask(t *testing.T) {
	w := newWorld(t)
	old := taskOf("x", "Completed")
	w.cache.OnAdd(old, true)
	again := taskOf("x", "Starting")
	again.UID, again.Status.Attempt = "another", 1
	w.cache.OnUpdate(old, again)
	w.want(`sampan_tasks{reason="Completed"} 0`, `sampan_tasks{reason="Starting"} 1`, "sampan_attempts_started_total 1")
}

// Registries and runners of tenants name models and reasons.
func TestCardinalityIsBounded(t *testing.T) {
	w := newWorld(t)
	for i := range 1000 {
		before := taskOf("x", "Running")
		after := stand(before, metav1.ConditionFalse, fmt.Sprintf("Reason%d", i))
		after.Status.Progress = v1alpha1.TaskProgress{Model: fmt.Sprintf("model-%d", i), Turns: new(int32(1)), Usage: v1alpha1.TaskUsage{CostUSD: "1e999999999"}}
		after.Status.Attempts = []v1alpha1.AttemptStatus{{Number: 1, Reason: fmt.Sprintf("Lost%d", i)}}
		w.cache.OnUpdate(before, after)
	}
	if n := strings.Count(w.scrape(), "\n"); n > 10*maxModels+4*maxReasons {
		t.Errorf("the scrape has %d lines", n)
	}
	w.want(`sampan_turns_total{model="model-7"} 1`, `sampan_turns_total{model="other"} 900`, `sampan_cost_usd_total{model="other"} 0`)
}

// A task that asks a pool counts once, when its runner is heard of.
func TestClaim(t *testing.T) {
	w := newWorld(t)
	created := taskOf("x", "Pending")
	w.cache.OnAdd(created, false)
	placed := stand(created, metav1.ConditionUnknown, "Starting")
	placed.Status.Claim = v1alpha1.ClaimStatus{Outcome: v1alpha1.ClaimHit, Reason: v1alpha1.ClaimWarm}
	w.cache.OnUpdate(created, placed)
	again := placed.DeepCopy() // another task came first
	again.Status.Claim = v1alpha1.ClaimStatus{Outcome: v1alpha1.ClaimMiss, Reason: v1alpha1.ClaimPoolEmpty}
	w.cache.OnUpdate(placed, again)
	w.want("no sampan_pool_claims_total")
	running := again.DeepCopy()
	running.Status.Progress = v1alpha1.TaskProgress{Turns: new(int32(0))}
	w.cache.OnUpdate(again, running)
	later := running.DeepCopy()
	later.Status.Progress.Turns = new(int32(1))
	w.cache.OnUpdate(running, later)
	w.want(`sampan_pool_claims_total{claim="Miss",reason="PoolEmpty"} 1`, `no claim="Hit"`)
}
