package models

import (
	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
)

// perMillion turns a price per million tokens into one per token: an exact
// shift by six places, where a division would round.
const perMillion = -6

// Cost is the exact price of some usage in US dollars. Cached input is a part
// of the input and priced apart; a count that makes no sense is treated as 0.
func (p *Pricing) Cost(u llm.Usage) decimal.Decimal {
	if p == nil {
		return decimal.Zero
	}
	input, output := max(u.InputTokens, 0), max(u.OutputTokens, 0)
	cached := min(max(u.CachedInputTokens, 0), input)
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
