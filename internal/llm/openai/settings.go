package openai

import (
	"fmt"
	"maps"
	"net/http"

	"github.com/sampan-dev/sampan/internal/llm"
)

// settings are what a server is to be sent: the quirks of its registry entry, and
// what it taught us by refusing something. They do not change; adapt makes others.
type settings struct {
	quirks Quirks
	// maxTokens is the most that the server takes as output limit; 0 is not known.
	maxTokens int
	// done are the refusals that were answered, and how: each is once.
	done map[string]bool
	// opaque says that opaque fields were sent, with the settings before these.
	opaque bool
	// messages remembers the last conversation.
	messages messageEncoder
}

func newSettings(q Quirks) *settings {
	return &settings{quirks: q, done: map[string]bool{}, messages: messageEncoder{quirks: q}}
}

func (s *settings) encode(req llm.Request, from string) (requestBody, error) {
	messages, err := s.messages.encode(req.Messages, from)
	if err != nil {
		return nil, err
	}
	if s.maxTokens > 0 && req.MaxOutputTokens > 0 {
		req.MaxOutputTokens = min(req.MaxOutputTokens, s.maxTokens)
	}
	return encodeRequest(req, messages, s.quirks)
}

func (p *Provider) current() *settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings
}

// Learned gives the quirks with which the server is called by now, and the most output
// tokens that it takes in one request; 0 is not known.
func (p *Provider) Learned() (quirks Quirks, maxOutputTokens int) {
	s := p.current()
	return s.quirks, s.maxTokens
}

// adapt learns from a refusal, where there is something to learn, and says so in it.
func (p *Provider) adapt(s *settings, err *llm.Error) {
	if !isRefusal(err) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.settings != s {
		err.Adapted = "what another call has learned is sent"
		return
	}
	said := errorKind.ReplaceAllString(err.Message, "")
	for i := range adaptions {
		r := &adaptions[i]
		m := r.says.FindStringSubmatch(said)
		if m == nil || !r.in.has(err) {
			continue
		}
		next := &settings{quirks: s.quirks, maxTokens: s.maxTokens, done: maps.Clone(s.done), opaque: s.messages.opaque.Load()}
		what := r.learn(next, m)
		if what == "" || s.done[what] {
			continue
		}
		next.done[r.name], next.done[what] = true, true
		next.messages.quirks = next.quirks
		p.settings = next
		err.Adapted = fmt.Sprintf("%s: refused, from here on %s", r.name, what)
		return
	}
}

// errorKind are words such as invalid_request_error, which say nothing of what was
// refused and look as if they did.
var errorKind = compile(`(?i)\binvalid_(?:request|argument|parameter)\w*`)

// isRefusal says that the server may not have worked on a request since it did not
// like its form. Servers whose chat template fails answer 500.
func isRefusal(err *llm.Error) bool {
	switch err.Category {
	case llm.ProviderUnsupported, llm.ToolCallShapeMismatch, llm.Overloaded, llm.ModelQuality:
	default:
		return false
	}
	switch err.Status {
	case http.StatusOK, http.StatusBadRequest, http.StatusUnprocessableEntity,
		http.StatusInternalServerError, http.StatusNotImplemented:
		return err.Usage == (llm.Usage{})
	}
	return false
}

// has says whether the words of a failure count. What is learned stays for the
// whole run, so a failure that passes by itself must not teach anything.
func (b believed) has(err *llm.Error) bool {
	refused := err.Category == llm.ProviderUnsupported || err.Category == llm.ToolCallShapeMismatch
	switch b {
	case inFailures:
		return true
	case inTrouble:
		return err.Category != llm.ModelQuality
	case inBadRequests:
		return refused && (err.Status == http.StatusBadRequest || err.Status == http.StatusUnprocessableEntity)
	case inRefusals:
	}
	return refused || err.Category == llm.Overloaded && refusesForm.MatchString(err.Message)
}

// refusesForm are words with which servers that answer 500 say that the request is
// at fault.
var refusesForm = compile(`(?i)failed to parse (?:the )?(?:messages|tools|tool_choice|request|body)\b`)
