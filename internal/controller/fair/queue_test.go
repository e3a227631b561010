package fair

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
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
	case <-time.After(10 * time.Second):
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
