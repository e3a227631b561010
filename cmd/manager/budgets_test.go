package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// spenders plays the runners of the tasks of a namespace with a Budget: each makes one
// model call of 0.03 USD.
type spenders struct {
	t      *testing.T
	api    *cluster.Cluster
	budget *v1alpha1.Budget
	// spent is what each has spent, by name.
	spent map[string]decimal.Decimal
}

var oneCall = decimal.RequireFromString("0.03")

// checkBudgets has fifty tasks at once on one Budget, with the manager's own rights,
// caches, watches and workers: they never spend more, and go on when it is raised.
func checkBudgets(t *testing.T, api *cluster.Cluster) {
	t.Helper()
	const ns = "budgeted"
	priced := strings.Replace(objects.RegistryDocument, "provider: gateway}", `provider: gateway, pricing: {inputPerMTok: "1", outputPerMTok: "3"}}`, 1)
	s := &spenders{t: t, api: api, spent: map[string]decimal.Decimal{}, budget: &v1alpha1.Budget{
		ObjectMeta: metav1.ObjectMeta{Name: "monthly", Namespace: ns},
		Spec:       v1alpha1.BudgetSpec{Period: v1alpha1.BudgetMonth, CostUSD: "0.35"},
	}}
	create(t, api, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, objects.MakeRegistry(ns, priced), s.budget)
	await(t, "beginning to count", func() bool { return s.look() })
	const tasks = 50
	for i := range tasks {
		create(t, api, objects.MakeTask(fmt.Sprintf("t%d", i)).Namespace(ns).Obj())
	}
	var stands string
	await(t, "spending the Budget", func() bool {
		ended, waiting := s.play()
		stands = fmt.Sprintf("%d have ended and %d wait; the Budget is %+v", ended, waiting, s.budget.Status)
		return ended == 11 && waiting == tasks-11
	}, &stands)

	before := s.budget.DeepCopy()
	s.budget.Spec.CostUSD = "1.50"
	if err := api.Client.Patch(t.Context(), s.budget, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	await(t, "going on with more", func() bool { ended, _ := s.play(); return ended == tasks })
	await(t, "settling all", func() bool {
		return s.look() && s.budget.Status.SpentUSD == "1.5" && len(s.budget.Status.Reservations) == 0
	})
}

// look reads the Budget, and says whether its account has begun.
func (s *spenders) look() bool {
	s.t.Helper()
	if err := s.api.Client.Get(s.t.Context(), client.ObjectKeyFromObject(s.budget), s.budget); err != nil {
		s.t.Fatal(err)
	}
	st, limit := s.budget.Status, decimal.RequireFromString(s.budget.Spec.CostUSD)
	if st.SpentUSD == "" {
		return false
	}
	if sum := decimal.RequireFromString(st.SpentUSD).Add(decimal.RequireFromString(st.ReservedUSD)); sum.GreaterThan(limit) {
		s.t.Fatalf("%s USD are spent and %s reserved of %s", st.SpentUSD, st.ReservedUSD, limit)
	}
	return true
}

// play lets each runner do one thing, and counts the tasks that have ended and those that
// wait for the Budget.
func (s *spenders) play() (ended, waiting int) {
	s.t.Helper()
	s.look()
	var list v1alpha1.AgentTaskList
	if err := s.api.Client.List(s.t.Context(), &list, client.InNamespace(s.budget.Namespace)); err != nil {
		s.t.Fatal(err)
	}
	for i := range list.Items {
		task := &list.Items[i]
		b := task.Status.Budget
		switch {
		case kit.Finished(task):
			ended++
		case !kit.AttemptOpen(task):
			if c := meta.FindStatusCondition(task.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil && c.Reason == v1alpha1.ReasonBudgetSpent {
				waiting++
			}
		case task.Status.Result.Attempt == task.Status.Attempt || b.GrantedUSD == "" || b.GrantedUSD == "0":
		case oneCall.LessThanOrEqual(decimal.RequireFromString(b.GrantedUSD)):
			s.spent[task.Name] = oneCall
			s.report(task, "", v1alpha1.ReasonCompleted)
		case b.RefusedUSD == oneCall.String():
			s.report(task, oneCall.String(), v1alpha1.ReasonBudgetSpent)
		case task.Status.Progress.RequestedUSD == "" || task.Status.Progress.Attempt != task.Status.Attempt:
			s.report(task, oneCall.String(), "")
		}
	}
	sum := decimal.Zero
	for _, usd := range s.spent {
		sum = sum.Add(usd)
	}
	if sum.GreaterThan(decimal.RequireFromString(s.budget.Spec.CostUSD)) {
		s.t.Fatalf("%s USD were really spent of %s", sum, s.budget.Spec.CostUSD)
	}
	return ended, waiting
}

func (s *spenders) report(task *v1alpha1.AgentTask, requested, reason string) {
	s.t.Helper()
	attempt := int64(task.Status.Attempt)
	progress := map[string]any{"attempt": attempt, "turns": int64(1), "usage": map[string]any{"costUSD": s.spent[task.Name].String()}}
	if requested != "" {
		progress["requestedUSD"] = requested
	}
	status := map[string]any{"progress": progress, "transcript": map[string]any{"uri": podapi.TranscriptPath(task.Namespace, task.Name)}}
	if reason != "" {
		status["result"] = map[string]any{"attempt": attempt, "reason": reason, "message": "the runner's own words"}
	}
	u := &unstructured.Unstructured{Object: map[string]any{"status": status}}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("AgentTask"))
	u.SetNamespace(task.Namespace)
	u.SetName(task.Name)
	err := s.api.Client.SubResource("status").Apply(s.t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(podapi.FieldManager), client.ForceOwnership)
	if err != nil {
		s.t.Fatal(err)
	}
}
