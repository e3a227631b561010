// Package convert leads from the sandbox API's types to those of the harness's
// executor and back, for the API's client and its server. Structs that have the same
// fields are converted as a whole: one that got another field here or there does
// not compile.
package convert

import (
	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

// FromLines is the answer to a request for lines.
func FromLines(l *tool.Lines) *api.Lines {
	return &api.Lines{
		FileInfo: api.FileInfo(l.FileInfo), Lines: each(l.Lines, func(line tool.Line) api.Line { return api.Line(line) }),
		TotalLines: l.TotalLines, Binary: l.Binary, Encoding: l.Encoding, BOM: l.BOM, CRLF: l.CRLF, CR: l.CR,
		NoFinalNewline: l.NoFinalNewline, Controls: l.Controls, Stray: l.Stray,
	}
}

// ToLines reads it.
func ToLines(l *api.Lines) *tool.Lines {
	return &tool.Lines{
		FileInfo: tool.FileInfo(l.FileInfo), Lines: each(l.Lines, func(line api.Line) tool.Line { return tool.Line(line) }),
		TotalLines: l.TotalLines, Binary: l.Binary, Encoding: l.Encoding, BOM: l.BOM, CRLF: l.CRLF, CR: l.CR,
		NoFinalNewline: l.NoFinalNewline, Controls: l.Controls, Stray: l.Stray,
	}
}

// FromGrep is the answer to a search in contents.
func FromGrep(r *tool.GrepResult) *api.GrepResult {
	return &api.GrepResult{
		Files: each(r.Files, func(f tool.GrepFile) api.GrepFile {
			return api.GrepFile{Path: f.Path, Lines: each(f.Lines, func(l tool.GrepLine) api.GrepLine { return api.GrepLine(l) })}
		}),
		Matches: r.Matches, Searched: r.Searched, Truncated: r.Truncated, Ended: r.Ended,
		Skipped: api.Skipped(r.Skipped), Notes: r.Notes,
	}
}

// ToGrep reads it.
func ToGrep(r *api.GrepResult) *tool.GrepResult {
	return &tool.GrepResult{
		Files: each(r.Files, func(f api.GrepFile) tool.GrepFile {
			return tool.GrepFile{Path: f.Path, Lines: each(f.Lines, func(l api.GrepLine) tool.GrepLine { return tool.GrepLine(l) })}
		}),
		Matches: r.Matches, Searched: r.Searched, Truncated: r.Truncated, Ended: r.Ended,
		Skipped: tool.Skipped(r.Skipped), Notes: r.Notes,
	}
}

// FromGlob is the answer to a search for names.
func FromGlob(r *tool.GlobResult) *api.GlobResult {
	return &api.GlobResult{Paths: r.Paths, Total: r.Total, Skipped: api.Skipped(r.Skipped), Notes: r.Notes, Truncated: r.Truncated}
}

// ToGlob reads it.
func ToGlob(r *api.GlobResult) *tool.GlobResult {
	return &tool.GlobResult{Paths: r.Paths, Total: r.Total, Skipped: tool.Skipped(r.Skipped), Notes: r.Notes, Truncated: r.Truncated}
}

// each keeps nil as nil, which the API leaves out.
func each[A, B any](in []A, one func(A) B) []B {
	if in == nil {
		return nil
	}
	out := make([]B, len(in))
	for i, v := range in {
		out[i] = one(v)
	}
	return out
}
