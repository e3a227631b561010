package tool

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/textfile"
)

//go:embed edit_file.md
var editFileDescription string

type editFileParams struct {
	Path    string `json:"path" jsonschema:"The file, relative to the workspace."`
	OldText string `json:"old_text" jsonschema:"The text to replace, exactly as it is in the file."`
	NewText string `json:"new_text" jsonschema:"What to put in its place."`
}

func editFileTool() Tool { return newTool("edit_file", editFileDescription, false, editFile) }

// maxEditBytes bounds a file that is edited: it is held in memory.
const maxEditBytes = 16 << 20

func editFile(ctx context.Context, s *Set, p *editFileParams) (Result, error) {
	f, err := s.exec.ReadFile(ctx, p.Path, maxEditBytes)
	if errors.Is(err, ErrNotFound) {
		return failed("%v.%s%s", err, s.tip("Create it with write_file.", "write_file"), s.tip("Check the path with glob, for instance with the pattern **/NAME.", "glob")), nil
	}
	if err != nil {
		return Result{}, err
	}
	known := s.known(f.Path)
	if known.digest != "" && known.digest != f.Digest {
		return failed("%s has changed since you last read it. Nothing was done.%s", f.Path, s.tip("Read it again with read_file, then repeat the edit on what is there now.", "read_file")), nil
	}
	format, binary := textfile.Detect(f.Data)
	if binary {
		return failed("%s is binary; edit_file would damage it.%s", f.Path, s.tip("Use bash with a program that knows the format.", "bash")), nil
	}
	old := format.Decode(f.Data)
	e, err := findEdit(old, p.OldText, p.NewText)
	if err != nil {
		advice := ""
		if errors.Is(err, errNothingSimilar) {
			advice = s.tip("Read the file again with read_file and copy the text exactly.", "read_file")
		}
		return failed("%s: %v%s", f.Path, err, advice), nil
	}
	data, err := format.Splice(f.Data, old, e.from, e.to, e.middle)
	if err != nil {
		return s.unencodable(f.Path, err), nil
	}
	info, err := s.exec.WriteFile(ctx, p.Path, data, WriteOptions{IfMatch: f.Digest})
	if err != nil {
		return Result{}, err
	}
	s.remember(info.Path, info.Digest, known.whole)
	out := old[:e.from] + e.middle + old[e.to:]
	var b strings.Builder
	fmt.Fprintf(&b, "Edited %s at line %d. It reads now:\n%s", info.Path, e.line, around(out, e.line, countLines(p.NewText)))
	if !format.IsUTF8() {
		fmt.Fprintf(&b, "[written in the encoding of the file, %s]\n", format.Name())
	}
	for _, n := range e.notes {
		fmt.Fprintf(&b, "[%s]\n", n)
	}
	return Result{Content: b.String()}, nil
}

// unencodable refuses text that would make a file of two encodings.
func (s *Set) unencodable(path string, err error) Result {
	return failed("%s: %v. Nothing was done. Write it with other characters, or an escape of the file's language.%s", path, err,
		s.tip("If the whole file is to become UTF-8, convert it first with bash (iconv, or a script), then read it again.", "bash", "read_file"))
}

// around shows the lines of an edit with some before and after.
func around(file string, line, count int) string {
	const context, most = 3, 40
	var b strings.Builder
	first, last := max(line-context, 1), line+max(count, 1)-1+context
	lines := strings.SplitAfter(normalise(file).text, "\n")
	for n := first; n <= min(last, len(lines)); n++ {
		if n == len(lines) && lines[n-1] == "" {
			break
		}
		if n-first == most {
			fmt.Fprintf(&b, "[%d more lines of the edit]\n", last-context-n+1)
			break
		}
		shown, _ := textfile.Show(strings.TrimRight(lines[n-1], "\r\n"))
		numbered(&b, n, text.Clip(shown, 300))
	}
	return b.String()
}
