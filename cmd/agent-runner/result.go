package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/text"
)

// output is the result as -o json and -o yaml give it.
type output struct {
	harness.Result
	TranscriptFile string `json:"transcriptFile"`
}

// printResult prints how a run ended, in one of outputFormats.
func printResult(w io.Writer, format string, res harness.Result, path string) error {
	out := output{Result: res, TranscriptFile: path}
	if format == "text" {
		return printText(w, out)
	}
	return printData(w, format, out)
}

// printData prints a value as json or yaml: exactly, and in characters that are
// safe to be shown.
func printData(w io.Writer, format string, v any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	data := text.EscapeJSON(buf.Bytes())
	if format == "yaml" {
		var err error
		if data, err = toYAML(buf.Bytes()); err != nil {
			return err
		}
	}
	_, err := w.Write(data)
	return err
}

// toYAML turns JSON into YAML. Its encoder escapes fewer characters than a
// reader needs; what holds such a one stays JSON, which is YAML as well.
func toYAML(data []byte) ([]byte, error) {
	data = text.EscapeYAML(data)
	out, err := yaml.JSONToYAML(data)
	if err != nil || text.Visible(string(out)) == string(out) {
		return out, err
	}
	return data, nil
}

func printText(w io.Writer, out output) error {
	p := out.Progress
	if words := strings.TrimSpace(out.Message); words != "" {
		if _, err := fmt.Fprintf(w, "%s\n\n", words); err != nil {
			return err
		}
	}
	reason := string(out.Reason)
	if out.Category != "" {
		reason += " (" + string(out.Category) + ")"
	}
	tokens := fmt.Sprintf("%d in, %d out", p.Usage.InputTokens, p.Usage.OutputTokens)
	if p.Usage.CachedInputTokens > 0 {
		tokens = fmt.Sprintf("%d in (%d cached), %d out", p.Usage.InputTokens, p.Usage.CachedInputTokens, p.Usage.OutputTokens)
	}
	if p.Usage.Estimated {
		tokens += " (estimated)"
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "Reason\t%s\n", text.Inline(reason))
	if p.Model != "" {
		fmt.Fprintf(tw, "Model\t%s\n", text.Inline(p.Model))
	}
	fmt.Fprintf(tw, "Turns\t%d\nTool calls\t%d (%d failed)\nTokens\t%s\nCost\t$%s\n", p.Turns, p.ToolCalls, p.FailedToolCalls, tokens, p.CostUSD)
	for _, v := range out.Verifications {
		verdict := "failed"
		if v.Passed {
			verdict = "passed"
		}
		fmt.Fprintf(tw, "Verify\t%s %s\n", text.Inline(v.Name), verdict)
	}
	fmt.Fprintf(tw, "Transcript\t%s\n", text.Inline(out.TranscriptFile))
	return tw.Flush()
}
