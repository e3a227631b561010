package scripted

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/openai"
)

// Provider plays a script in process. Its errors are those that the openai
// provider gives when it talks to a Server with the same script.
type Provider struct {
	player *player
	task   string
	now    func() time.Time
}

var _ llm.Provider = (*Provider)(nil)

// NewProvider plays a script. The task's name, which may be empty, only keeps apart
// how often a fault was met.
func NewProvider(script *Script, task string) *Provider {
	return &Provider{player: newPlayer(script), task: task, now: time.Now}
}

// Complete implements llm.Provider.
func (p *Provider) Complete(ctx context.Context, req llm.Request) (*llm.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, stopped(err, llm.Usage{})
	}
	c := converse(req, p.task)
	rep, refused := p.player.next(c)
	if refused != nil {
		return nil, openai.ErrorFromStatus(refused.status, nil, errorBody("script_error", refused.message), p.now())
	}
	// What a call costs that is cut off: its input, as far as anybody knows.
	asked := llm.Usage{InputTokens: int64(c.bytes/4) + 1, Estimated: true}
	if err := sleep(ctx, rep.delay); err != nil {
		return nil, stopped(err, asked)
	}
	if rep.fault != nil {
		return nil, p.fail(ctx, rep, asked)
	}
	return &llm.Response{
		Message: llm.Message{
			Role: llm.RoleAssistant, Content: rep.text, Reasoning: rep.reasoning, ToolCalls: rep.calls,
		},
		FinishReason: rep.finish,
		Usage:        rep.usage,
		Model:        req.Model,
	}, nil
}

// fail gives the error of a fault.
func (p *Provider) fail(ctx context.Context, rep *reply, asked llm.Usage) *llm.Error {
	half := asked
	half.OutputTokens = rep.usage.OutputTokens / 2
	switch f := rep.fault; f.Kind {
	case FaultReset:
		return &llm.Error{Category: llm.Network, Retryable: true, Message: "the script resets the connection", Usage: asked}
	case FaultTruncate:
		return &llm.Error{Category: llm.TruncatedStream, Retryable: true, Status: http.StatusOK,
			Message: "the script cuts the reply short", Usage: half}
	case FaultEmptyChoices:
		return &llm.Error{Category: llm.EmptyResponse, Retryable: true, Status: http.StatusOK, Usage: rep.usage,
			Message: "the script answers without choices"}
	case FaultHang:
		<-ctx.Done()
		return stopped(ctx.Err(), asked)
	case FaultStall:
		<-ctx.Done()
		return stopped(ctx.Err(), half)
	case FaultRaw:
		return &llm.Error{Category: llm.ProviderUnsupported, Status: f.Status,
			Message: "a fault of kind raw can be played only over HTTP"}
	default:
		return openai.ErrorFromStatus(f.Status, f.header(), f.body(), p.now())
	}
}

// stopped is the error for a context that ended.
func stopped(err error, cost llm.Usage) *llm.Error {
	return &llm.Error{Category: llm.Timeout, Message: fmt.Sprintf("the call was stopped: %v", err), Usage: cost, Err: err}
}

// converse reads a request into what the player needs.
func converse(req llm.Request, task string) conversation {
	c := conversation{model: req.Model, task: task}
	last := -1
	for i := range req.Messages {
		m := &req.Messages[i]
		c.bytes += len(m.Content)
		for _, call := range m.ToolCalls {
			c.bytes += len(call.Name) + len(call.Arguments)
		}
		switch {
		case m.Role == llm.RoleAssistant:
			last = i
		case m.Role == llm.RoleUser && c.prompt == "":
			c.prompt = m.Content
		}
	}
	var observed []string
	for i := last + 1; i < len(req.Messages); i++ {
		if m := &req.Messages[i]; m.Role == llm.RoleUser || m.Role == llm.RoleTool {
			observed = append(observed, m.Content)
		}
	}
	c.observation = strings.Join(observed, "\n")
	c.position = position(len(req.Messages),
		func(i int) llm.Role { return req.Messages[i].Role },
		func(i int) []string {
			ids := make([]string, len(req.Messages[i].ToolCalls))
			for k, call := range req.Messages[i].ToolCalls {
				ids[k] = call.ID
			}
			return ids
		})
	return c
}
