// Package budget keeps the accounts of Budgets: it reserves what tasks may spend before
// they do, and settles that when they have ended.
package budget

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// ledger is the account of one Budget, in US dollars. What was spent and what is
// reserved is never more than the limit, unless the limit was lowered or a provider
// has billed more than a call could take.
type ledger struct {
	period v1alpha1.BudgetPeriod
	limit  decimal.Decimal
	// start and reset are the ends of the period; both are zero before the first.
	start, reset time.Time
	// settled was spent in this period by those who hold nothing any more.
	settled decimal.Decimal
	holds   map[string]hold
}

// hold is what a task may spend. Its amounts are what the task has cost, or may come to
// cost, over all its attempts.
type hold struct {
	name    string
	attempt int32
	// base is what the task had cost when it began to spend of this period.
	base decimal.Decimal
	// reported is what it had cost when it was last heard of.
	reported decimal.Decimal
	// granted is what it may come to cost.
	granted decimal.Decimal
}

// spender is a task as it asks for something.
type spender struct {
	uid, name string
	attempt   int32
	// reported is what it has cost over all attempts.
	reported decimal.Decimal
	// recorded: an attempt knows what those before it have cost, also the last one.
	recorded bool
}

// taken is what a hold counts for, spent or not. A provider may have billed more than
// was granted.
func (h hold) taken() decimal.Decimal {
	return decimal.Max(h.granted, h.reported).Sub(h.base)
}

// turn begins the period that now is in. What tasks hold and have not spent goes over
// into it, so that a call under way at midnight is within both. Time never goes back.
func (l *ledger) turn(now time.Time) {
	if now.Before(l.reset) {
		return
	}
	l.start, l.reset = bounds(l.period, now)
	l.settled = decimal.Zero
	for uid, h := range l.holds {
		h.base = h.reported
		l.holds[uid] = h
	}
}

// bounds are the begin and the end of the period that a time is in.
func bounds(period v1alpha1.BudgetPeriod, at time.Time) (start, reset time.Time) {
	y, m, d := at.UTC().Date()
	if period == v1alpha1.BudgetMonth {
		start = time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
		return start, start.AddDate(0, 1, 0)
	}
	start = time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	return start, start.AddDate(0, 0, 1)
}

// spent is what was spent in this period, as far as it was reported.
func (l *ledger) spent() decimal.Decimal {
	sum := l.settled
	for _, h := range l.holds {
		sum = sum.Add(h.reported.Sub(h.base))
	}
	return sum
}

// reserved is what may be spent besides.
func (l *ledger) reserved() decimal.Decimal {
	sum := decimal.Zero
	for _, h := range l.holds {
		sum = sum.Add(h.taken().Sub(h.reported.Sub(h.base)))
	}
	return sum
}

// free is what nobody has spent or holds.
func (l *ledger) free() decimal.Decimal {
	return l.limit.Sub(l.spent()).Sub(l.reserved())
}

// hold is what a task has, or would begin with.
func (l *ledger) hold(s spender) hold {
	h, held := l.holds[s.uid]
	if !held {
		return hold{name: s.name, attempt: s.attempt, base: s.reported, reported: s.reported, granted: s.reported}
	}
	h.attempt = max(h.attempt, s.attempt)
	h.reported = decimal.Max(h.reported, s.reported)
	return h
}

// begin settles what an earlier attempt of a task held that was lost without a record:
// nobody knows what it has spent of that.
func (l *ledger) begin(s spender) {
	if h, held := l.holds[s.uid]; held && h.attempt < s.attempt && !s.recorded {
		l.settle(s.uid, nil)
	}
}

// missing is what has to be free for a task to come to cost an amount.
func (l *ledger) missing(s spender, upTo decimal.Decimal) decimal.Decimal {
	h := l.hold(s)
	before := decimal.Zero
	if had, held := l.holds[s.uid]; held {
		before = had.taken()
	}
	h.granted = decimal.Max(h.granted, upTo)
	return h.taken().Sub(before)
}

