// Package report compares models by the outcomes of their trials.
package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/eval/outcome"
	"github.com/sampan-dev/sampan/internal/text"
)

// Report is what an eval says.
type Report struct {
	// Models are in the order of their success, best first.
	Models []Model `json:"models"`
	Tasks  []Task  `json:"tasks"`
}

// Model is what an eval says of a model.
type Model struct {
	Model string `json:"model"`
	// Trials are those that count: passed or failed.
	Trials int `json:"trials"`
	Passed int `json:"passed"`
	// Errored trials say nothing of the model, and count nowhere else.
	Errored int `json:"errored"`
	// SuccessRate is of Trials; SuccessLow and SuccessHigh are its Wilson interval at 95%.
	SuccessRate float64 `json:"successRate"`
	SuccessLow  float64 `json:"successLow"`
	SuccessHigh float64 `json:"successHigh"`
	// MeanReward is of Trials; one without a reward has 0.
	MeanReward float64 `json:"meanReward"`
	// CostUSD is of all Trials, CostPerSuccessUSD that by Passed; nil without one, and if Unpriced.
	CostUSD           decimal.Decimal  `json:"costUSD"`
	CostPerSuccessUSD *decimal.Decimal `json:"costPerSuccessUSD"`
	// Incomplete: of the tasks and repeats that there are, some have no trial of the model that
	// counts, so that its numbers are of other work than those of other models.
	Incomplete bool `json:"incomplete,omitempty"`
	// Unpriced: the registry has no prices of the model, and nothing is known of its costs.
	Unpriced      bool    `json:"unpriced,omitempty"`
	MedianTurns   float64 `json:"medianTurns"`
	MedianSeconds float64 `json:"medianSeconds"`
	InputTokens   int64   `json:"inputTokens"`
	OutputTokens  int64   `json:"outputTokens"`
	// Reasons count the trials that were not passed, by reason, errored ones too.
	Reasons map[string]int `json:"reasons,omitempty"`
}

// Task is how often models passed a task, in the order of Report.Models.
type Task struct {
	Task  string `json:"task"`
	Cells []Cell `json:"cells"`
}

// Cell is how often a model passed a task.
type Cell struct {
	Passed  int `json:"passed"`
	Trials  int `json:"trials"`
	Errored int `json:"errored"`
}

// Of makes the report of outcomes.
func Of(outcomes []outcome.Outcome) Report {
	byModel := map[string][]outcome.Outcome{}
	tasks := map[string]bool{}
	trials := map[string]bool{}
	for _, o := range outcomes {
		byModel[o.Model] = append(byModel[o.Model], o)
		tasks[o.Task] = true
		trials[fmt.Sprintf("%s %d", o.Task, o.Repeat)] = true
	}
	var r Report
	for _, name := range slices.Sorted(maps.Keys(byModel)) {
		m := modelOf(name, byModel[name])
		m.Incomplete = m.Trials < len(trials)
		r.Models = append(r.Models, m)
	}
	slices.SortStableFunc(r.Models, func(a, b Model) int { return cmp.Compare(b.SuccessRate, a.SuccessRate) })
	for _, name := range slices.Sorted(maps.Keys(tasks)) {
		t := Task{Task: name}
		for _, m := range r.Models {
			t.Cells = append(t.Cells, cellOf(name, byModel[m.Model]))
		}
		r.Tasks = append(r.Tasks, t)
	}
	return r
}

