// Package probe finds out what the models of a registry can do: it has short
// conversations with each, by the loop and the providers of a run, and says whether a
// model is at fault, its server, or the setup.
package probe

import (
	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/models"
)

// Outcome is what a probe came to. Whether the setup is to be fixed or the model cannot
// do it is never left open.
type Outcome string

// The outcomes.
const (
	// Fits: the model is as good as its entry says, or better.
	Fits Outcome = "Fits"
	// BelowLevel: the model, as it is served, does not reach the level of its entry.
	BelowLevel Outcome = "BelowLevel"
	// FixSetup: the key, the address, the name, the account or the server's settings are
	// wrong. Nothing is known of the model.
	FixSetup Outcome = "FixSetup"
	// ServerTrouble: the server was busy, slow or broken, which may pass. Nothing is
	// known of the model.
	ServerTrouble Outcome = "ServerTrouble"
	// NotFinished: a bound of the probe was reached, or it was stopped.
	NotFinished Outcome = "NotFinished"
)

// Report is what was found out about one model.
type Report struct {
	Model    string `json:"model"`
	Provider string `json:"provider"`
	Upstream string `json:"upstream"`
	// Declared is the level of the entry, Measured that of the probe: empty where the
	// probe did not get so far.
	Declared models.Level `json:"declared"`
	Measured models.Level `json:"measured,omitempty"`
	Outcome  Outcome      `json:"outcome"`
	// Category is the kind of failure, empty where there was none or no model failed.
	Category llm.Category `json:"category,omitempty"`
	// Message says what went wrong, and where it is to be fixed.
	Message string `json:"message,omitempty"`
	// Findings are what is unusual of the model or its server: what had to be sent
	// otherwise, what was repaired, what is not told.
	Findings []string `json:"findings,omitempty"`
	// Calls are all requests that were sent.
	Calls int `json:"calls"`
	// LatencyMillis are of calls that were answered, nil where none was.
	LatencyMillis *Latency  `json:"latencyMillis,omitempty"`
	Usage         llm.Usage `json:"usage"`
	// CostUSD is nil where the price is not known.
	CostUSD *decimal.Decimal `json:"costUSD,omitempty"`
	// Changes are the lines of the entry that would be others, as YAML; empty for none.
	Changes string `json:"changes,omitempty"`
}

// Latency of the calls of a model.
type Latency struct {
	P50 int64 `json:"p50"`
	Max int64 `json:"max"`
}

// Exit codes of a probe: the lowest that applies to a report counts.
const (
	ExitFixSetup   = 3
	ExitBelowLevel = 4
	ExitUnmeasured = 5
)

// ExitCode is 0 where all models fit.
func ExitCode(reports []Report) int {
	code := 0
	for _, r := range reports {
		own := 0
		switch r.Outcome {
		case Fits:
			continue
		case FixSetup:
			own = ExitFixSetup
		case BelowLevel:
			own = ExitBelowLevel
		case ServerTrouble, NotFinished:
			own = ExitUnmeasured
		}
		if code == 0 || own < code {
			code = own
		}
	}
	return code
}
