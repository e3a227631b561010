#!/bin/bash
set -euo pipefail
cd /app
cat > pool/pool.go <<'EOF'
// Package pool runs functions concurrently.
package pool

import "sync"

// Map calls f with every value, at most workers at a time, and gives the results in the
// order of the values. After an error it begins no further call, waits for those that have
// begun, and gives the error of the first value in order that failed, and no results.
// Fewer than one worker is one.
func Map(values []int, workers int, f func(int) (int, error)) ([]int, error) {
	results, errs := make([]int, len(values)), make([]error, len(values))
	var mu sync.Mutex
	next, failed := 0, false
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if failed || next == len(values) {
			return 0, false
		}
		next++
		return next - 1, true
	}
	var wg sync.WaitGroup
	for range max(1, workers) {
		wg.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if results[i], errs[i] = f(values[i]); errs[i] != nil {
					mu.Lock()
					failed = true
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}
EOF
