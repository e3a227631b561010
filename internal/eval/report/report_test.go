package report

import (
	"bytes"
	"encoding/xml"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/eval/outcome"
	"github.com/sampan-dev/sampan/internal/llm"
)

// The reference values are those of R's prop.test(x, n, correct=FALSE).
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		passed, trials int
		low, high      float64
	}{
		{0, 0, 0, 1}, {0, 10, 0, 0.2775328}, {10, 10, 0.7224672, 1}, {5, 10, 0.2365931, 0.7634069}, {81, 263, 0.2552724, 0.3661766},
	} {
		low, high := Wilson(c.passed, c.trials)
		if math.Abs(low-c.low) > 1e-4 || math.Abs(high-c.high) > 1e-4 {
			t.Errorf("%d of %d: %.7f to %.7f, want %.7f to %.7f", c.passed, c.trials, low, high, c.low, c.high)
		}
	}
}

func of(model, task string, result outcome.Result, reason string, cost string, turns int) outcome.Outcome {
	o := outcome.Outcome{Trial: outcome.Trial{Task: task, Model: model, Repeat: 1}, Result: result, Reason: reason, CostUSD: decimal.RequireFromString(cost), Turns: turns}
	if result == outcome.Passed {
		o.Rewards = map[string]float64{"reward": 1}
	}
	return o
}

func example() Report {
	lost := of("good", "c", outcome.Errored, "ModelUnavailable", "9", 9)
	lost.Category = llm.Overloaded
	return Of([]outcome.Outcome{
		of("<bad>", "a", outcome.Failed, outcome.WrongResult, "0.10", 4),
		of("good", "a", outcome.Passed, "", "0.02", 3),
		of("good", "b", outcome.Passed, "", "0.04", 5),
		of("good", "c", outcome.Failed, "MaxTurns", "0.06", 100),
		lost,
	})
}

func TestReport(t *testing.T) {
	r := example()
	good, bad := r.Models[0], r.Models[1]
	if good.Model != "good" || good.Passed != 2 || good.Trials != 3 || good.Errored != 1 || good.MedianTurns != 5 ||
		good.CostUSD.String() != "0.12" || good.CostPerSuccessUSD.String() != "0.06" ||
		good.Reasons["MaxTurns"] != 1 || good.Reasons["ModelUnavailable (Overloaded)"] != 1 {
		t.Errorf("%+v", good)
	}
	if bad.Passed != 0 || bad.CostPerSuccessUSD != nil || bad.SuccessHigh < 0.5 {
		t.Errorf("%+v", bad)
	}
	if c := r.Tasks[2].Cells[0]; r.Tasks[2].Task != "c" || c != (Cell{Trials: 1, Errored: 1}) {
		t.Errorf("%+v", r.Tasks[2])
	}
	var out bytes.Buffer
	if err := r.Print(&out, "dir"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`(?m)^good +2/3 +67% +21%-94% +\$0\.12 +\$0\.06 `, `(?m)^<bad> +0/1 .* - `, `(?m)^good +MaxTurns +1$`, `dir/report\.html`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("want %s in\n%s", want, out.String())
		}
	}
}

// The page is well-formed, asks for nothing from elsewhere, and says what models are called
// as text.
func TestPageNeedsNothingElse(t *testing.T) {
	var out bytes.Buffer
	if err := example().HTML(&out); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	for _, never := range []string{"http:", "https:", "src=", "@import", "url(", "<script", "<bad>", "%!", "NaN", "ZgotmplZ"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
	for _, want := range []string{"prefers-color-scheme: dark", "&lt;bad&gt;", `tabindex="0"`, "<svg", "67%", "$0.06"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		if _, err := d.Token(); err != nil {
			if err.Error() != "EOF" {
				t.Error(err)
			}
			break
		}
	}
}

func TestNoPriceIsNotFree(t *testing.T) {
	o := outcome.Outcome{Trial: outcome.Trial{Task: "one", Model: "local", Repeat: 1}, Result: outcome.Passed, Unpriced: true}
	m := Of([]outcome.Outcome{o}).Models[0]
	if m.CostPerSuccessUSD != nil || m.cost() != "-" || m.costPerSuccess() != "-" {
		t.Errorf("%+v", m)
	}
	o.Unpriced = false
	if m := Of([]outcome.Outcome{o}).Models[0]; m.costPerSuccess() != "$0" {
		t.Errorf("a free model: %+v", m)
	}
}

func TestIncompleteModelIsMarked(t *testing.T) {
	trial := func(task, model string, result outcome.Result) outcome.Outcome {
		return outcome.Outcome{Trial: outcome.Trial{Task: task, Model: model, Repeat: 1}, Result: result}
	}
	r := Of([]outcome.Outcome{
		trial("one", "a", outcome.Passed), trial("two", "a", outcome.Passed),
		trial("one", "b", outcome.Passed), trial("two", "b", outcome.Errored),
	})
	for _, m := range r.Models {
		if want := m.Model == "b"; m.Incomplete != want {
			t.Errorf("%s: incomplete is %t", m.Model, m.Incomplete)
		}
	}
}
