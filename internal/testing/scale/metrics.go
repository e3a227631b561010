package scale

import (
	"bytes"
	"fmt"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// families are a process's metrics by name.
type families map[string]*dto.MetricFamily

func parse(data []byte) (families, error) {
	p := expfmt.NewTextParser(model.UTF8Validation)
	out, err := p.TextToMetricFamilies(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	return out, nil
}

func labels(m *dto.Metric) map[string]string {
	out := map[string]string{}
	for _, l := range m.GetLabel() {
		out[l.GetName()] = l.GetValue()
	}
	return out
}

// value is that of a metric without labels; 0 if there is none.
func (f families) value(name string) float64 {
	for _, m := range f[name].GetMetric() {
		return m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return 0
}

// reconciles are how many each controller has done.
func (f families) reconciles() Counts {
	out := Counts{}
	for _, m := range f["controller_runtime_reconcile_total"].GetMetric() {
		out[labels(m)["controller"]] += int(m.GetCounter().GetValue())
	}
	return out
}

// snapshot is what the manager has done up to some time.
type snapshot struct {
	// requests are its own.
	requests, reconciles Counts
	// heap is how many bytes it has in use after a garbage collection.
	heap int64
}
