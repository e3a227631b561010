package tool

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/sampan-dev/sampan/internal/text"
)

//go:embed read_file.md
var readFileDescription string

type readFileParams struct {
	Path   string `json:"path" jsonschema:"The file, relative to the workspace."`
	Offset int    `json:"offset,omitempty" jsonschema:"The first line to show, counted from 1."`
	Limit  int    `json:"limit,omitempty" jsonschema:"How many lines to show; 2000 if not given."`
}

func readFileTool() Tool { return newTool("read_file", readFileDescription, true, readFile) }

func readFile(ctx context.Context, s *Set, p *readFileParams) (Result, error) {
	if p.Offset < 0 || p.Limit < 0 {
		return failed("offset and limit must not be negative: offset counts lines from 1."), nil
	}
	from := max(p.Offset, 1)
	// Some of the room is for line numbers and the last line.
	lines, err := s.exec.ReadLines(ctx, p.Path, LineRange{From: from, Count: p.Limit, MaxBytes: s.opts.MaxOutputBytes})
	if err != nil {
		return Result{}, err
	}
	s.remember(lines.Path, lines.Digest)
	switch {
	case lines.Binary:
		return failed("%s is binary (%d bytes), it cannot be shown. Look at it with bash, for instance with file or xxd.", lines.Path, lines.Size), nil
	case lines.Size == 0:
		return Result{Content: "[" + lines.Path + " is empty]"}, nil
	case from > lines.TotalLines:
		return failed("%s has only %s: offset %d is beyond its end.", lines.Path, text.Plural(lines.TotalLines, "line"), from), nil
	}
	return Result{Content: showLines(lines, from, s.opts.MaxOutputBytes)}, nil
}

// showLines numbers the lines that fit and says how to go on.
func showLines(l *Lines, from, limit int) string {
	const reserved = 300 // for the notes below
	var b strings.Builder
	shown := 0
	for _, line := range l.Lines {
		text := line.Text
		if line.OmittedBytes > 0 {
			text += fmt.Sprintf(" [... %d bytes of this line left out]", line.OmittedBytes)
		}
		if shown > 0 && b.Len()+len(text)+8 > limit-reserved {
			break
		}
		numbered(&b, from+shown, text)
		shown++
	}
	last := from + shown - 1
	if from > 1 || last < l.TotalLines {
		fmt.Fprintf(&b, "[lines %d-%d of %d", from, last, l.TotalLines)
		if last < l.TotalLines {
			fmt.Fprintf(&b, "; go on with offset=%d", last+1)
		}
		b.WriteString("]\n")
	}
	switch {
	case l.CRLF == l.TotalLines, l.CRLF > 0 && l.CRLF == l.TotalLines-1 && l.NoFinalNewline:
		b.WriteString("[line ends are CRLF; edit_file keeps them]\n")
	case l.CRLF > 0:
		fmt.Fprintf(&b, "[line ends are mixed: %d of %d are CRLF; edit_file keeps them]\n", l.CRLF, l.TotalLines)
	}
	if l.NoFinalNewline && last == l.TotalLines {
		b.WriteString("[no newline at the end of the file]\n")
	}
	return b.String()
}
