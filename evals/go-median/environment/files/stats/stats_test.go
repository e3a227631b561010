package stats

import "testing"

func TestMedian(t *testing.T) {
	if got := Median([]float64{3, 1, 2}); got != 2 {
		t.Error(got)
	}
	if got := Median([]float64{1, 2, 3, 4}); got != 2.5 {
		t.Error(got)
	}
}
