// Package metrics counts what tasks do, from their statuses: how many there are and
// where they stand, how attempts go, and what models cost. No label has a task's, a
// user's or a namespace's name, and each label has a bound on its values.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Definition is a metric, as docs/metrics.md has it.
type Definition struct {
	Name, Type string
	Labels     []string
	Help       string
}

// The labels.
const (
	labelReason  = "reason"
	labelModel   = "model"
	labelKind    = "kind"
	labelOutcome = "outcome"
	labelClaim   = "claim"
)

// The metrics.
var (
	tasks = Definition{"sampan_tasks", "gauge", []string{labelReason},
		"AgentTasks that exist, by the reason of their condition Succeeded."}
	finished = Definition{"sampan_tasks_finished_total", "counter", []string{labelReason},
		"AgentTasks that ended, by reason; Completed is the only success."}
	started = Definition{"sampan_attempts_started_total", "counter", nil,
		"Attempts that began."}
	ended = Definition{"sampan_attempts_ended_total", "counter", []string{labelReason},
		"Attempts that ended, by reason: how the run ended, or how it was lost."}
	firstReport = Definition{"sampan_task_first_report_seconds", "histogram", nil,
		"Time from a task's creation to its runner's first report, which it makes before the first model request."}
	claims = Definition{"sampan_pool_claims_total", "counter", []string{labelClaim, labelReason},
		"Tasks of a pool whose runner has reported, by claim: Hit (a warm Sandbox) or Miss, and by its reason."}
	turns = Definition{"sampan_turns_total", "counter", []string{labelModel},
		"Model calls that were answered."}
	toolCalls = Definition{"sampan_tool_calls_total", "counter", []string{labelModel, labelOutcome},
		"Tool calls by outcome: succeeded or failed."}
	tokens = Definition{"sampan_tokens_total", "counter", []string{labelModel, labelKind},
		"Tokens by kind: input, cached_input (those of the input that a provider read from its cache) and output."}
	cost = Definition{"sampan_cost_usd_total", "counter", []string{labelModel},
		"Cost in US dollars, by the prices of the registry."}
)

// Definitions are all metrics of this package.
var Definitions = []Definition{tasks, finished, started, ended, firstReport, claims, turns, toolCalls, tokens, cost}

// firstReportBuckets reach from a pod that starts at once to an image that is pulled,
// a node that is made, and a queue.
var firstReportBuckets = []float64{.5, 1, 2, 3, 5, 7.5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600}

func (d Definition) counter() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.Name, Help: d.Help}, d.Labels)
}

func (d Definition) gauge() *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: d.Name, Help: d.Help}, d.Labels)
}

func (d Definition) histogram(buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: d.Name, Help: d.Help, Buckets: buckets})
}
