package models

import "github.com/shopspring/decimal"

// Tokens are what a call is priced by. Cached input is a part of the input.
type Tokens struct{ Input, CachedInput, Output int64 }

// perMillion turns a price per million tokens into one per token: an exact
// shift by six places, where a division would round.
const perMillion = -6

// Cost is the exact price of tokens in US dollars. Cached input is priced apart; a
// count that makes no sense is treated as 0.
func (p *Pricing) Cost(t Tokens) decimal.Decimal {
	if p == nil {
		return decimal.Zero
	}
	input, output := max(t.Input, 0), max(t.Output, 0)
	cached := min(max(t.CachedInput, 0), input)
	return price(p.InputPerMTok, input-cached).
		Add(price(p.CachedInputPerMTok, cached)).
		Add(price(p.OutputPerMTok, output))
}

func price(perMTok decimal.Decimal, tokens int64) decimal.Decimal {
	return perMTok.Mul(decimal.NewFromInt(tokens)).Shift(perMillion)
}

// AffordableOutput is how many output tokens a sum pays for; ok is false when
// output is free and the sum therefore sets no bound.
func (p *Pricing) AffordableOutput(usd decimal.Decimal) (tokens int64, ok bool) {
	if p == nil || !p.OutputPerMTok.IsPositive() {
		return 0, false
	}
	if !usd.IsPositive() {
		return 0, true
	}
	n := usd.Shift(-perMillion).Div(p.OutputPerMTok).Floor()
	if n.GreaterThan(decimal.NewFromInt(1 << 40)) {
		return 1 << 40, true
	}
	return n.IntPart(), true
}
