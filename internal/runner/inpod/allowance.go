package inpod

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// answerTimeout is how long the operator may take to answer a request for more. The run
// is paused then, and goes on from its record once the operator is there.
const answerTimeout = 5 * time.Minute

// errBudgetSpent pauses a run; an error that wraps it says why.
var errBudgetSpent = errors.New("the run is paused")

// allowance is what the Budgets of the namespace let a task spend. The operator grants it
// in the task's status; the run asks for more before it comes to the end of it, and
// begins no model call that could go beyond it. All amounts are those of the task, over all
// its attempts.
type allowance struct {
	// cost is what the task has cost, and ask asks to come to cost so much.
	cost func() decimal.Decimal
	ask  func(upTo decimal.Decimal)

	mu sync.Mutex
	// granted and refused are the operator's answers.
	granted, refused decimal.Decimal
	// lifted: there are no Budgets any more.
	lifted bool
	// changed is closed, and made anew, when there is an answer.
	changed chan struct{}
	// spent is set once the run was refused something.
	spent bool
}

func newAllowance() *allowance { return &allowance{changed: make(chan struct{})} }

// note takes what a task's status says.
func (a *allowance) note(at *v1alpha1.AgentTask) {
	b := at.Status.Budget
	granted, _ := decimal.NewFromString(b.GrantedUSD) // the API server takes decimal numbers alone
	refused, _ := decimal.NewFromString(b.RefusedUSD)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.granted, a.refused, a.lifted = granted, refused, b.GrantedUSD == ""
	close(a.changed)
	a.changed = make(chan struct{})
}

// allow waits until the task may come to cost so much; a call is then within it. While
// the call is under way, it asks for the next one.
func (a *allowance) allow(ctx context.Context, upTo decimal.Decimal) error {
	wait, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for asked := false; ; asked = true {
		granted, changed, err := a.look(upTo)
		if granted || err != nil {
			return err
		}
		if !asked {
			a.ask(upTo)
		}
		select {
		case <-changed:
		case <-wait.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			a.pause()
			return fmt.Errorf("%w: the operator has not answered for %s whether the task may come to cost %s USD, which the Budgets of the namespace bound", errBudgetSpent, answerTimeout, upTo)
		}
	}
}

// look says whether the task may come to cost so much, or that it may not, or what to
// wait for.
func (a *allowance) look(upTo decimal.Decimal) (granted bool, changed <-chan struct{}, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.lifted:
		return true, nil, nil
	case upTo.LessThanOrEqual(a.granted):
		if call := upTo.Sub(a.cost()); upTo.Add(call).GreaterThan(a.granted) {
			a.ask(upTo.Add(call))
		}
		return true, nil, nil
	case a.refused.Equal(upTo):
		a.spent = true
		return false, nil, fmt.Errorf("%w: the Budgets of the namespace have no room for the next model call, with which the task could come to cost %s USD", errBudgetSpent, upTo)
	}
	return false, a.changed, nil
}

func (a *allowance) pause() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spent = true
}

// paused reports whether the run was paused for a Budget.
func (a *allowance) paused() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spent
}
