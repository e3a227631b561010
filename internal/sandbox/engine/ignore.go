package engine

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/sampan-dev/sampan/internal/gitignore"
)

const (
	// maxIgnoreFile bounds a file of patterns, maxIndexFile an index of git.
	maxIgnoreFile = 1 << 20
	maxIndexFile  = 64 << 20
)

// ignoreFiles are the files of patterns that a folder may have, the strongest
// first: those for searches count anywhere, git's own in a repository.
var ignoreFiles = [...]string{".rgignore", ".ignore", ".gitignore"}

const gitRules = len(ignoreFiles) - 1

// ignoreDir is a folder of a walk that has patterns or is a repository's root,
// in the chain of those above it. Of what they say the strongest kind of file
// counts, then the nearest folder, then the last pattern; git's exclude file
// and its user's own come last. What git tracks it does not ignore. A nested
// repository does not know the patterns of the one around it.
type ignoreDir struct {
	parent *ignoreDir
	// rel is the folder's path in the workspace, with a slash at the end, or empty.
	rel   string
	rules [len(ignoreFiles)]gitignore.Rules
	repo  *repository
	// tracked says that the folder is ignored: only what is tracked in it is not.
	tracked bool
}

// repository is a folder with a .git in it.
type repository struct {
	exclude gitignore.Rules
	user    func() gitignore.Rules
	index   func() *gitignore.Index
}

// enterIgnored gives the chain with a folder of this path, whose entries include names.
func (e *Engine) enterIgnored(parent *ignoreDir, dir *os.Root, rel string, has func(name string) bool) *ignoreDir {
	d := &ignoreDir{parent: parent}
	if rel != "." && rel != "" {
		d.rel = rel + "/"
	}
	if parent != nil {
		d.tracked = parent.tracked
	}
	empty := parent != nil
	for i, name := range ignoreFiles {
		if has(name) {
			d.rules[i] = gitignore.Parse(readIn(dir, name, maxIgnoreFile))
			empty = false
		}
	}
	if has(".git") {
		d.repo, d.tracked, empty = e.openRepository(dir, rel), false, false
	}
	if empty {
		return parent
	}
	return d
}

// ignored says that a search passes over an entry, which is below d. A folder
// in which something is tracked is entered all the same: inside is how.
func (d *ignoreDir) ignored(full string, isDir bool) (ignored bool, inside *ignoreDir) {
	for kind := range gitRules {
		for x := d; x != nil; x = x.parent {
			if m := x.rules[kind].Match(full[len(x.rel):], isDir); m != gitignore.None {
				return m == gitignore.Ignored, d
			}
		}
	}
	root := d
	for root != nil && root.repo == nil {
		root = root.parent
	}
	if root == nil || !d.tracked && d.byGit(root, full, isDir) != gitignore.Ignored {
		return false, d
	}
	if !root.repo.index().Tracks(full[len(root.rel):], isDir) {
		return true, d
	}
	return false, &ignoreDir{parent: d, rel: d.rel, tracked: true}
}

func (d *ignoreDir) byGit(root *ignoreDir, full string, isDir bool) gitignore.Decision {
	for x := d; ; x = x.parent {
		if m := x.rules[gitRules].Match(full[len(x.rel):], isDir); m != gitignore.None {
			return m
		}
		if x == root {
			break
		}
	}
	rel := full[len(root.rel):]
	if m := root.repo.exclude.Match(rel, isDir); m != gitignore.None {
		return m
	}
	return root.repo.user().Match(rel, isDir)
}

// ignoresAbove gives the chain for a folder of the workspace, from its root on;
// off says that the folder itself is ignored: who asks for it wants it searched.
func (e *Engine) ignoresAbove(base string) (chain *ignoreDir, off bool) {
	at := "."
	chain = e.enterNamed(nil, at)
	if base == "." {
		return chain, false
	}
	for name := range strings.SplitSeq(base, "/") {
		at = path.Join(at, name)
		ignored, inside := chain.ignored(at, true)
		if ignored {
			return nil, true
		}
		chain = e.enterNamed(inside, at)
	}
	return chain, false
}

