package agenttask

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestReservations(t *testing.T) {
	var r reservations
	steps := []struct {
		sandbox, task types.UID
		at            time.Duration
		want          bool
	}{
		{"s", "a", 0, true},
		{"s", "b", time.Second, false},
		{"other", "b", time.Second, true},
		{"s", "a", 2 * time.Second, true}, // it may ask again
		{"s", "b", 11 * time.Second, false},
		{"s", "b", 12 * time.Second, true}, // its task has not claimed it
	}
	for _, s := range steps {
		if got := r.take(s.sandbox, s.task, epoch.Add(s.at)); got != s.want {
			t.Errorf("%s takes %s after %s: %v, want %v", s.task, s.sandbox, s.at, got, s.want)
		}
	}
	if n := len(r.all); n != 1 {
		t.Errorf("%d are remembered; those that are over are forgotten", n)
	}
}