func modelOf(name string, outcomes []outcome.Outcome) Model {
	m := Model{Model: name, Reasons: map[string]int{}}
	var turns, seconds []float64
	for _, o := range outcomes {
		if o.Result != outcome.Passed {
			m.Reasons[reason(o)]++
		}
		if o.Result == outcome.Errored {
			m.Errored++
			continue
		}
		m.Trials++
		if o.Result == outcome.Passed {
			m.Passed++
		}
		m.MeanReward += o.Reward()
		m.CostUSD = m.CostUSD.Add(o.CostUSD)
		m.Unpriced = m.Unpriced || o.Unpriced
		m.InputTokens += o.Usage.InputTokens
		m.OutputTokens += o.Usage.OutputTokens
		turns, seconds = append(turns, float64(o.Turns)), append(seconds, o.AgentSeconds)
	}
	m.SuccessLow, m.SuccessHigh = Wilson(m.Passed, m.Trials)
	if m.Trials > 0 {
		m.SuccessRate = float64(m.Passed) / float64(m.Trials)
		m.MeanReward /= float64(m.Trials)
	}
	if m.Passed > 0 && !m.Unpriced {
		each := m.CostUSD.DivRound(decimal.NewFromInt(int64(m.Passed)), 8)
		m.CostPerSuccessUSD = &each
	}
	m.MedianTurns, m.MedianSeconds = median(turns), median(seconds)
	return m
}

func reason(o outcome.Outcome) string {
	if o.Category != "" {
		return o.Reason + " (" + string(o.Category) + ")"
	}
	return o.Reason
}

func cellOf(task string, outcomes []outcome.Outcome) (c Cell) {
	for _, o := range outcomes {
		switch {
		case o.Task != task:
		case o.Result == outcome.Errored:
			c.Errored++
		default:
			c.Trials++
			if o.Result == outcome.Passed {
				c.Passed++
			}
		}
	}
	return c
}

// Wilson is the score interval of a proportion at 95% (Wilson 1927): unlike the normal
// one it holds for few trials, and for none or all passed. Without trials it is 0 to 1.
func Wilson(passed, trials int) (low, high float64) {
	if trials == 0 {
		return 0, 1
	}
	const z = 1.959963984540054
	n, p := float64(trials), float64(passed)/float64(trials)
	middle := p + z*z/(2*n)
	spread := z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	scale := 1 + z*z/n
	return max(0, (middle-spread)/scale), min(1, (middle+spread)/scale)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// Write writes report.json and report.html to a folder.
func (r Report) Write(dir string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "report.json"), append(data, '\n'), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, "report.html"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := r.HTML(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// Print prints the tables of the report, and where the rest of it is.
func (r Report) Print(w io.Writer, dir string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "MODEL\tPASSED\tSUCCESS\t95% INTERVAL\tCOST\tCOST/SUCCESS\tTURNS\tTIME\tERRORED")
	for _, m := range r.Models {
		fmt.Fprintf(tw, "%s\t%d/%d\t%s\t%s-%s\t%s\t%s\t%.4g\t%.1fs\t%d\n", text.Inline(m.Model), m.Passed, m.Trials, percent(m.SuccessRate),
			percent(m.SuccessLow), percent(m.SuccessHigh), m.cost(), m.costPerSuccess(), m.MedianTurns, m.MedianSeconds, m.Errored)
	}
	for _, m := range r.Models {
		if m.Incomplete {
			fmt.Fprintf(tw, "\n%s is incomplete: not every task and repeat has a trial of it that counts", text.Inline(m.Model))
		}
	}
	fmt.Fprintln(tw)
	for _, m := range r.Models {
		for _, reason := range m.reasons() {
			fmt.Fprintf(tw, "%s\t%s\t%d\n", text.Inline(m.Model), text.Inline(reason), m.Reasons[reason])
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nReport  %s\n", text.Inline(filepath.Join(dir, "report.html")))
	return err
}

func percent(p float64) string { return fmt.Sprintf("%.0f%%", 100*p) }

func (m Model) cost() string {
	if m.Unpriced {
		return "-"
	}
	return "$" + m.CostUSD.String()
}

func (m Model) costPerSuccess() string {
	if m.CostPerSuccessUSD == nil {
		return "-"
	}
	return "$" + m.CostPerSuccessUSD.String()
}

// reasons are those of the model, the most frequent first.
func (m Model) reasons() []string {
	names := slices.Sorted(maps.Keys(m.Reasons))
	slices.SortStableFunc(names, func(a, b string) int { return m.Reasons[b] - m.Reasons[a] })
	return names
}
