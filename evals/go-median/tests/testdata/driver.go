// Prints the median of each line, and whether the values are still in their order.
package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"example.com/stats/stats"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var v []float64
		for _, w := range strings.Fields(in.Text()) {
			f, _ := strconv.ParseFloat(w, 64)
			v = append(v, f)
		}
		before := slices.Clone(v)
		fmt.Println(stats.Median(v), slices.Equal(before, v))
	}
}
