// Command wc prints the numbers of lines, words and bytes of standard input, with one
// space between them.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"example.com/wc/internal/counts"
)

func main() {
	data, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	c := count.Of(data)
	fmt.Printf("%d %d %d\n", c.Lines, c.Words, c.Bytes)
}
