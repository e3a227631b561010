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
	Ignored    bool   `json:"ignored,omitempty" jsonschema:"Search what git ignores, too."`
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
		IgnoreCase: p.IgnoreCase, Ignored: p.Ignored, Context: min(max(p.Context, 0), maxGrepContext), MaxMatches: maxGrepMatches})
	if err != nil {
		return Result{}, err
	}
	return Result{Content: showGrep(res, s.opts.MaxOutputBytes)}, nil
}

// showGrep writes matches like grep -n does, as many as fit, and always what
// there is to know of the rest.
func showGrep(res *GrepResult, limit int) string {
	notes := searchNotes(res.Notes, res.Skipped)
	if res.Matches == 0 {
		return fmt.Sprintf("No match in %s.\n%s", text.Plural(res.Searched, "file"), notes)
	}
	const reserved = 200
	room := limit - reserved - len(notes)
	var b strings.Builder
	shown := 0
show:
	for _, f := range res.Files {
		last := 0
		for _, l := range f.Lines {
			line := grepLine(f.Path, l)
			if last > 0 && l.Number > last+1 {
				line = "--\n" + line
			}
			if b.Len()+len(line) > room {
				break show
			}
			b.WriteString(line)
			last = l.Number
			if l.Match {
				shown++
			}
		}
	}
	if shown < res.Matches || res.Ended {
		found := fmt.Sprint(res.Matches)
		if res.Ended {
			found = "at least " + found
		}
		fmt.Fprintf(&b, "[%d of %s matches shown; narrow the search with path, include or a longer pattern]\n", shown, found)
	}
	return b.String() + notes
}

func grepLine(path string, l GrepLine) string {
	sep := "-"
	if l.Match {
		sep = ":"
	}
	if l.Column > 0 { // for read_file
		return fmt.Sprintf("%s%s%d%s[column %d] %s\n", path, sep, l.Number, sep, l.Column, l.Text)
	}
	return fmt.Sprintf("%s%s%d%s%s\n", path, sep, l.Number, sep, l.Text)
}

// searchNotes tell what a search has skipped.
func searchNotes(list []string, s Skipped) string {
	var b strings.Builder
	for _, n := range list {
		b.WriteString("[" + n + "]\n")
	}
	if s.Dirs+s.Files > 0 {
		var what []string
		if s.Dirs > 0 {
			what = append(what, count(s.Dirs, "directory", "directories"))
		}
		if s.Files > 0 {
			what = append(what, text.Plural(s.Files, "file"))
		}
		names := strings.Join(s.Names, ", ")
		if s.Dirs+s.Files > len(s.Names) {
			names += ", ..."
		}
		fmt.Fprintf(&b, "[what git ignores was skipped: %s (%s); ignored: true searches it as well]\n", strings.Join(what, " and "), names)
	}
	return b.String()
}
