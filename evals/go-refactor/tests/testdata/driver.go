// Does what the program does, with its packages.
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
	var total money.Cents = c.Total()
	fmt.Println("total:", total)
}
