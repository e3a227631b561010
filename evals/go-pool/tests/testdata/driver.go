// Reads lines of WORKERS FAIL VALUE…: calls that get a value of FAIL or more fail. Prints
// the results, and what it saw of the calls.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"example.com/pool/pool"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var n []int
		for _, w := range strings.Fields(in.Text()) {
			v, _ := strconv.Atoi(w)
			n = append(n, v)
		}
		workers, limit, values := n[0], n[1], n[2:]
		var now, most, calls atomic.Int64
		got, err := pool.Map(values, workers, func(v int) (int, error) {
			calls.Add(1)
			defer now.Add(-1)
			if c := now.Add(1); c > most.Load() {
				most.Store(c)
			}
			if v >= limit {
				return 0, fmt.Errorf("failed for %d", v)
			}
			return v * v, nil
		})
		fmt.Println(got, err, most.Load() <= int64(max(1, workers)), err == nil || calls.Load() < int64(len(values)))
	}
}
