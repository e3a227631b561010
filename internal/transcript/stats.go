package transcript

import (
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
)

// Stats are the figures of a run, counted from its events alone.
type Stats struct {
	Task string `json:"task"`
	// Models are the registry ids of those that answered, in order of first use.
	Models []string `json:"models"`
	// Reason is empty while the run goes on.
	Reason    string `json:"reason,omitempty"`
	Processes int    `json:"processes"`
	Turns     int    `json:"turns"`
	// WallSeconds is from the first event to the last.
	WallSeconds float64         `json:"wallSeconds"`
	Usage       llm.Usage       `json:"usage"`
	CostUSD     decimal.Decimal `json:"costUSD"`
	// Wasted is the part of Usage that failed model calls took.
	Wasted llm.Usage `json:"wasted"`
	// ModelCalls count answered calls; FailedModelCalls are beside them, by category.
	ModelCalls       Latency        `json:"modelCalls"`
	FailedModelCalls map[string]int `json:"failedModelCalls,omitempty"`
	// Tools in order of their names.
	Tools         []ToolStats `json:"tools,omitempty"`
	Verifications Latency     `json:"verifications"`
	// FailedVerifications is how many of them did not pass.
	FailedVerifications int            `json:"failedVerifications"`
	Compactions         int            `json:"compactions"`
	Fallbacks           int            `json:"fallbacks"`
	Notices             map[string]int `json:"notices,omitempty"`
	// MendedReplies had something in them that the provider repaired.
	MendedReplies int   `json:"mendedReplies"`
	Events        int64 `json:"events"`
	Bytes         int64 `json:"bytes"`
	// Cut is true where the last line is not whole; it is not counted.
	Cut bool `json:"cut,omitempty"`
}

// ToolStats are the figures of one tool.
type ToolStats struct {
	Name   string `json:"name"`
	Failed int    `json:"failed"`
	Latency
}

// Latency sums up how long things took.
type Latency struct {
	Count       int   `json:"count"`
	P50Millis   int64 `json:"p50Millis"`
	P95Millis   int64 `json:"p95Millis"`
	MaxMillis   int64 `json:"maxMillis"`
	TotalMillis int64 `json:"totalMillis"`
}

func latencyOf(millis []int64) Latency {
	if len(millis) == 0 {
		return Latency{}
	}
	slices.Sort(millis)
	l := Latency{Count: len(millis), MaxMillis: millis[len(millis)-1]}
	l.P50Millis, l.P95Millis = percentile(millis, 50), percentile(millis, 95)
	for _, m := range millis {
		l.TotalMillis += m
	}
	return l
}

// percentile is the smallest value that at least p of 100 do not exceed.
func percentile(sorted []int64, p int) int64 {
	return sorted[max((len(sorted)*p+99)/100-1, 0)]
}

// statsCollector counts events.
type statsCollector struct {
	s       Stats
	began   time.Time
	models  []int64
	verify  []int64
	byTool  map[string][]int64
	failing map[string]int
}

// StatsOf reads a transcript, checking its chain on the way.
func StatsOf(r io.Reader) (Stats, error) {
	c := statsCollector{byTool: map[string][]int64{}, failing: map[string]int{}}
	c.s.FailedModelCalls, c.s.Notices = map[string]int{}, map[string]int{}
	reader := NewReader(r)
	for {
		e, err := reader.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, ErrCut) {
			sum := reader.Summary()
			c.s.Events, c.s.Bytes, c.s.Cut = sum.Events, sum.Bytes, errors.Is(err, ErrCut)
			return c.finish(), nil
		}
		if err != nil {
			return Stats{}, err
		}
		if err := c.event(e); err != nil {
			return Stats{}, err
		}
	}
}

func (c *statsCollector) event(e Event) error {
	data, err := e.Decode()
	if err != nil {
		return err
	}
	if c.began.IsZero() {
		c.began = e.Time
	}
	c.s.WallSeconds = e.Time.Sub(c.began).Seconds()
	switch d := data.(type) {
	case *RunStarted:
		c.s.Task = d.Task
		c.s.Processes++
	case *RunResumed:
		c.s.Processes++
	case *Response:
		c.response(e.Turn, d)
	case *ToolResult:
		c.byTool[d.Name] = append(c.byTool[d.Name], d.DurationMillis)
		if d.IsError {
			c.failing[d.Name]++
		}
	case *Retry:
		c.retry(d)
	case *Verification:
		c.verify = append(c.verify, d.DurationMillis)
		if !d.Passed {
			c.s.FailedVerifications++
		}
	case *Compaction:
		c.s.Compactions++
	case *Fallback:
		c.s.Fallbacks++
	case *Notice:
		c.s.Notices[string(d.Kind)]++
	case *RunEnded:
		c.s.Reason = d.Reason
	}
	return nil
}

func (c *statsCollector) response(turn int, d *Response) {
	c.s.Turns = turn
	if !slices.Contains(c.s.Models, d.Model) {
		c.s.Models = append(c.s.Models, d.Model)
	}
	if len(d.Notes) > 0 {
		c.s.MendedReplies++
	}
	c.models = append(c.models, d.LatencyMillis)
	c.s.Usage.Add(d.Usage)
	c.s.CostUSD = c.s.CostUSD.Add(d.CostUSD)
}

func (c *statsCollector) retry(d *Retry) {
	c.s.FailedModelCalls[string(d.Category)]++
	if d.Usage != nil {
		c.s.Usage.Add(*d.Usage)
		c.s.Wasted.Add(*d.Usage)
	}
	if d.CostUSD != nil {
		c.s.CostUSD = c.s.CostUSD.Add(*d.CostUSD)
	}
}

func (c *statsCollector) finish() Stats {
	c.s.ModelCalls, c.s.Verifications = latencyOf(c.models), latencyOf(c.verify)
	for name, millis := range c.byTool {
		c.s.Tools = append(c.s.Tools, ToolStats{Name: name, Failed: c.failing[name], Latency: latencyOf(millis)})
	}
	slices.SortFunc(c.s.Tools, func(a, b ToolStats) int { return strings.Compare(a.Name, b.Name) })
	return c.s
}
