package tool

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/textfile"
)

//go:embed read_file.md
var readFileDescription string

type readFileParams struct {
	Path   string `json:"path" jsonschema:"The file, relative to the workspace."`
	Offset int    `json:"offset,omitempty" jsonschema:"The first line to show, counted from 1."`
	Limit  int    `json:"limit,omitempty" jsonschema:"How many lines to show; 2000 if not given."`
	Column int    `json:"column,omitempty" jsonschema:"Where to begin in the first line, for one that is too long to be shown whole: bytes, counted from 1."`
}

func readFileTool() Tool { return newTool("read_file", readFileDescription, true, readFile) }

// readReserve of a Result is kept for the notes on a file.
const readReserve = 700

func readFile(ctx context.Context, s *Set, p *readFileParams) (Result, error) {
	if p.Offset < 0 || p.Limit < 0 || p.Column < 0 {
		return failed("offset, limit and column must not be negative: they count from 1."), nil
	}
	from := max(p.Offset, 1)
	r := LineRange{From: from, Count: p.Limit, Column: p.Column, MaxBytes: s.opts.MaxOutputBytes}
	// A line that is read in parts comes in as large ones as there is room for.
	// What is shown in another way grows, to six bytes for two at most.
	room := max(s.opts.MaxOutputBytes-readReserve, minOutputBytes/4)
	if r.MaxLineBytes = min(2000, room); p.Column > 0 {
		r.Count, r.MaxLineBytes = max(p.Limit, 1), room/3
	}
	lines, err := s.exec.ReadLines(ctx, p.Path, r)
	if err != nil {
		return Result{}, err
	}
	if lines.Binary {
		return failed("%s is binary (%d bytes), it cannot be shown.%s", lines.Path, lines.Size, s.tip("Look at it with bash, for instance with od -c.", "bash")), nil
	}
	start := place{from, max(p.Column, 1)}
	s.rememberLines(lines, start, 0)
	switch {
	case lines.Size == 0:
		return Result{Content: "[" + lines.Path + " is empty]"}, nil
	case from > lines.TotalLines:
		return failed("%s has only %s: offset %d is beyond its end.", lines.Path, text.Plural(lines.TotalLines, "line"), from), nil
	case p.Column > 1 && len(lines.Lines) > 0 && lines.Lines[0].Text == "":
		return failed("%s: line %d ends before column %d.", lines.Path, from, p.Column), nil
	}
	content, shown := showLines(lines, from, p.Column, room)
	s.rememberLines(lines, start, shown)
	return Result{Content: content}, nil
}

// showLines numbers the lines that fit, says how to go on, and counts them.
func showLines(l *Lines, from, column, room int) (content string, shown int) {
	var b strings.Builder
	for _, line := range l.Lines {
		text := line.Text
		if shown == 0 && column > 1 {
			text = fmt.Sprintf("[from column %d] ", column) + text
		}
		if line.OmittedBytes > 0 {
			text += fmt.Sprintf(" [... %d bytes of this line left out; read on with offset=%d, column=%d]", line.OmittedBytes, from+shown, line.Next)
		}
		if shown > 0 && b.Len()+len(text)+8 > room {
			break
		}
		numbered(&b, from+shown, text)
		shown++
	}
	last := from + shown - 1
	note := func(format string, args ...any) { fmt.Fprintf(&b, "["+format+"]\n", args...) }
	switch {
	case last < l.TotalLines:
		note("lines %d-%d of %d; go on with offset=%d", from, last, l.TotalLines, last+1)
	case from > 1:
		note("lines %d-%d of %d", from, last, l.TotalLines)
	}
	noteLineEnds(l, last, note)
	noteCharacters(l, from, b.String(), note)
	return b.String(), shown
}

func noteLineEnds(l *Lines, last int, note func(string, ...any)) {
	switch {
	case l.CR:
		note("line ends are CR; edit_file keeps them")
	case l.CRLF == l.TotalLines, l.CRLF > 0 && l.CRLF == l.TotalLines-1 && l.NoFinalNewline:
		note("line ends are CRLF; edit_file keeps them")
	case l.CRLF > 0:
		note("line ends are mixed: %d of %d are CRLF; edit_file keeps them", l.CRLF, l.TotalLines)
	}
	if l.NoFinalNewline && last == l.TotalLines {
		note("no newline at the end of the file")
	}
}

// noteCharacters tells of what is written in another way than it is in the
// file, and of what cannot be seen.
func noteCharacters(l *Lines, from int, shown string, note func(string, ...any)) {
	switch {
	case l.Encoding != "" && l.BOM:
		note("the encoding is %s, by its byte order mark; edit_file and write_file keep both", l.Encoding)
	case l.Encoding != "":
		note("the encoding is not UTF-8 but looks like %s; edit_file and write_file keep it", l.Encoding)
	case l.BOM:
		note("the file begins with a byte order mark; edit_file and write_file keep it")
	}
	if l.Encoding != "" && strings.ContainsRune(shown, '\uFFFD') {
		note("bytes that mean nothing in this encoding are shown as \uFFFD; edit_file keeps them where it changes nothing")
	}
	if l.Controls > 0 {
		note("%s shown as a picture, such as \u241b for escape, \\x1b; edit_file and write_file take them so", count(l.Controls, "control character is", "control characters are"))
	}
	if l.Stray > 0 {
		note("%s not UTF-8 and shown in hexadecimal, as <E9>; edit_file and write_file take them so", count(l.Stray, "byte is", "bytes are"))
	}
	if invisible := textfile.Invisible(shown, maxNamed); len(invisible) > 0 {
		var names []string
		for _, r := range invisible {
			names = append(names, fmt.Sprintf("%s (line %d)", textfile.RuneName(r), from+strings.Count(shown[:strings.IndexRune(shown, r)], "\n")))
		}
		note("there are characters that cannot be seen or look like a space: %s", strings.Join(names, ", "))
	}
}

// count gives "1 byte is", "2 bytes are".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
