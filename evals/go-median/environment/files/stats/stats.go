// Package stats has functions on samples.
package stats

import "sort"

// Median is the middle value, or the mean of the two in the middle.
func Median(values []float64) float64 {
	sort.Float64s(values)
	return values[len(values)/2]
}
