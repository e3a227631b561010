package fair

import (
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
)

func named(name string) request {
	return request{NamespacedName: types.NamespacedName{Namespace: "n", Name: name}}
}

func TestADelayEnds(t *testing.T) {
	tests := map[string]struct {
		do   func(d *delays)
		at   time.Duration
		want int
	}{
		"when its time comes":           {func(d *delays) { d.AddAfter(named("a"), time.Minute) }, time.Minute, 1},
		"not before":                    {func(d *delays) { d.AddAfter(named("a"), time.Minute) }, time.Minute - 1, 0},
		"at once where there is none":   {func(d *delays) { d.AddAfter(named("a"), 0) }, 0, 1},
		"by the shortest":               {func(d *delays) { d.AddAfter(named("a"), time.Hour); d.AddAfter(named("a"), time.Minute) }, time.Minute, 1},
		"by the shortest, in any order": {func(d *delays) { d.AddAfter(named("a"), time.Minute); d.AddAfter(named("a"), time.Hour) }, time.Minute, 1},
		"for each by itself":            {func(d *delays) { d.AddAfter(named("a"), time.Minute); d.AddAfter(named("b"), time.Minute) }, time.Minute, 2},
		"when the request is taken for another reason": {func(d *delays) {
			d.AddAfter(named("a"), time.Minute)
			d.Add(named("a"))
			r, _ := d.Get()
			d.Done(r)
		}, time.Hour, 0},
		"and another may begin then": {func(d *delays) {
			d.AddAfter(named("a"), time.Minute)
			d.Add(named("a"))
			r, _ := d.Get()
			d.AddAfter(r, time.Hour)
			d.Done(r)
		}, time.Hour, 1},
		"with the queue": {func(d *delays) {
			d.AddAfter(named("a"), time.Minute)
			d.ShutDown()
			d.AddAfter(named("b"), time.Minute)
		}, time.Hour, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDelays(workqueue.NewTyped[request]())
				defer d.ShutDown()
				tt.do(d)
				time.Sleep(tt.at) //nolint:forbidigo // the clock is the bubble's
				synctest.Wait()
				if got := d.Len(); got != tt.want {
					t.Errorf("%d requests wait for a worker, want %d", got, tt.want)
				}
			})
		})
	}
}
