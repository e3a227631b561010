package probe

import (
	"crypto/tls"
	"errors"
	"net"
	"regexp"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/openai"
)

// fault is who is to blame for a failure.
type fault int

const (
	// noFault: a bound was reached, or the probe was stopped.
	noFault fault = iota
	setupFault
	serverFault
	modelFault
)

// outcome of a probe that failed in this way.
func (f fault) outcome() Outcome {
	switch f {
	case setupFault:
		return FixSetup
	case serverFault:
		return ServerTrouble
	case modelFault:
		return BelowLevel
	case noFault:
	}
	return NotFinished
}

// atFault says who is to blame for a failure of a category.
func atFault(c llm.Category) fault {
	switch c {
	case llm.CredentialConfig, llm.ProviderUnsupported, llm.QuotaExceeded, llm.ContextLength, llm.ContentFilter:
		return setupFault
	case llm.RateLimited, llm.Overloaded, llm.Timeout, llm.Network, llm.TruncatedStream:
		return serverFault
	case llm.ToolCallShapeMismatch, llm.ModelQuality, llm.EmptyResponse, llm.TextToolCall:
		return modelFault
	case llm.Stopped:
	}
	return noFault
}

// unreachable says that the server was never there: the address is wrong, more likely
// than not.
func unreachable(err error) bool {
	var (
		dns    *net.DNSError
		op     *net.OpError
		record tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &record):
		return true // it speaks something else there
	case errors.As(err, &dns):
		return !dns.IsTemporary && !dns.IsTimeout
	}
	return errors.As(err, &op) && op.Op == "dial" && !op.Timeout()
}

// serverFlag are words of servers that were started without what tools need.
var serverFlag = regexp.MustCompile("(?:^|[\\s\"'`(=])--[a-z]")

// failure is why a conversation was not passed.
type failure struct {
	fault    fault
	category llm.Category
	message  string
}

// failureOf says why a run ended otherwise than with a right answer, after what was seen
// of its provider.
func failureOf(res harness.Result, seen seen) *failure {
	last, answered := seen.last, len(seen.latencies) > 0
	switch res.Reason {
	case harness.Completed, harness.MaxTurns, harness.LoopDetected:
		return &failure{modelFault, llm.ModelQuality, res.Message}
	case harness.EmptyResponse:
		if !answered && errors.Is(last, openai.ErrNoChoices) {
			return &failure{setupFault, llm.ProviderUnsupported, last.Message + ": check the base URL"}
		}
		return &failure{modelFault, llm.EmptyResponse, res.Message}
	case harness.ContextExhausted:
		return &failure{setupFault, llm.ContextLength, res.Message}
	case harness.ModelUnavailable:
		f := &failure{atFault(res.Category), res.Category, res.Message}
		if last == nil {
			return f
		}
		if last.Category == res.Category {
			f.message = last.Message // without a name that everybody knows here
		}
		switch {
		case last.Status >= 400 && serverFlag.MatchString(f.message):
			f.fault, f.category = setupFault, llm.ProviderUnsupported
		case res.Category == llm.Network && !answered && unreachable(last):
			f.fault = setupFault
		}
		return f
	default:
		return &failure{fault: noFault, message: res.Message}
	}
}