// fits reports whether a task may come to cost an amount, beside what is promised to others.
func (l *ledger) fits(s spender, upTo, promised decimal.Decimal) bool {
	if _, held := l.holds[s.uid]; !held && len(l.holds) >= v1alpha1.MaxReservations {
		return false
	}
	missing := l.missing(s, upTo)
	return !missing.IsPositive() || missing.LessThanOrEqual(l.free().Sub(promised))
}

// grant lets a task come to cost an amount, for which there has to be room.
func (l *ledger) grant(s spender, upTo decimal.Decimal) {
	h := l.hold(s)
	h.granted = decimal.Max(h.granted, upTo)
	l.holds[s.uid] = h
}

// settle ends what a task holds. It has cost total in the end; nil where nobody knows,
// and all that it was granted counts as spent.
func (l *ledger) settle(uid string, total *decimal.Decimal) {
	h, held := l.holds[uid]
	if !held {
		return
	}
	delete(l.holds, uid)
	used := h.taken()
	if total != nil {
		used = decimal.Max(total.Sub(h.base), decimal.Zero)
	}
	l.settled = l.settled.Add(used)
}

// quantum is what is granted at once at least, where there is room: a hundredth of the
// limit, so that a Budget is written about a hundred times in a period for cheap calls.
func (l *ledger) quantum() decimal.Decimal { return l.limit.Shift(-2) }

// read makes the ledger of a Budget, as its status has it.
func read(b *v1alpha1.Budget) (*ledger, error) {
	l := &ledger{period: b.Spec.Period, holds: map[string]hold{}}
	var err error
	if l.limit, err = amount("spec.costUSD", b.Spec.CostUSD); err != nil {
		return nil, err
	}
	st := b.Status
	if st.PeriodStartTime != nil && st.ResetTime != nil {
		l.start, l.reset = st.PeriodStartTime.UTC(), st.ResetTime.UTC()
	}
	if st.SettledUSD != "" {
		if l.settled, err = amount("status.settledUSD", st.SettledUSD); err != nil {
			return nil, err
		}
	}
	for i, r := range st.Reservations {
		h := hold{name: r.TaskName, attempt: r.Attempt}
		for _, a := range []struct {
			name, text string
			into       *decimal.Decimal
		}{{"baseUSD", r.BaseUSD, &h.base}, {"reportedUSD", r.ReportedUSD, &h.reported}, {"grantedUSD", r.GrantedUSD, &h.granted}} {
			if *a.into, err = amount(fmt.Sprintf("status.reservations[%d].%s", i, a.name), a.text); err != nil {
				return nil, err
			}
		}
		l.holds[r.TaskUID] = h
	}
	return l, nil
}

func amount(field, s string) (decimal.Decimal, error) {
	d, err := decimal.NewFromString(s)
	if err != nil {
		return d, fmt.Errorf("%s: %q is not a decimal number", field, s)
	}
	return d, nil
}

// write puts the ledger into a Budget's status.
func (l *ledger) write(st *v1alpha1.BudgetStatus) {
	st.PeriodStartTime, st.ResetTime = new(metav1.NewTime(l.start)), new(metav1.NewTime(l.reset))
	st.SpentUSD, st.ReservedUSD, st.SettledUSD = l.spent().String(), l.reserved().String(), l.settled.String()
	st.Reservations = nil
	for uid, h := range l.holds {
		st.Reservations = append(st.Reservations, v1alpha1.BudgetReservation{
			TaskUID: uid, TaskName: h.name, Attempt: h.attempt,
			BaseUSD: h.base.String(), ReportedUSD: h.reported.String(), GrantedUSD: h.granted.String(),
		})
	}
	slices.SortFunc(st.Reservations, func(a, b v1alpha1.BudgetReservation) int { return strings.Compare(a.TaskUID, b.TaskUID) })
}
