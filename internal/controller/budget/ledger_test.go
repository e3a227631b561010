package budget

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

func usd(s string) decimal.Decimal { return decimal.RequireFromString(s) }

func TestBounds(t *testing.T) {
	t.Parallel()
	berlin := time.FixedZone("CET", 3600)
	for name, c := range map[string]struct {
		period       v1alpha1.BudgetPeriod
		at           time.Time
		start, reset string
	}{
		"a day":                    {v1alpha1.BudgetDay, time.Date(2026, 2, 28, 23, 59, 59, 9, time.UTC), "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"},
		"its first moment":         {v1alpha1.BudgetDay, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"},
		"a day that began there":   {v1alpha1.BudgetDay, time.Date(2026, 3, 1, 0, 30, 0, 0, berlin), "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"},
		"a month":                  {v1alpha1.BudgetMonth, time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC), "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		"a month that began there": {v1alpha1.BudgetMonth, time.Date(2027, 1, 1, 0, 30, 0, 0, berlin), "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
	} {
		start, reset := bounds(c.period, c.at)
		if got := start.Format(time.RFC3339) + " " + reset.Format(time.RFC3339); got != c.start+" "+c.reset {
			t.Errorf("%s is %s, want %s %s", name, got, c.start, c.reset)
		}
	}
}

func TestLedger(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	a, b := spender{uid: "a", name: "a", attempt: 1}, spender{uid: "b", name: "b", attempt: 1}
	newLedger := func() *ledger {
		l := &ledger{period: v1alpha1.BudgetDay, limit: usd("1"), holds: map[string]hold{}}
		l.turn(noon)
		return l
	}
	for name, c := range map[string]struct {
		do                    func(l *ledger)
		spent, reserved, free string
	}{
		"nothing":                     {func(*ledger) {}, "0", "0", "1"},
		"a grant is reserved":         {func(l *ledger) { l.grant(a, usd("0.3")) }, "0", "0.3", "0.7"},
		"a grant for what is granted": {func(l *ledger) { l.grant(a, usd("0.3")); l.grant(a, usd("0.2")) }, "0", "0.3", "0.7"},
		"what was reported counts as spent": {func(l *ledger) {
			l.grant(a, usd("0.3"))
			a := a
			a.reported = usd("0.25")
			l.grant(a, usd("0.5"))
		}, "0.25", "0.25", "0.5"},
		"what a task had cost before does not count": {func(l *ledger) {
			a := a
			a.reported = usd("40")
			l.grant(a, usd("40.1"))
		}, "0", "0.1", "0.9"},
		"an end gives back what is left":     {func(l *ledger) { l.grant(a, usd("0.3")); l.settle("a", new(usd("0.1"))) }, "0.1", "0", "0.9"},
		"an end that nobody knows takes all": {func(l *ledger) { l.grant(a, usd("0.3")); l.settle("a", nil) }, "0.3", "0", "0.7"},
		"a second end counts for nothing": {func(l *ledger) {
			l.grant(a, usd("0.3"))
			l.settle("a", new(usd("0.1")))
			l.settle("a", nil)
		}, "0.1", "0", "0.9"},
		"a provider that bills more than a call could take": {func(l *ledger) {
			l.grant(a, usd("0.3"))
			l.settle("a", new(usd("1.5")))
		}, "1.5", "0", "-0.5"},
		"a period that ends begins at zero": {func(l *ledger) {
			l.grant(b, usd("0.4"))
			l.settle("b", new(usd("0.4")))
			l.turn(noon.Add(12 * time.Hour))
		}, "0", "0", "1"},
		"what was granted before midnight and not spent goes over": {func(l *ledger) {
			l.grant(a, usd("0.6"))
			a := a
			a.reported = usd("0.5")
			l.grant(a, usd("0.8"))
			l.turn(noon.Add(12 * time.Hour))
		}, "0", "0.3", "0.7"},
		"a clock that goes back does not": {func(l *ledger) {
			l.settle("a", nil)
			l.turn(noon.Add(12 * time.Hour))
			l.grant(a, usd("0.3"))
			l.settle("a", nil)
			l.turn(noon)
		}, "0.3", "0", "0.7"},
	} {
		l := newLedger()
		c.do(l)
		got := []string{l.spent().String(), l.reserved().String(), l.free().String()}
		if diff := cmp.Diff([]string{c.spent, c.reserved, c.free}, got); diff != "" {
			t.Errorf("%s: spent, reserved, free (-want +got):\n%s", name, diff)
		}
	}
}

func TestLedgerFits(t *testing.T) {
	t.Parallel()
	l := &ledger{period: v1alpha1.BudgetDay, limit: usd("1"), holds: map[string]hold{}}
	a, b := spender{uid: "a"}, spender{uid: "b"}
	l.grant(a, usd("0.6"))
	for _, c := range []struct {
		s              spender
		upTo, promised string
		want           bool
	}{
		{b, "0.4", "0", true}, {b, "0.41", "0", false}, {b, "0.4", "0.01", false},
		{a, "0.6", "5", true}, {a, "1", "0", true}, {a, "1.01", "0", false},
	} {
		if got := l.fits(c.s, usd(c.upTo), usd(c.promised)); got != c.want {
			t.Errorf("%s up to %s beside %s fits: %v", c.s.uid, c.upTo, c.promised, got)
		}
	}
	for i := range v1alpha1.MaxReservations {
		l.grant(spender{uid: fmt.Sprint(i)}, decimal.Zero)
	}
	if l.fits(b, decimal.Zero, decimal.Zero) {
		t.Error("there are more reservations than the status has room for")
	}
}

func TestReadRefusesWhatIsNoAmount(t *testing.T) {
	t.Parallel()
	b := &v1alpha1.Budget{Spec: v1alpha1.BudgetSpec{Period: v1alpha1.BudgetDay, CostUSD: "1"}}
	b.Status.Reservations = []v1alpha1.BudgetReservation{{TaskUID: "a", BaseUSD: "0", ReportedUSD: "0", GrantedUSD: "much"}}
	_, err := read(b)
	if want := `status.reservations[0].grantedUSD: "much" is not a decimal number`; err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// run is one task as it really is: what a runner was told, and what it has spent.
type run struct {
	spender
	// told is the grant that the runner knows of, cost what it really has cost.
	told, cost decimal.Decimal
}

// Whatever happens in whatever order, what runs really spend in a period is never more
// than the limit, and the ledger knows of every cent in the end.
func TestLedgerNeverOvershoots(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		w := &spending{t: t, r: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2026, 1, 31, 20, 0, 0, 0, time.UTC)}
		w.budget = v1alpha1.Budget{Spec: v1alpha1.BudgetSpec{Period: v1alpha1.BudgetDay, CostUSD: "1"}}
		for range 400 {
			w.step()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
}

// spending plays tasks against a Budget that is written and read at every step, as by a
// manager that has just begun.
type spending struct {
	t      *testing.T
	r      *rand.Rand
	now    time.Time
	budget v1alpha1.Budget
	runs   []*run
	made   int
	// period is the one that spent was really spent in.
	period time.Time
	spent  decimal.Decimal
}

func (w *spending) with(do func(l *ledger)) {
	l, err := read(&w.budget)
	if err != nil {
		w.t.Fatal(err)
	}
	l.turn(w.now)
	do(l)
	l.write(&w.budget.Status)
	if l.free().IsNegative() {
		w.t.Errorf("spent %s and reserved %s of %s", l.spent(), l.reserved(), l.limit)
	}
}

func (w *spending) amount(most decimal.Decimal) decimal.Decimal {
	return most.Mul(decimal.New(w.r.Int64N(1001), -3))
}

func (w *spending) step() {
	if len(w.runs) == 0 || len(w.runs) < 20 && w.r.IntN(8) == 0 {
		w.made++
		w.runs = append(w.runs, &run{spender: spender{uid: fmt.Sprint(w.made), attempt: 1}})
	}
	i := w.r.IntN(len(w.runs))
	run := w.runs[i]
	switch w.r.IntN(10) {
	case 0, 1, 2: // it asks for more
		w.with(func(l *ledger) {
			if upTo := run.cost.Add(w.amount(usd("0.2"))); l.fits(run.spender, upTo, decimal.Zero) {
				l.grant(run.spender, upTo)
			}
		})
	case 3: // and hears of what it was granted
		w.with(func(l *ledger) {
			if h, held := l.holds[run.uid]; held {
				run.told = h.granted
			}
		})
	case 4, 5, 6: // it spends
		w.spend(run)
	case 7: // it reports
		run.reported = run.cost
	case 8: // it ends, or is deleted in the middle of a call
		w.end(i)
	case 9: // time passes
		w.now = w.now.Add(time.Duration(w.r.IntN(90)) * time.Minute)
		w.with(func(*ledger) {})
	}
}

func (w *spending) spend(run *run) {
	if start, _ := bounds(v1alpha1.BudgetDay, w.now); !start.Equal(w.period) {
		w.period, w.spent = start, decimal.Zero
	}
	x := w.amount(decimal.Max(run.told.Sub(run.cost), decimal.Zero))
	run.cost = run.cost.Add(x)
	if w.spent = w.spent.Add(x); w.spent.GreaterThan(usd(w.budget.Spec.CostUSD)) {
		w.t.Errorf("%s of %s were really spent", w.spent, w.budget.Spec.CostUSD)
	}
}

func (w *spending) end(i int) {
	run := w.runs[i]
	w.runs = append(w.runs[:i], w.runs[i+1:]...)
	w.with(func(l *ledger) {
		if w.r.IntN(2) == 0 {
			l.settle(run.uid, nil)
			return
		}
		l.settle(run.uid, &run.cost)
	})
}
