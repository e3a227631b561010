package pool

import (
	"slices"
	"testing"
)

func TestMap(t *testing.T) {
	got, err := Map([]int{1, 2, 3}, 1, func(i int) (int, error) { return i * i, nil })
	if err != nil || !slices.Equal(got, []int{1, 4, 9}) {
		t.Error(got, err)
	}
}
