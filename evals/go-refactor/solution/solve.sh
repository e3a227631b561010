#!/bin/bash
set -euo pipefail
cd /app
mkdir -p money cart
cat > money/money.go <<'EOF'
// Package money has amounts of money.
package money

import (
	"fmt"
	"strconv"
	"strings"
)

// Cents is an amount.
type Cents int64

// Parse reads an amount such as 12 or 2.50.
func Parse(s string) (Cents, error) {
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
	return Cents(w*100 + p), nil
}

func (c Cents) String() string { return fmt.Sprintf("%d.%02d", c/100, c%100) }
EOF
cat > cart/cart.go <<'EOF'
// Package cart has a shopping cart.
package cart

import "example.com/shop/money"

type item struct {
	name  string
	price money.Cents
}

// Cart is a shopping cart; the zero value is an empty one.
type Cart struct{ items []item }

// Add adds an item.
func (c *Cart) Add(name string, price money.Cents) { c.items = append(c.items, item{name, price}) }

// Total is the sum of all prices.
func (c *Cart) Total() (sum money.Cents) {
	for _, i := range c.items {
		sum += i.price
	}
	return sum
}
EOF
cat > main.go <<'EOF'
// Command shop adds up prices: lines of NAME PRICE on standard input.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"example.com/shop/cart"
	"example.com/shop/money"
)

func main() {
	var c cart.Cart
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		name, price, _ := strings.Cut(in.Text(), " ")
		p, err := money.Parse(price)
		if err != nil {
			fmt.Println("error:", err)
			continue
		}
		c.Add(name, p)
	}
	fmt.Println("total:", c.Total())
}
EOF
