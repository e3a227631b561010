// Command shop adds up prices: lines of NAME PRICE on standard input.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

type cents int64

func parse(s string) (cents, error) {
	whole, part, found := strings.Cut(s, ".")
	if found && len(part) != 2 {
		return 0, fmt.Errorf("%q is not a price", s)
	}
	w, err := strconv.ParseUint(whole, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not a price", s)
	}
	var p uint64
	if found {
		if p, err = strconv.ParseUint(part, 10, 8); err != nil {
			return 0, fmt.Errorf("%q is not a price", s)
		}
	}
	return cents(w*100 + p), nil
}

func (c cents) String() string { return fmt.Sprintf("%d.%02d", c/100, c%100) }

type item struct {
	name  string
	price cents
}

type cart struct{ items []item }

func (c *cart) add(name string, price cents) { c.items = append(c.items, item{name, price}) }

func (c *cart) total() (sum cents) {
	for _, i := range c.items {
		sum += i.price
	}
	return sum
}

func main() {
	var c cart
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		name, price, _ := strings.Cut(in.Text(), " ")
		p, err := parse(price)
		if err != nil {
			fmt.Println("error:", err)
			continue
		}
		c.add(name, p)
	}
	fmt.Println("total:", c.total())
}
