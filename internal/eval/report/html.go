package report

import (
	_ "embed"
	"html/template"
	"io"
)

//go:embed report.html.tmpl
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"percent":   percent,
	"x":         func(p float64) float64 { return plotLeft + p*plotWidth },
	"y":         func(row int) int { return plotTop + row*rowHeight },
	"add":       func(a, b float64) float64 { return a + b },
	"sub":       func(a, b float64) float64 { return a - b },
	"percentOf": func(p float64) float64 { return 100 * p },
}).Parse(page))

// Measures of the plots, in pixels.
const (
	plotLeft, plotWidth = 170, 420
	plotTop, rowHeight  = 30, 30
)

// HTML writes the report as one page that needs nothing else.
func (r Report) HTML(w io.Writer) error {
	type reasonRow struct {
		Model, Reason string
		Count         int
		Part          float64
	}
	var reasons []reasonRow
	most := 1
	for _, m := range r.Models {
		for _, n := range m.Reasons {
			most = max(most, n)
		}
	}
	for _, m := range r.Models {
		for _, reason := range m.reasons() {
			reasons = append(reasons, reasonRow{m.Model, reason, m.Reasons[reason], float64(m.Reasons[reason]) / float64(most)})
		}
	}
	return pageTemplate.Execute(w, map[string]any{
		"Report": r, "Reasons": reasons, "Costs": r.costs(), "Ticks": []float64{0, 0.25, 0.5, 0.75, 1},
		"Height": plotTop + rowHeight*len(r.Models) + 10,
	})
}

// bar is one of a plot, with its length as a part of the longest.
type bar struct {
	Model, Label string
	Part         float64
}

// costs are the costs of a success by model.
func (r Report) costs() []bar {
	most := 0.0
	for _, m := range r.Models {
		if m.CostPerSuccessUSD != nil {
			most = max(most, m.CostPerSuccessUSD.InexactFloat64())
		}
	}
	var bars []bar
	for _, m := range r.Models {
		b := bar{Model: m.Model, Label: m.costPerSuccess()}
		if m.CostPerSuccessUSD == nil {
			b.Label = "no success"
			if m.Unpriced {
				b.Label = "no price"
			}
		} else if most > 0 {
			b.Part = m.CostPerSuccessUSD.InexactFloat64() / most
		}
		bars = append(bars, b)
	}
	return bars
}
