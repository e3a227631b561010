package fair

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"
)

func req(namespace, name string) request {
	return request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

func newQueue(t *testing.T, workers int) workqueue.TypedRateLimitingInterface[request] {
	t.Helper()
	large := func(r request) bool { return strings.HasPrefix(r.Name, "large") }
	q := NewQueue(workers, large)("test", workqueue.DefaultTypedControllerRateLimiter[request]())
	t.Cleanup(q.ShutDown)
	return q
}

// get takes what a worker would; there is something, or the test hangs.
func get(t *testing.T, q workqueue.TypedRateLimitingInterface[request]) string {
	t.Helper()
	got := make(chan request, 1)
	go func() {
		r, _ := q.Get()
		got <- r
	}()
	select {
	case r := <-got:
		return r.String()
	case <-time.After(time.Minute):
		t.Fatal("nothing is given to a worker that is free")
		return ""
	}
}

func TestNamespacesTakeTurns(t *testing.T) {
	q := newQueue(t, 8)
	for i := range 100 {
		q.Add(req("crowd", fmt.Sprintf("%02d", i)))
		q.Add(req("crowd", fmt.Sprintf("%02d", i))) // is there already
	}
	q.Add(req("a", "1"))
	q.Add(req("b", "1"))
	q.Add(req("a", "2"))
	var got []string
	for range 7 {
		got = append(got, get(t, q))
	}
	if want := "crowd/00 a/1 b/1 crowd/01 a/2 crowd/02 crowd/03"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if n := q.Len(); n != 96 {
		t.Errorf("%d are left, want 96", n)
	}
}

// TestACrowdKeepsNobodyWaiting: whether 10,000 requests of a namespace come at once or
// fail all the time, those of another are next, and at most one of the crowd's is
// before each.
func TestACrowdKeepsNobodyWaiting(t *testing.T) {
	const crowd, workers = 10000, 8
	for name, add := range map[string]func(workqueue.TypedRateLimitingInterface[request], request){
		"added":  func(q workqueue.TypedRateLimitingInterface[request], r request) { q.Add(r) },
		"failed": func(q workqueue.TypedRateLimitingInterface[request], r request) { q.AddRateLimited(r) },
	} {
		// As controller-runtime has it where none is given: it knows no bound over all.
		limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[request](5*time.Millisecond, 1000*time.Second)
		q := NewQueue(workers, func(request) bool { return false })(name, limiter)
		t.Cleanup(q.ShutDown)
		for i := range crowd {
			add(q, req("crowd", fmt.Sprint(i)))
		}
		awaitLen(t, q, crowd)
		for range workers {
			get(t, q)
		}
		for i := range 3 {
			add(q, req("a", fmt.Sprint(i)))
		}
		awaitLen(t, q, crowd-workers+3)
		var got []string
		for range 6 {
			got = append(got, get(t, q))
		}
		if n := len(slices.DeleteFunc(got, func(r string) bool { return strings.HasPrefix(r, "crowd/") })); n != 3 {
			t.Errorf("%s: of the other namespace's 3 requests %d were among the next 6: %v", name, n, got)
		}
	}
}

func awaitLen(t *testing.T, q workqueue.TypedRateLimitingInterface[request], n int) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return q.Len() >= n, nil })
	if err != nil {
		t.Fatalf("%d wait, want %d: %v", q.Len(), n, err)
	}
}

// TestLargeOnesGetAPartOfTheWorkers, and all of it.
func TestLargeOnesGetAPartOfTheWorkers(t *testing.T) {
	q := newQueue(t, 8)
	for i := range 5 {
		q.Add(req("crowd", fmt.Sprintf("large-%d", i)))
	}
	if got := get(t, q) + " " + get(t, q); got != "crowd/large-0 crowd/large-1" {
		t.Errorf("got %s", got)
	}
	if n := q.Len(); n != 0 {
		t.Errorf("there are %d for a third worker, want none", n)
	}
	q.Add(req("a", "1"))
	if got := get(t, q); got != "a/1" {
		t.Errorf("got %s", got)
	}
	for i := 2; i < 5; i++ {
		q.Done(req("crowd", fmt.Sprintf("large-%d", i-2)))
		if got, want := get(t, q), fmt.Sprintf("crowd/large-%d", i); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestOneThatIsAddedWhileItIsUnderWayComesAgain, in its part of the workers.
func TestOneThatIsAddedWhileItIsUnderWayComesAgain(t *testing.T) {
	q := newQueue(t, 4)
	large := req("crowd", "large")
	q.Add(large)
	get(t, q)
	q.Add(large)
	q.Add(req("crowd", "large-2"))
	if n := q.Len(); n != 0 {
		t.Errorf("%d are given out beside it", n)
	}
	q.Done(large)
	if got := get(t, q); got != "crowd/large-2" {
		t.Errorf("got %s", got)
	}
	q.Done(req("crowd", "large-2"))
	if got := get(t, q); got != "crowd/large" {
		t.Errorf("got %s", got)
	}
}
