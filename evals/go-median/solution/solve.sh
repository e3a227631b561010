#!/bin/bash
set -euo pipefail
cd /app
cat > stats/stats.go <<'EOF'
// Package stats has functions on samples.
package stats

import "slices"

// Median is the middle value, or the mean of the two in the middle; 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
EOF
