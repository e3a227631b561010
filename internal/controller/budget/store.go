package budget

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shopspring/decimal"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/keymutex"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

const (
	// promisedFor is how long a task that is about to begin has room for itself: far
	// longer than it takes until it has a reservation, and short where it comes to none.
	promisedFor = 10 * time.Second
	// locks is how many namespaces are written to at once.
	locks = 64
)

// Store reads and writes Budgets. It is safe for concurrent use; a nil one has none.
type Store struct {
	client.Client
	// APIReader reads past the cache: what is reserved is decided by what was written last.
	APIReader client.Reader
	Clock     clock.PassiveClock

	once sync.Once
	// writing spares the writers of a namespace conflicts; the resource versions of
	// Budgets decide between them.
	writing keymutex.KeyMutex

	mu sync.Mutex
	// promised keeps tasks that begin at once from counting on the same room, which would
	// cost all but one of them an attempt. What they may spend is decided by the reservation.
	promised map[types.UID]promise
}

type promise struct {
	namespace string
	usd       decimal.Decimal
	until     time.Time
}

// Refusal says that a Budget has no room.
type Refusal struct {
	// Message is for people: which Budget, when it resets, what to do.
	Message string
	// Until is when there is room again by itself.
	Until time.Time
}

// Any reports whether a namespace has Budgets.
func (s *Store) Any(ctx context.Context, namespace string) (bool, error) {
	if s == nil {
		return false, nil
	}
	var list v1alpha1.BudgetList
	if err := s.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("listing Budgets: %w", err)
	}
	return len(list.Items) > 0, nil
}

// Admit says whether there is room for a task to begin an attempt, and keeps the room for
// it until it asks for a reservation. Recorded says that the attempt will know from the
// record what earlier ones have cost.
func (s *Store) Admit(ctx context.Context, task *v1alpha1.AgentTask, recorded bool) (*Refusal, error) {
	defer s.lock(task.Namespace)()
	who, err := spenderOf(task, recorded)
	if err != nil {
		return nil, err
	}
	who.attempt++
	var want decimal.Decimal
	// Many tasks may wait: as long as the cache has no room, nobody else is asked.
	for _, from := range []client.Reader{s.Client, s.APIReader} {
		all, err := s.accounts(ctx, from, task.Namespace, who)
		if err != nil {
			return nil, err
		}
		want = next(task, who, all)
		if _, holds := held(all, who); holds && task.Status.Result.Attempt != task.Status.Attempt {
			continue
		}
		if refusal := refuse(all, who, want, s.promisedToOthers(task)); refusal != nil {
			return refusal, nil
		}
	}
	s.promise(task, want.Sub(who.reported))
	return nil, nil
}

// Reserve lets a task come to cost what it asks for, and somewhat more where there is
// room, and gives what it may come to cost; zero where there are no Budgets. Confirm fails unless the task is as it was
// read: who has ended holds nothing.
func (s *Store) Reserve(ctx context.Context, task *v1alpha1.AgentTask, recorded bool, confirm func(context.Context) error) (decimal.Decimal, *Refusal, error) {
	defer s.lock(task.Namespace)()
	defer s.Forget(task.UID)
	who, err := spenderOf(task, recorded)
	if err != nil {
		return decimal.Zero, nil, err
	}
	all, err := s.accounts(ctx, s.APIReader, task.Namespace, who)
	if err != nil {
		return decimal.Zero, nil, err
	}
	// After the Budgets: a reservation for an attempt that has ended since they were read
	// conflicts with what has settled it.
	if err := confirm(ctx); err != nil {
		return decimal.Zero, nil, err
	}
	if len(all) == 0 {
		return decimal.Zero, nil, nil
	}
	upTo := next(task, who, all)
	if refusal := refuse(all, who, upTo, decimal.Zero); refusal != nil {
		had, holds := held(all, who)
		if begun := task.Status.Budget.GrantedUSD != "0"; begun || !holds {
			return decimal.Zero, refusal, nil
		}
		upTo = had
	}
	if more := decimal.Max(upTo, who.reported.Add(quantum(all))); refuse(all, who, more, s.promisedToOthers(task)) == nil {
		upTo = more
	}
	for _, a := range all {
		a.grant(who, upTo)
		if err := s.save(ctx, a); err != nil {
			return decimal.Zero, nil, err
		}
	}
	return upTo, nil, nil
}

// lock keeps other writers of a namespace out until unlock is called.
func (s *Store) lock(namespace string) (unlock func()) {
	s.once.Do(func() { s.writing = keymutex.NewHashed(locks) })
	s.writing.LockKey(namespace)
	return func() { _ = s.writing.UnlockKey(namespace) }
}

// account is a Budget and its ledger.
type account struct {
	*ledger
	budget *v1alpha1.Budget
}

// accounts are those of a namespace, by name, in the period of now, as an attempt finds them.
func (s *Store) accounts(ctx context.Context, from client.Reader, namespace string, who spender) ([]account, error) {
	var list v1alpha1.BudgetList
	if err := from.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing Budgets: %w", err)
	}
	var out []account
	for i := range list.Items {
		a, err := s.account(&list.Items[i])
		if err != nil {
			return nil, err
		}
		a.begin(who)
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b account) int { return strings.Compare(a.budget.Name, b.budget.Name) })
	return out, nil
}

func (s *Store) account(b *v1alpha1.Budget) (account, error) {
	l, err := read(b)
	if err != nil {
		return account{}, fmt.Errorf("reading Budget %s: %w", b.Name, err)
	}
	l.turn(s.Clock.Now())
	return account{l, b}, nil
}

