package openai

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sampan-dev/sampan/internal/llm"
)

// vendorError is a row of testdata/errors.yaml.
type vendorError struct {
	Vendor  string            `yaml:"vendor"`
	Status  int               `yaml:"status"`
	Headers map[string]string `yaml:"headers"`
	Body    string            `yaml:"body"`
	Want    llm.Category      `yaml:"want"`
	Window  int               `yaml:"window"`
	Delay   string            `yaml:"delay"`
	Words   string            `yaml:"words"`
}

func vendorErrors(t *testing.T) []vendorError {
	t.Helper()
	data, err := os.ReadFile("testdata/errors.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rows []vendorError
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&rows); err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		if rows[i].Status == 0 {
			rows[i].Status = http.StatusBadRequest
		}
	}
	return rows
}

var tableTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// TestVendorErrors goes through the samples row by row, over HTTP; those that may
// come so also inside a stream.
func TestVendorErrors(t *testing.T) {
	for i, row := range vendorErrors(t) {
		t.Run(fmt.Sprintf("%d %s", i, row.Vendor), func(t *testing.T) {
			p := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Date"] = nil
				for name, value := range row.Headers {
					w.Header().Set(name, value)
				}
				w.WriteHeader(row.Status)
				send(w, row.Body)
			}, Config{Now: func() time.Time { return tableTime }})
			e := failure(t, p, hello())
			row.check(t, e)
			if row.Status == http.StatusOK && row.Body[0] == '{' {
				p := serve(t, says(events(delta(`"content":"half"`), row.Body)), Config{})
				row.check(t, failure(t, p, hello()))
			}
		})
	}
}

func (row *vendorError) check(t *testing.T, e *llm.Error) {
	t.Helper()
	if e.Category != row.Want || e.Retryable != passes(row.Want) || e.Status != row.Status {
		t.Errorf("%s, retryable %v, status %d, want %s\n%s", e.Category, e.Retryable, e.Status, row.Want, e.Message)
	}
	if e.ContextWindow != row.Window {
		t.Errorf("window %d, want %d", e.ContextWindow, row.Window)
	}
	if !strings.Contains(e.Message, row.Words) {
		t.Errorf("%q is not in %q", row.Words, e.Message)
	}
	var want time.Duration
	if row.Delay != "" {
		var err error
		if want, err = time.ParseDuration(row.Delay); err != nil {
			t.Fatal(err)
		}
	}
	if e.RetryAfter != want {
		t.Errorf("come back in %s, want %s", e.RetryAfter, want)
	}
}

// Each row of the table has a sample that it decides: one that nobody needs is to
// go, and one that an earlier row hides is wrong.
func TestEveryPhraseDecides(t *testing.T) {
	decided := map[int]bool{}
	for _, row := range vendorErrors(t) {
		said := parseServerError([]byte(row.Body))
		header := http.Header{}
		for name, value := range row.Headers {
			header.Set(name, value)
		}
		if kind := header.Get("X-Amzn-Errortype"); kind != "" {
			said.layers = append(said.layers, layer{codes: []string{kind}})
		}
		_, asked := retryAfter(header, tableTime)
		decided[decide(row.Status, &said, asked || said.delay > 0).row] = true
	}
	for i, p := range phrases {
		if !decided[i] {
			t.Errorf("no sample for the row of %s: %s", p.by, p.pattern)
		}
	}
}

// The vendors that must be known; the table would be easy to empty.
func TestVendorsAreKnown(t *testing.T) {
	known := map[string]int{}
	for _, row := range vendorErrors(t) {
		known[row.Vendor]++
	}
	for _, vendor := range strings.Fields("OpenAI Azure Anthropic Bedrock Gemini Vertex Mistral DeepSeek xAI Moonshot Zhipu DashScope " +
		"OpenRouter LiteLLM Copilot vLLM SGLang TGI llama.cpp Ollama watsonx Cloudflare nginx Envoy") {
		if known[vendor] < 1 {
			t.Errorf("no sample of %s", vendor)
		}
	}
}
