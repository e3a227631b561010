package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"syscall"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/textfile"
)

// Bounds of a search in contents.
const (
	defaultMatches = 500
	capMatches     = 10_000
	// maxCounted is how far matches are counted that are not given any more.
	maxCounted      = 20_000
	maxContext      = 50
	maxPatternBytes = 10_000
	// grepBlock is how much of a file is held at a time. Context lines do not
	// reach beyond it.
	grepBlock = 4 << 20
	// maxGrepLine is the longest line that is searched in the files of a folder:
	// longer ones are generated code or data. In a file that is named it is grepBlock.
	maxGrepLine = 64 << 10
	// maxShownLine is how much of a line is given.
	maxShownLine = 500
	// Files larger than these are skipped in a folder, and when named.
	maxFoundFile = 64 << 20
	maxNamedFile = 1 << 30
	// maxGrepBytes bounds all lines of an answer together.
	maxGrepBytes = 4 << 20
)

// Grep implements tool.Executor.
func (e *Engine) Grep(ctx context.Context, req tool.GrepRequest) (*tool.GrepResult, error) {
	e.touch()
	g, err := e.newGrepper(ctx, req)
	if err != nil {
		return nil, err
	}
	if req.Path != "" {
		f, info, err := e.open(req.Path)
		if err == nil {
			defer func() { _ = f.Close() }()
			err = g.named(f, info)
			return g.result(err)
		}
		if !errors.Is(err, tool.ErrIsDirectory) {
			return nil, err
		}
	}
	dir, base, err := e.openDir(req.Path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	var chain *ignoreDir
	g.walker, chain = e.newWalker(ctx, base, req.Include, req.Ignored)
	g.about = g.include
	g.visit = func(dir *os.Root, name, rel string, isDir bool) error {
		if isDir || g.include != nil && !g.include(rel) {
			return nil
		}
		return g.found(dir, name, path.Join(base, rel))
	}
	return g.result(g.run(dir, chain))
}

// grepper is one search.
type grepper struct {
	*walker
	re      *regexp.Regexp
	include func(string) bool
	context int
	max     int
	maxLine int
	res     tool.GrepResult
	bytes   int
	buf     []byte
}

func (e *Engine) newGrepper(ctx context.Context, req tool.GrepRequest) (*grepper, error) {
	if req.Pattern == "" || len(req.Pattern) > maxPatternBytes {
		return nil, fmt.Errorf("%w: the pattern is empty or longer than %d bytes", tool.ErrInvalid, maxPatternBytes)
	}
	// Compiled alone first, so that an error shows what the caller wrote.
	if _, err := regexp.Compile(req.Pattern); err != nil {
		return nil, fmt.Errorf("%w: %w (RE2 syntax: no look-around, no back-references; escape ( [ { . * + ? with \\)", tool.ErrInvalid, err)
	}
	flags := "(?m)"
	if req.IgnoreCase {
		flags = "(?mi)"
	}
	re, err := regexp.Compile(flags + req.Pattern)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", tool.ErrInvalid, err)
	}
	g := &grepper{walker: &walker{ctx: ctx, e: e}, re: re, max: req.MaxMatches, maxLine: maxGrepLine, context: min(max(req.Context, 0), maxContext)}
	if g.max <= 0 {
		g.max = defaultMatches
	}
	g.max = min(g.max, capMatches)
	if req.Include != "" {
		if g.include, err = e.matcher(req.Include); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (g *grepper) result(err error) (*tool.GrepResult, error) {
	if errors.Is(err, errStop) {
		g.res.Truncated, g.res.Ended = true, true
	} else if err != nil {
		return nil, err
	}
	g.res.Notes, g.res.Skipped = g.notes.all(), g.skipped
	return &g.res, nil
}

// named searches a file that the request names.
func (g *grepper) named(f *os.File, info *tool.FileInfo) error {
	if info.Size > maxNamedFile {
		return tooLarge(info.Path, info.Size, maxNamedFile)
	}
	g.maxLine = grepBlock
	binary, err := g.search(f, info.Path)
	if binary {
		g.notes.add("%s is binary: it was not searched", info.Path)
	}
	return err
}

// found searches a file of a folder. One that cannot be read is noted.
func (g *grepper) found(dir *os.Root, name, full string) error {
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			g.notes.add("%s was skipped: %v", full, rootCause(err))
		}
		return nil
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	switch {
	case err != nil || !st.Mode().IsRegular():
		return nil
	case st.Size() > maxFoundFile:
		g.notes.add("%s was skipped: %d MiB; name it as path to search it", full, st.Size()>>20)
		return nil
	}
	_, err = g.search(f, full)
	return err
}

// search goes through a file block by block. Binary files are not searched.
func (g *grepper) search(f io.Reader, full string) (binary bool, err error) {
	if g.buf == nil {
		g.buf = make([]byte, grepBlock)
	}
	file := &fileSearch{g: g, path: textfile.ShowName(full), line: 1}
	b := &blocks{g: g, src: io.LimitReader(f, maxNamedFile), full: full, file: file}
	return b.run()
}

// fileSearch is the search in one file.
type fileSearch struct {
	g    *grepper
	path string
	// line is the number of the first line of the next block.
	line int
	// out is this file's place in the result, once it has a match.
	out *tool.GrepFile
	// shown is the last line that is in the result.
	shown  int
	warned bool
}

// block searches some whole lines. The expression is run over all of them at
// once, which is many times faster than line by line, and then over the line
// that was hit: what matches only across a line end is no match.
func (s *fileSearch) block(data []byte) error {
	if bytes.Contains(data, []byte("\r\n")) {
		data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	}
	number, counted := s.line, 0
	for at := 0; at < len(data); {
		hit := s.g.re.FindIndex(data[at:])
		if hit == nil || at+hit[0] == len(data) && data[len(data)-1] == '\n' {
			break // nothing more, or the empty end after the last line
		}
		from := at + hit[0]
		from = bytes.LastIndexByte(data[:from], '\n') + 1
		to := lineEnd(data, from)
		number += bytes.Count(data[counted:from], []byte("\n"))
		counted = from
		switch {
		case to-from > s.g.maxLine:
			s.tooLong()
		case s.g.re.Match(data[from:to]):
			if err := s.match(data, from, to, number); err != nil {
				return err
			}
		}
		at = to + 1
	}
	s.line = number + bytes.Count(data[counted:], []byte("\n"))
	return nil
}

func lineEnd(data []byte, from int) int {
	if i := bytes.IndexByte(data[from:], '\n'); i >= 0 {
		return from + i
	}
	return len(data)
}

func (s *fileSearch) tooLong() {
	if !s.warned {
		advice := ""
		if s.g.maxLine < grepBlock {
			advice = "; name it as path to search them"
		}
		s.g.notes.add("%s has lines longer than %d KiB: they were not searched%s", s.path, s.g.maxLine>>10, advice)
		s.warned = true
	}
}

// match adds a line and those around it.
func (s *fileSearch) match(data []byte, from, to, number int) error {
	g := s.g
	if g.res.Matches >= g.max || g.bytes > maxGrepBytes {
		g.res.Truncated = true
		if g.res.Matches++; g.res.Matches >= maxCounted {
			return errStop
		}
		return nil
	}
	if s.out == nil {
		g.res.Files = append(g.res.Files, tool.GrepFile{Path: s.path})
		s.out = &g.res.Files[len(g.res.Files)-1]
	}
	g.res.Matches++
	// A line that was shown as context of the match before has matched itself.
	if number <= s.shown {
		for i := range s.out.Lines {
			if s.out.Lines[i].Number == number {
				s.out.Lines[i].Match = true
			}
		}
	} else {
		s.before(data, from, number)
		s.add(number, data[from:to], true)
	}
	at := to + 1
	for n := number + 1; n <= number+g.context && at < len(data); n++ {
		end := lineEnd(data, at)
		if n > s.shown {
			s.add(n, data[at:end], false)
		}
		at = end + 1
	}
	return nil
}

// before adds the context lines that end at from.
func (s *fileSearch) before(data []byte, from, number int) {
	var starts []int
	for n := number - 1; n >= number-s.g.context && n > s.shown && from > 0; n-- {
		from = bytes.LastIndexByte(data[:from-1], '\n') + 1
		starts = append(starts, from)
	}
	for i := len(starts) - 1; i >= 0; i-- {
		s.add(number-1-i, data[starts[i]:lineEnd(data, starts[i])], false)
	}
}

func (s *fileSearch) add(number int, text []byte, match bool) {
	part, column := s.shorten(text, match)
	shown, _ := textfile.Show(string(part))
	if len(part) < len(text) && column-1+len(part) < len(text) {
		shown += "…"
	}
	if column > 1 {
		shown = "…" + shown
	} else {
		column = 0
	}
	s.out.Lines = append(s.out.Lines, tool.GrepLine{Number: number, Text: shown, Column: column, Match: match})
	s.g.bytes += min(len(text), maxShownLine) + len(s.path)
	s.shown = number
}

// shorten cuts a long line around its match; column is where the rest begins.
func (s *fileSearch) shorten(text []byte, match bool) (part []byte, column int) {
	if len(text) <= maxShownLine {
		return text, 1
	}
	from := 0
	if match {
		if hit := s.g.re.FindIndex(text); hit != nil {
			from = max(min(hit[0]-maxShownLine/4, len(text)-maxShownLine), 0)
		}
	}
	_, part = wholeRunes(nil, text[from:from+maxShownLine])
	from += maxShownLine - len(part)
	part, _ = wholeRunes(part, nil)
	return part, from + 1
}