// save writes the status of an account, if it has changed and nobody else has written it
// since it was read.
func (s *Store) save(ctx context.Context, a account) error {
	before := a.budget.DeepCopy()
	a.write(&a.budget.Status)
	a.conditions(s.Clock.Now())
	if equality.Semantic.DeepEqual(before.Status, a.budget.Status) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := s.Status().Patch(ctx, a.budget, patch); err != nil {
		return fmt.Errorf("writing the status of Budget %s: %w", a.budget.Name, err)
	}
	return nil
}

// conditions say where the account stands, without figures: those are beside them.
func (a account) conditions(now time.Time) {
	c := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: a.budget.Generation, LastTransitionTime: metav1.NewTime(now),
		Reason: v1alpha1.ReasonBudgetAvailable, Message: "There is room for more tasks",
	}
	if a.free().LessThan(a.quantum()) {
		c.Reason, c.Message = v1alpha1.ReasonBudgetSpent, "What is left does not let another task begin"
	}
	meta.SetStatusCondition(&a.budget.Status.Conditions, c)
	a.budget.Status.ObservedGeneration = a.budget.Generation
}

// spenderOf is a task as its runner has last reported it.
func spenderOf(task *v1alpha1.AgentTask, recorded bool) (spender, error) {
	cost, err := Cost(task)
	return spender{uid: string(task.UID), name: task.Name, attempt: task.Status.Attempt, reported: cost, recorded: recorded}, err
}

// Cost is what a task has cost over all its attempts, as its runner has reported it.
func Cost(task *v1alpha1.AgentTask) (decimal.Decimal, error) {
	if s := task.Status.Progress.Usage.CostUSD; s != "" {
		return amount("status.progress.usage.costUSD", s)
	}
	return decimal.Zero, nil
}

// Requested is what a task's runner asks to come to cost; zero where it asks for nothing.
func Requested(task *v1alpha1.AgentTask) (decimal.Decimal, error) {
	if s := task.Status.Progress.RequestedUSD; s != "" {
		return amount("status.progress.requestedUSD", s)
	}
	return decimal.Zero, nil
}

// next is what a task has to be allowed to come to cost to get any further: what its
// runner has asked for or, where that is not known, a small part of the limit.
func next(task *v1alpha1.AgentTask, who spender, all []account) decimal.Decimal {
	if asked, err := Requested(task); err == nil && asked.GreaterThan(who.reported) {
		return asked
	}
	return who.reported.Add(quantum(all))
}

// held is what all the accounts have granted to a task already. Where its last attempt was
// lost, another one begins with that: it knows from the record what was spent, and gives
// the rest back, for which others may wait.
func held(all []account, who spender) (upTo decimal.Decimal, holds bool) {
	for i, a := range all {
		h := a.holds[who.uid] // or nothing
		if i == 0 || h.granted.LessThan(upTo) {
			upTo = h.granted
		}
	}
	return upTo, upTo.GreaterThan(who.reported)
}

// quantum is the least of those of the accounts.
func quantum(all []account) decimal.Decimal {
	least := decimal.Zero
	for i, a := range all {
		if q := a.quantum(); i == 0 || q.LessThan(least) {
			least = q
		}
	}
	return least
}

// refuse names the Budget that does not let a task come to cost an amount, the one that
// is the last to reset of those; nil if all do.
func refuse(all []account, who spender, upTo, promised decimal.Decimal) *Refusal {
	var out *Refusal
	for _, a := range all {
		if !a.fits(who, upTo, promised) && (out == nil || a.reset.After(out.Until)) {
			out = a.refusal(who, upTo)
		}
	}
	return out
}

// refusal says the same as long as the same holds, so that it is written once.
func (a account) refusal(who spender, upTo decimal.Decimal) *Refusal {
	name, limit, period := a.budget.Name, a.limit, strings.ToLower(string(a.period))
	if call := upTo.Sub(who.reported); call.GreaterThan(limit) {
		return &Refusal{Until: a.reset, Message: fmt.Sprintf(
			"The next model call may cost up to %s USD, and Budget %s has %s USD for a whole %s: raise its spec.costUSD, or use a model with a smaller maxOutputTokens or a lower price", call, name, limit, period)}
	}
	return &Refusal{Until: a.reset, Message: fmt.Sprintf(
		"The %s USD a %s of Budget %s are spent, or reserved by other tasks: this one goes on by itself when some of them are given back, when the next %s begins at %s, or when spec.costUSD of the Budget is raised",
		limit, period, name, period, a.reset.Format(time.RFC3339))}
}

// promise keeps room for a task that is about to begin.
func (s *Store) promise(task *v1alpha1.AgentTask, usd decimal.Decimal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.promised == nil {
		s.promised = map[types.UID]promise{}
	}
	s.promised[task.UID] = promise{task.Namespace, usd, s.Clock.Now().Add(promisedFor)}
}

// Forget gives the room back that is kept for a task which does not begin now.
func (s *Store) Forget(task types.UID) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.promised, task)
}

// promisedToOthers is the sum of what is kept for other tasks of the namespace.
func (s *Store) promisedToOthers(task *v1alpha1.AgentTask) decimal.Decimal {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum, now := decimal.Zero, s.Clock.Now()
	for uid, p := range s.promised {
		switch {
		case !now.Before(p.until):
			delete(s.promised, uid)
		case uid != task.UID && p.namespace == task.Namespace:
			sum = sum.Add(p.usd)
		}
	}
	return sum
}