func (e *Engine) enterNamed(parent *ignoreDir, rel string) *ignoreDir {
	dir, err := e.root.OpenRoot(rel)
	if err != nil {
		return parent // the walk itself says so
	}
	defer func() { _ = dir.Close() }()
	return e.enterIgnored(parent, dir, rel, func(name string) bool {
		_, err := dir.Lstat(name)
		return err == nil
	})
}

// openRepository finds what git would read beside .gitignore files, as far as
// it is in the workspace: a worktree's .git is a file that names a folder.
func (e *Engine) openRepository(dir *os.Root, rel string) *repository {
	gitDir := path.Join(rel, ".git")
	if st, err := dir.Lstat(".git"); err == nil && st.Mode().IsRegular() {
		to, _ := strings.CutPrefix(string(readIn(dir, ".git", maxPathBytes)), "gitdir:")
		gitDir = e.inWorkspace(rel, strings.TrimSpace(to))
	}
	common := gitDir
	if to := strings.TrimSpace(string(readIn(e.root, path.Join(gitDir, "commondir"), maxPathBytes))); gitDir != "" && to != "" {
		common = e.inWorkspace(gitDir, to)
	}
	r := &repository{user: sync.OnceValue(e.userExcludes), index: sync.OnceValue(func() *gitignore.Index {
		if gitDir == "" {
			return nil
		}
		x, err := gitignore.ParseIndex(readIn(e.root, path.Join(gitDir, "index"), maxIndexFile))
		if err != nil {
			return nil // none yet, or of a kind that is not known
		}
		return x
	})}
	if common != "" {
		r.exclude = gitignore.Parse(readIn(e.root, path.Join(common, "info/exclude"), maxIgnoreFile))
	}
	return r
}

// inWorkspace gives a path that a file in dir names as one in the workspace,
// empty if it is outside.
func (e *Engine) inWorkspace(dir, to string) string {
	if to == "" {
		return ""
	}
	if !path.IsAbs(to) {
		to = path.Join(dir, to)
	}
	rel, err := e.clean(to)
	if err != nil {
		return ""
	}
	return rel
}

// userExcludes are the patterns of the user that commands run as, which git
// applies everywhere.
func (e *Engine) userExcludes() gitignore.Rules {
	home, config := getEnv(e.env, "HOME"), getEnv(e.env, "XDG_CONFIG_HOME")
	if config == "" {
		config = filepath.Join(home, ".config")
	}
	file := filepath.Join(config, "git/ignore")
	for _, c := range []string{filepath.Join(config, "git/config"), filepath.Join(home, ".gitconfig")} {
		if f := excludesFile(string(readHost(c))); f != "" {
			file = f
		}
	}
	if rest, ok := strings.CutPrefix(file, "~/"); ok {
		file = filepath.Join(home, rest)
	}
	if !filepath.IsAbs(file) {
		return nil
	}
	return gitignore.Parse(readHost(file))
}

// excludesFile is core.excludesFile of a configuration of git.
func excludesFile(config string) (file string) {
	section := ""
	for line := range strings.Lines(config) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.ToLower(line)
		}
		key, value, ok := strings.Cut(line, "=")
		if ok && section == "[core]" && strings.EqualFold(strings.TrimSpace(key), "excludesfile") {
			file = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return file
}

// readIn reads a regular file that a search needs; one that cannot be read,
// or is too large, is as none.
func readIn(dir *os.Root, name string, limit int64) []byte {
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	return readAll(f, err, limit)
}

func readHost(name string) []byte {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	return readAll(f, err, maxIgnoreFile)
}

func readAll(f *os.File, err error, limit int64) []byte {
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Size() > limit {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil
	}
	return data
}
