package outputs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/gitignore"
	"github.com/sampan-dev/sampan/internal/runner/nofollow"
	"github.com/sampan-dev/sampan/internal/runner/workspace"
)

const (
	// maxTreeBytes bounds the files that git is given, maxIgnoreFile what is read of one
	// .gitignore.
	maxTreeBytes  = 10 << 30
	maxIgnoreFile = 1 << 20
)

// putTree puts the files of a workspace into a commit: those that git would add, which
// are tracked or are not ignored by the .gitignore files that are there. Anything that
// is a repository's own is left out, and so named.
func putTree(root int, tracked *workspace.Tracked, to *workspace.Tree) (left []string, err error) {
	p := &putter{tracked: tracked, to: to}
	p.walk = walker{enter: p.enter, entered: p.entered, visit: p.visit}
	if err := p.walk.folder(root, "", 1); err != nil {
		return nil, err
	}
	return p.walk.left.names(), nil
}

type putter struct {
	walk    walker
	tracked *workspace.Tracked
	to      *workspace.Tree
	at      *ignoring
	// off says that the folder that is entered next is ignored, but for what is tracked.
	off   bool
	bytes int64
}

// ignoring is a folder, as far as ignoring goes.
type ignoring struct {
	parent *ignoring
	path   string
	rules  gitignore.Rules
	off    bool
}

func (p *putter) entered(fd int, path string) (func(), error) {
	d := &ignoring{parent: p.at, path: path, off: p.off}
	if !d.off {
		err := withFile(fd, ".gitignore", func(size int64, _ uint32, content io.Reader) error {
			data, err := io.ReadAll(io.LimitReader(content, maxIgnoreFile))
			d.rules = gitignore.Parse(data)
			return err
		})
		if err != nil && !nofollow.Gone(err) && !nofollow.Denied(err) && !errors.Is(err, errNoFile) {
			return nil, fmt.Errorf("reading %q: %w", join(path, ".gitignore"), err)
		}
	}
	p.at = d
	return func() { p.at = d.parent }, nil
}

// enter says what of a folder is for git.
func (p *putter) enter(_ int, name, path string, isFolder bool) (bool, error) {
	if isGit(name) {
		if path != ".git" {
			p.walk.left.add(path, "belongs to a repository of its own")
		}
		return false, nil
	}
	if commit := p.tracked.Module(path); commit != "" && isFolder {
		return false, p.to.Module(path, commit) // as it was: what is in it is another repository's
	}
	p.off = p.at.ignores(path, isFolder)
	return !p.off || p.tracked.Has(path, isFolder), nil
}

func (d *ignoring) ignores(path string, isFolder bool) bool {
	if d.off {
		return true
	}
	for x := d; x != nil; x = x.parent {
		rel := path
		if x.path != "" {
			rel = path[len(x.path)+1:]
		}
		if m := x.rules.Match(rel, isFolder); m != gitignore.None {
			return m == gitignore.Ignored
		}
	}
	return false
}

func (p *putter) visit(e entry) error {
	switch e.kind {
	case unix.S_IFDIR:
		return nil // git knows none
	case unix.S_IFLNK:
		return p.to.Symlink(e.path, e.target)
	}
	return withFile(e.folder, e.name, func(size int64, mode uint32, content io.Reader) error {
		if p.bytes += size; p.bytes > maxTreeBytes {
			return fmt.Errorf("the files that git would add have more than %d bytes", int64(maxTreeBytes))
		}
		if p.tracked.CRLF(e.path) && size <= maxConverted {
			data, err := io.ReadAll(content)
			if err != nil {
				return err
			}
			data = asCommitted(data)
			size, content = int64(len(data)), bytes.NewReader(data)
		}
		return p.to.File(e.path, mode&0o100 != 0, size, content)
	})
}

// maxConverted bounds the files whose line ends are made those of the commit again.
const maxConverted = 16 << 20

// asCommitted gives a text the line ends that git has given it at the checkout back.
func asCommitted(data []byte) []byte {
	if bytes.IndexByte(data, 0) >= 0 {
		return data
	}
	return bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
}

// isGit tells the names that some system takes for .git.
func isGit(name string) bool {
	name = strings.Map(func(r rune) rune {
		if r >= 0x200c && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x206a && r <= 0x206f || r == 0xfeff {
			return -1
		}
		return r
	}, name)
	name, _, _ = strings.Cut(name, ":")
	name = strings.TrimRight(name, " .")
	return strings.EqualFold(name, ".git") || strings.EqualFold(name, "git~1")
}
