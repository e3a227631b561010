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

//go:embed write_file.md
var writeFileDescription string

type writeFileParams struct {
	Path    string `json:"path" jsonschema:"The file, relative to the workspace. Missing directories are made."`
	Content string `json:"content" jsonschema:"The whole content of the file."`
}

func writeFileTool() Tool { return newTool("write_file", writeFileDescription, false, writeFile) }

// maxUnread is how much of a file that the model has not read may be replaced:
// it is shown, so that nothing is lost without a word.
const maxUnread = 2000

func writeFile(ctx context.Context, s *Set, p *writeFileParams) (Result, error) {
	data := []byte(p.Content)
	info, err := s.exec.WriteFile(ctx, p.Path, data, WriteOptions{IfAbsent: true})
	if errors.Is(err, ErrPreconditionFailed) {
		return replaceFile(ctx, s, p)
	}
	if err != nil {
		return Result{}, err
	}
	s.remember(info.Path, info.Digest, true)
	return Result{Content: written("Created", info, p.Content, nil)}, nil
}

func written(verb string, info *FileInfo, content string, notes []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s, %s.", verb, info.Path, text.Plural(countLines(content), "line"), text.Plural(int(info.Size), "byte"))
	for _, n := range notes {
		b.WriteString("\n[" + n + "]")
	}
	return b.String()
}

// replaceFile writes over a file that is there: over what the model knows of
// it, in the way in which it is written.
func replaceFile(ctx context.Context, s *Set, p *writeFileParams) (Result, error) {
	// The lines give the digest of a file of any size.
	lines, err := s.exec.ReadLines(ctx, p.Path, LineRange{MaxBytes: maxUnread, MaxLineBytes: maxUnread})
	if err != nil {
		return Result{}, err
	}
	known := s.known(lines.Path)
	switch {
	case lines.Binary && (!known.whole || known.digest != lines.Digest):
		return failed("%s is there (%s) and you have not read it, nor can it be shown. Nothing was done.%s", lines.Path, sizeOf(lines),
			s.tip("If it is to be replaced, remove it first with bash.", "bash")), nil
	case known.digest != "" && known.digest != lines.Digest:
		return failed("%s has changed since you last read or wrote it. Nothing was done.%s", lines.Path, s.tip("Read it again with read_file, then write what is to be there now.", "read_file")), nil
	}
	var notes []string
	if !known.whole && lines.Size > 0 {
		it, missing := "it", "it"
		if known.digest != "" {
			it, missing = "all of it", "the rest of it"
		}
		held, whole := heldLines(lines)
		if !whole {
			return failed("%s is there (%s) and you have not read %s. Nothing was done.%s%s", lines.Path, sizeOf(lines), it,
				s.tip("Read "+missing+" with read_file before you replace it.", "read_file"), s.tip("To change a part of it use edit_file.", "edit_file")), nil
		}
		notes = append(notes, "you had not read "+it+"; it held:\n"+held)
	}
	data := []byte(p.Content)
	if lines.Size <= maxEditBytes && !lines.Binary {
		f, err := s.exec.ReadFile(ctx, p.Path, maxEditBytes)
		if err != nil {
			return Result{}, err
		}
		if data, notes, err = inFormatOf(f.Data, p.Content, notes); err != nil {
			return s.unencodable(lines.Path, err), nil
		}
	}
	info, err := s.exec.WriteFile(ctx, p.Path, data, WriteOptions{IfMatch: lines.Digest})
	if err != nil {
		return Result{}, err
	}
	s.remember(info.Path, info.Digest, true)
	return Result{Content: written("Replaced", info, p.Content, notes)}, nil
}

// heldLines shows a whole small file.
func heldLines(l *Lines) (string, bool) {
	if len(l.Lines) < l.TotalLines {
		return "", false
	}
	var b strings.Builder
	for i, line := range l.Lines {
		if line.OmittedBytes > 0 {
			return "", false
		}
		numbered(&b, i+1, line.Text)
	}
	return strings.TrimSuffix(b.String(), "\n"), true
}

func sizeOf(l *Lines) string {
	if l.Binary {
		return fmt.Sprintf("binary, %d bytes", l.Size)
	}
	return fmt.Sprintf("%s, %d bytes", text.Plural(l.TotalLines, "line"), l.Size)
}

// inFormatOf writes a new content as the old one was: in its encoding, with its
// byte order mark and line ends, and with the characters for which read_file
// shows others.
func inFormatOf(raw []byte, content string, notes []string) ([]byte, []string, error) {
	format, binary := textfile.Detect(raw)
	if binary || len(raw) == 0 {
		return []byte(content), notes, nil
	}
	old := format.Decode(raw)
	if c := textfile.Unshow(content, old); c != content {
		content = c
		notes = append(notes, "what read_file shows in place of control characters and of bytes that are not UTF-8 was written as these")
	}
	if strings.HasPrefix(old, bom) && !strings.HasPrefix(content, bom) {
		content = bom + content
		notes = append(notes, "its byte order mark was kept")
	}
	if end := lineEnd(old); end != "\n" && strings.Contains(content, "\n") && !strings.Contains(content, "\r") {
		content = strings.ReplaceAll(content, "\n", end)
		notes = append(notes, fmt.Sprintf("its line ends were kept: %s", map[string]string{"\r\n": "CRLF", "\r": "CR"}[end]))
	}
	if !format.IsUTF8() {
		notes = append(notes, "written in the encoding that it had, "+format.Name())
	}
	data, err := format.Replace(raw, content)
	return data, notes, err
}

// lineEnd is what ends all lines of a text, "\n" where not all have the same.
func lineEnd(s string) string {
	lf, cr, crlf := strings.Count(s, "\n"), strings.Count(s, "\r"), strings.Count(s, "\r\n")
	switch {
	case crlf > 0 && crlf == lf && crlf == cr:
		return "\r\n"
	case lf == 0 && cr > 0:
		return "\r"
	}
	return "\n"
}
