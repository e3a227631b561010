package tool

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/sampan-dev/sampan/internal/text"
)

//go:embed grep.md
var grepDescription string

type grepParams struct {
	Pattern    string `json:"pattern" jsonschema:"The regular expression (RE2 syntax)."`
	Path       string `json:"path,omitempty" jsonschema:"The directory or file to search, relative to the workspace; all of it if not given."`
	Include    string `json:"include,omitempty" jsonschema:"Only files whose name matches this glob, such as *.go or src/**/*.ts."`
	IgnoreCase bool   `json:"ignore_case,omitempty" jsonschema:"Do not distinguish upper and lower case."`
	Context    int    `json:"context,omitempty" jsonschema:"How many lines to show before and after each match."`
}

// Bounds of a search.
const (
	maxGrepMatches = 500
	maxGrepContext = 20
)

func grepTool() Tool { return newTool("grep", grepDescription, true, grep) }

func grep(ctx context.Context, s *Set, p *grepParams) (Result, error) {
	if p.Pattern == "" {
		return failed("pattern is empty: give a regular expression."), nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.ToolTimeout)
	defer cancel()
	res, err := s.exec.Grep(ctx, GrepRequest{Pattern: p.Pattern, Path: p.Path, Include: p.Include,
		IgnoreCase: p.IgnoreCase, Context: min(max(p.Context, 0), maxGrepContext), MaxMatches: maxGrepMatches})
	if err != nil {
		return Result{}, err
	}
	return Result{Content: showGrep(res, s.opts.MaxOutputBytes)}, nil
}

// showGrep writes matches like grep -n does, as many as fit, and always what
// there is to know of the rest.
func showGrep(res *GrepResult, limit int) string {
	var notes strings.Builder
	for _, n := range res.Notes {
		notes.WriteString("[" + n + "]\n")
	}
	if res.Matches == 0 {
		return fmt.Sprintf("No match in %s.\n%s", text.Plural(res.Searched, "file"), notes.String())
	}
	const reserved = 200
	room := limit - reserved - notes.Len()
	var b strings.Builder
	shown := 0
	for _, f := range res.Files {
		last := 0
		for _, l := range f.Lines {
			sep := "-"
			if l.Match {
				sep = ":"
			}
			line := fmt.Sprintf("%s%s%d%s%s\n", f.Path, sep, l.Number, sep, l.Text)
			if last > 0 && l.Number > last+1 {
				line = "--\n" + line
			}
			if b.Len()+len(line) > room {
				fmt.Fprintf(&b, "[%d of %d matches shown; narrow the search with path, include or a longer pattern]\n", shown, res.Matches)
				return b.String() + notes.String()
			}
			b.WriteString(line)
			last = l.Number
			if l.Match {
				shown++
			}
		}
	}
	if res.Truncated {
		fmt.Fprintf(&b, "[the search ended after %s; narrow it with path, include or a longer pattern]\n", matches(res.Matches))
	}
	return b.String() + notes.String()
}

func matches(n int) string {
	if n == 1 {
		return "1 match"
	}
	return fmt.Sprintf("%d matches", n)
}
