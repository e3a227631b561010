package tool

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
)

//go:embed glob.md
var globDescription string

type globParams struct {
	Pattern string `json:"pattern" jsonschema:"The glob, such as **/*.go or docs/*.md."`
	Path    string `json:"path,omitempty" jsonschema:"The directory to start from, relative to the workspace."`
	Ignored bool   `json:"ignored,omitempty" jsonschema:"List what git ignores, too."`
}

func globTool() Tool { return newTool("glob", globDescription, true, glob) }

func glob(ctx context.Context, s *Set, p *globParams) (Result, error) {
	if p.Pattern == "" {
		return failed("pattern is empty: give a glob such as **/*.go."), nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.ToolTimeout)
	defer cancel()
	res, err := s.exec.Glob(ctx, GlobRequest{Pattern: p.Pattern, Path: p.Path, Ignored: p.Ignored})
	if err != nil {
		return Result{}, err
	}
	return Result{Content: showGlob(res, s.opts.MaxOutputBytes)}, nil
}

func showGlob(res *GlobResult, limit int) string {
	notes := searchNotes(res.Notes, res.Skipped)
	if len(res.Paths) == 0 {
		return "No file matches.\n" + notes
	}
	const reserved = 200
	var b strings.Builder
	shown := 0
	for _, p := range res.Paths {
		if b.Len()+len(p)+1 > limit-reserved-len(notes) {
			break
		}
		b.WriteString(p + "\n")
		shown++
	}
	if shown < res.Total {
		fmt.Fprintf(&b, "[%d of %d paths shown; narrow the pattern]\n", shown, res.Total)
	} else if res.Truncated {
		b.WriteString("[the search ended early; narrow the pattern or give a path]\n")
	}
	return b.String() + notes
}
