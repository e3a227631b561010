package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"

	"github.com/sampan-dev/sampan/internal/harness"
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

// printData prints a value as json or yaml.
func printData(w io.Writer, format string, v any) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	data, err := yaml.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

func printText(w io.Writer, out output) error {
	p := out.Progress
	if text := strings.TrimSpace(out.Message); text != "" {
		if _, err := fmt.Fprintf(w, "%s\n\n", text); err != nil {
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
	fmt.Fprintf(tw, "Reason\t%s\n", reason)
	if p.Model != "" {
		fmt.Fprintf(tw, "Model\t%s\n", p.Model)
	}
	fmt.Fprintf(tw, "Turns\t%d\nTool calls\t%d (%d failed)\nTokens\t%s\nCost\t$%s\n", p.Turns, p.ToolCalls, p.FailedToolCalls, tokens, p.CostUSD)
	for _, v := range out.Verifications {
		verdict := "failed"
		if v.Passed {
			verdict = "passed"
		}
		fmt.Fprintf(tw, "Verify\t%s %s\n", v.Name, verdict)
	}
	fmt.Fprintf(tw, "Transcript\t%s\n", out.TranscriptFile)
	return tw.Flush()
}
