package metrics

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/shopspring/decimal"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// Bounds on the values of labels. What comes beyond them is counted as "other".
const (
	maxModels  = 100
	maxReasons = 100
)

// Tasks counts what changes in tasks. Its methods are called one after the other.
type Tasks struct {
	clock                                                           clock.PassiveClock
	tasks                                                           *prometheus.GaugeVec
	finished, started, ended, claims, turns, toolCalls, tokens, usd *prometheus.CounterVec
	firstReport                                                     prometheus.Histogram
	models, reasons                                                 bounded
}

// NewTasks gives metrics that have counted nothing.
func NewTasks(c clock.PassiveClock) *Tasks {
	t := &Tasks{
		clock: c, tasks: tasks.gauge(), finished: finished.counter(), started: started.counter(), ended: ended.counter(),
		claims: claims.counter(), turns: turns.counter(), toolCalls: toolCalls.counter(), tokens: tokens.counter(), usd: cost.counter(),
		firstReport: firstReport.histogram(firstReportBuckets),
		models:      bounded{most: maxModels}, reasons: bounded{most: maxReasons},
	}
	t.started.WithLabelValues() // 0, so that the first one is an increase
	return t
}

func (t *Tasks) collectors() []prometheus.Collector {
	return []prometheus.Collector{t.tasks, t.finished, t.started, t.ended, t.claims, t.turns, t.toolCalls, t.tokens, t.usd, t.firstReport}
}

// Describe implements prometheus.Collector.
func (t *Tasks) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range t.collectors() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (t *Tasks) Collect(ch chan<- prometheus.Metric) {
	for _, c := range t.collectors() {
		c.Collect(ch)
	}
}

// Found counts a task that was there before: that it is there, not what it has done.
func (t *Tasks) Found(task *v1alpha1.AgentTask) { t.tasks.WithLabelValues(t.reasonOf(task)).Inc() }

// Gone counts a task no longer.
func (t *Tasks) Gone(task *v1alpha1.AgentTask) { t.tasks.WithLabelValues(t.reasonOf(task)).Dec() }

// Created counts a new task, with all that it has done since.
func (t *Tasks) Created(task *v1alpha1.AgentTask) {
	before := &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{UID: task.UID}}
	t.Found(before)
	t.Changed(before, task)
}

// Changed counts what a task did between two statuses.
func (t *Tasks) Changed(before, after *v1alpha1.AgentTask) {
	if before.UID != after.UID { // deleted and made again, unseen
		t.Gone(before)
		t.Created(after)
		return
	}
	t.Gone(before)
	t.Found(after)
	if end(before) == "" && end(after) != "" {
		t.finished.WithLabelValues(t.reasons.value(end(after))).Inc()
	}
	add(t.started.WithLabelValues(), float64(after.Status.Attempt)-float64(before.Status.Attempt))
	last := lastAttempt(before)
	for _, a := range after.Status.Attempts {
		if a.Number > last {
			t.ended.WithLabelValues(t.reasons.value(a.Reason)).Inc()
		}
	}
	if !reported(before) && reported(after) {
		t.firstReport.Observe(t.clock.Since(after.CreationTimestamp.Time).Seconds())
		if c := after.Status.Claim; c.Outcome != "" {
			t.claims.WithLabelValues(string(c.Outcome), t.reasons.value(string(c.Reason))).Inc()
		}
	}
	t.progressed(&before.Status.Progress, &after.Status.Progress)
}

// progressed counts what a run has done, for the model that answered last.
func (t *Tasks) progressed(before, after *v1alpha1.TaskProgress) {
	if after.Model == "" {
		return
	}
	model := t.models.value(after.Model)
	add(t.turns.WithLabelValues(model), more(before.Turns, after.Turns))
	failed := more(before.FailedToolCalls, after.FailedToolCalls)
	add(t.toolCalls.WithLabelValues(model, "failed"), failed)
	add(t.toolCalls.WithLabelValues(model, "succeeded"), more(before.ToolCalls, after.ToolCalls)-failed)
	was, is := &before.Usage, &after.Usage
	add(t.tokens.WithLabelValues(model, "input"), more(was.InputTokens, is.InputTokens))
	add(t.tokens.WithLabelValues(model, "cached_input"), more(was.CachedInputTokens, is.CachedInputTokens))
	add(t.tokens.WithLabelValues(model, "output"), more(was.OutputTokens, is.OutputTokens))
	add(t.usd.WithLabelValues(model), usd(is.CostUSD).Sub(usd(was.CostUSD)).InexactFloat64())
}

// add adds what may be less than nothing: a runner that was lost may have told more
// than the next one knows of.
func add(c prometheus.Counter, value float64) { c.Add(max(0, value)) }

func more[N int32 | int64](before, after *N) float64 {
	var b, a N
	if before != nil {
		b = *before
	}
	if after != nil {
		a = *after
	}
	return float64(a) - float64(b)
}

// usd reads what the API bounds in length only: what is no number, or none that
// could be money, is nothing.
func usd(s string) decimal.Decimal {
	d, err := decimal.NewFromString(s)
	if err != nil || math.Abs(float64(d.Exponent())) > 32 {
		return decimal.Zero
	}
	return d
}

// reasonOf is where a task stands.
func (t *Tasks) reasonOf(task *v1alpha1.AgentTask) string {
	if c := meta.FindStatusCondition(task.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return t.reasons.value(c.Reason)
	}
	return v1alpha1.ReasonPending
}

// end is the reason of a task's end, or empty before.
func end(task *v1alpha1.AgentTask) string {
	c := meta.FindStatusCondition(task.Status.Conditions, v1alpha1.ConditionSucceeded)
	if c == nil || c.Status == metav1.ConditionUnknown {
		return ""
	}
	return c.Reason
}

func reported(task *v1alpha1.AgentTask) bool { return task.Status.Progress.Turns != nil }

func lastAttempt(task *v1alpha1.AgentTask) int32 {
	last := int32(0)
	for _, a := range task.Status.Attempts {
		last = max(last, a.Number)
	}
	return last
}

// bounded lets so many values of a label through, the first ones that come.
type bounded struct {
	most int
	seen map[string]bool
}

func (b *bounded) value(s string) string {
	if b.seen[s] {
		return s
	}
	if len(b.seen) >= b.most {
		return "other"
	}
	if b.seen == nil {
		b.seen = map[string]bool{}
	}
	b.seen[s] = true
	return s
}
