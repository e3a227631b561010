package inpod

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

var usd = decimal.RequireFromString

// asker is an operator that keeps what it is asked, and a runner that has spent something.
type asker struct {
	*allowance
	mu    sync.Mutex
	spent string
	asked []string
}

func newAsker(spent string) *asker {
	a := &asker{allowance: newAllowance(), spent: spent}
	a.cost = func() decimal.Decimal { return usd(a.spent) }
	a.ask = func(upTo decimal.Decimal) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.asked = append(a.asked, upTo.String())
	}
	return a
}

func (a *asker) answer(granted, refused string) {
	a.note(&v1alpha1.AgentTask{Status: v1alpha1.AgentTaskStatus{Budget: v1alpha1.TaskBudget{GrantedUSD: granted, RefusedUSD: refused}}})
}

// allowed begins to ask, and gives what came of it.
func (a *asker) allowed(ctx context.Context, upTo string) <-chan error {
	out := make(chan error, 1)
	go func() { out <- a.allow(ctx, usd(upTo)) }()
	return out
}

func TestAllowance(t *testing.T) {
	for name, c := range map[string]struct {
		granted, upTo string
		// answers come one after the other: what is granted, and what is refused.
		answers [][2]string
		asked   []string
		refused bool
	}{
		"with room for this call and the next":      {granted: "0.5", upTo: "0.2"},
		"with room for this call alone, it asks":    {granted: "0.25", upTo: "0.2", asked: []string{"0.3"}},
		"without room it waits":                     {granted: "0.1", upTo: "0.2", answers: [][2]string{{"0.1", ""}, {"0.5", ""}}, asked: []string{"0.2"}},
		"nothing was granted yet":                   {granted: "0", upTo: "0.2", answers: [][2]string{{"0.5", ""}}, asked: []string{"0.2"}},
		"it is refused":                             {granted: "0.1", upTo: "0.2", answers: [][2]string{{"0.1", "0.2"}}, asked: []string{"0.2"}, refused: true},
		"what was refused before is no answer":      {granted: "0.1", upTo: "0.2", answers: [][2]string{{"0.1", "0.3"}, {"0.5", ""}}, asked: []string{"0.2"}},
		"there are no Budgets any more":             {granted: "0.1", upTo: "0.2", answers: [][2]string{{"", ""}}, asked: []string{"0.2"}},
		"an amount that is written another way":     {granted: "0.20", upTo: "0.2", asked: []string{"0.3"}},
		"a refusal that is written in another way,": {granted: "0.1", upTo: "0.2", answers: [][2]string{{"0.10", "0.20"}}, asked: []string{"0.2"}, refused: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAsker("0.1")
			a.answer(c.granted, "")
			done := a.allowed(t.Context(), c.upTo)
			for _, answer := range c.answers {
				synctest.Wait()
				select {
				case err := <-done:
					t.Fatalf("%s: it did not wait: %v", name, err)
				default:
				}
				a.answer(answer[0], answer[1])
			}
			err := <-done
			if errors.Is(err, errBudgetSpent) != c.refused || a.paused() != c.refused || (err != nil) != c.refused {
				t.Errorf("%s: %v", name, err)
			}
			if !slices.Equal(a.asked, c.asked) {
				t.Errorf("%s: it asked for %v, want %v", name, a.asked, c.asked)
			}
		})
	}
}

// An operator that is away does not hold a run up for longer than a few minutes, and one
// that is stopped meanwhile at all.
func TestAllowanceWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker("0")
		if err := a.allow(t.Context(), usd("0.2")); !errors.Is(err, errBudgetSpent) || !strings.Contains(err.Error(), "has not answered") || !a.paused() {
			t.Errorf("the error is %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a := newAsker("0")
		ctx, cancel := context.WithCancelCause(t.Context())
		done := a.allowed(ctx, "0.2")
		synctest.Wait()
		cancel(errSuspended)
		if err := <-done; !errors.Is(err, errSuspended) || a.paused() {
			t.Errorf("the error is %v", err)
		}
	})
}

// A request is written at once, whatever was written a moment ago; nothing else is.
func TestReporterRequestsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{}
		r := newTestReporter(t, rec, priorUsage{cost: usd("0.5")})
		r.urgent = make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go r.run(ctx)
		r.rouse()
		synctest.Wait()
		if n := len(rec.all()); n != 0 {
			t.Fatalf("%d statuses were written at once", n)
		}
		r.request(usd("0.7"))
		synctest.Wait()
		all := rec.all()
		if len(all) != 1 || all[0].Progress.RequestedUSD != "0.7" {
			t.Fatalf("%d statuses were written: %+v", len(all), all)
		}
		cancel()
		<-r.done
	})
}
