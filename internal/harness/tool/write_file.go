package tool

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/sampan-dev/sampan/internal/text"
)

//go:embed write_file.md
var writeFileDescription string

type writeFileParams struct {
	Path    string `json:"path" jsonschema:"The file, relative to the workspace. Missing directories are made."`
	Content string `json:"content" jsonschema:"The whole content of the file."`
}

func writeFileTool() Tool { return newTool("write_file", writeFileDescription, false, writeFile) }

func writeFile(ctx context.Context, s *Set, p *writeFileParams) (Result, error) {
	data := []byte(p.Content)
	verb := "Created"
	info, err := s.exec.WriteFile(ctx, p.Path, data, WriteOptions{IfAbsent: true})
	if errors.Is(err, ErrPreconditionFailed) {
		verb = "Replaced"
		info, err = s.exec.WriteFile(ctx, p.Path, data, WriteOptions{})
	}
	if err != nil {
		return Result{}, err
	}
	s.remember(info.Path, info.Digest)
	return Result{Content: fmt.Sprintf("%s %s: %s, %d bytes.", verb, info.Path, text.Plural(countLines(p.Content), "line"), len(data))}, nil
}
