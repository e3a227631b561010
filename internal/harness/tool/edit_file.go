package tool

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/sampan-dev/sampan/internal/text"
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
		return failed("%v. Create it with write_file, or check the path with glob.", err), nil
	}
	if err != nil {
		return Result{}, err
	}
	if known := s.known(f.Path); known != "" && known != f.Digest {
		return failed("%s has changed since you last read it. Nothing was done. Read it again with read_file, then repeat the edit on what is there now.", f.Path), nil
	}
	if bytes.IndexByte(f.Data, 0) >= 0 {
		return failed("%s is binary, or text in UTF-16; edit_file would damage it. Use bash with a program that knows the format.", f.Path), nil
	}
	out, line, err := applyEdit(f.Data, p.OldText, p.NewText)
	if err != nil {
		return failed("%s: %v", f.Path, err), nil
	}
	info, err := s.exec.WriteFile(ctx, p.Path, out, WriteOptions{IfMatch: f.Digest})
	if err != nil {
		return Result{}, err
	}
	s.remember(info.Path, info.Digest)
	return Result{Content: fmt.Sprintf("Edited %s at line %d. It reads now:\n%s", info.Path, line, around(out, line, countLines(p.NewText)))}, nil
}

// around shows the lines of an edit with some before and after.
func around(data []byte, line, count int) string {
	const context, most = 3, 40
	var b strings.Builder
	first, last := max(line-context, 1), line+max(count, 1)-1+context
	lines := strings.SplitAfter(strings.TrimPrefix(string(data), bom), "\n")
	for n := first; n <= min(last, len(lines)); n++ {
		if n == len(lines) && lines[n-1] == "" {
			break
		}
		if n-first == most {
			fmt.Fprintf(&b, "[%d more lines of the edit]\n", last-context-n+1)
			break
		}
		numbered(&b, n, text.Clip(strings.TrimRight(lines[n-1], "\r\n"), 300))
	}
	return b.String()
}
